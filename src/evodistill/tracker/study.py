"""A finished study in W&B: its tables, figures and report as one artifact, made of those of its jobs.

    python -m evodistill.tracker.study runs/<study>/<time> [project=… entity=… mode=…]     again, or later

A study run with tracker=wandb does this at its end. Online the run names the artifacts of its jobs as what it was made
of; offline W&B cannot do that, so push the jobs (`python -m evodistill.tracker.sync`) and give the line above then.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evodistill import RunError
from evodistill.tracker.wandb import Wandb

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

TABLES = ("results.csv", "comparison.csv", "students.csv")
CONF = Path(__file__).parents[3] / "conf" / "tracker" / "wandb.yaml"


def mirror(folder: Path, tracker: Wandb) -> None:
    """One more run in the study's group; `analysis.study` must have written its tables."""
    if not (folder / TABLES[0]).is_file():
        raise RunError(f"{folder} holds no {TABLES[0]}: python -m analysis.study {folder} writes it")
    study, jobs = name(folder), dict(tracked(folder))
    facts = {"jobs": jobs, "folder": str(folder)}
    run = tracker.open(study, f"{study}: comparison", "study", facts, folder)
    try:
        made_of(run, list(jobs.values()))
        run.log_artifact(artifact(study, folder, facts))
        run.log(shown(folder))
    finally:
        run.finish()


def name(folder: Path) -> str:
    found = (json.loads(path.read_text(encoding="utf-8")).get("study") for path in sorted(folder.rglob("status.json")))
    return next((str(study) for study in found if study), folder.name)


def tracked(folder: Path) -> Iterator[tuple[str, str]]:
    """(job, id of its W&B run): the last one, where a job was run again."""
    for path in sorted(folder.rglob("status.json")):
        runs = sorted(path.parent.glob("wandb/*run-*-*"), key=lambda run: run.name.removeprefix("offline-"))
        if runs:
            yield path.parent.name, runs[-1].name.rpartition("-")[2]


def made_of(run: Run, ids: list[str]) -> None:
    from wandb.errors import CommError

    for id in ids if not run.offline else ():
        try:
            run.use_artifact(f"results-{id}:latest")
        except (CommError, ValueError) as error:
            raise RunError(
                f"W&B does not know the results of run {id} ({error}); push the jobs: python -m evodistill.tracker.sync"
            ) from None


def artifact(study: str, folder: Path, facts: dict[str, Any]) -> Any:
    import wandb

    made = wandb.Artifact(f"comparison-{study}", type="comparison", metadata=facts)
    for path in (*(folder / table for table in (*TABLES, "report.html")), *sorted((folder / "figures").glob("*"))):
        if path.is_file():
            made.add_file(str(path), str(path.relative_to(folder)))
    return made


def shown(folder: Path) -> dict[str, Any]:
    """What the run's page shows: tables, figures, report."""
    import pandas as pd
    import wandb

    tables = {path.stem: pd.read_csv(path) for path in (folder / table for table in TABLES) if path.is_file()}
    panels: dict[str, Any] = {key: wandb.Table(dataframe=table) for key, table in tables.items() if len(table)}
    panels |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted((folder / "figures").glob("*.png"))}
    if (report := folder / "report.html").is_file():
        panels["report"] = wandb.Html(report.read_text(encoding="utf-8"), inject=False)
    return panels


def main() -> None:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from evodistill import config

    folder, given = Path(sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if len(sys.argv) < 2:
        sys.exit("usage: python -m evodistill.tracker.study runs/<study>/<time> [project=… entity=… mode=…]")
    if not folder.is_dir():
        sys.exit(f"error: {folder}: no such folder; name that of a study, runs/<study>/<time>")
    try:
        node = OmegaConf.merge(OmegaConf.load(CONF), OmegaConf.from_dotlist(given))
        mirror(folder, config.build(node))  # type: ignore[arg-type]
    except (RunError, OmegaConfBaseException) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
