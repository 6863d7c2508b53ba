"""The layout of a study's page in W&B, as code: a saved view of its runs.

    pip install wandb-workspaces
    python -m evodistill.tracker.workspace runs/<study>/<time> TEAM [PROJECT]        saves it and prints its address

Runs of one study alone, grouped by evolver; benchmarks and means by round first, then training, rejects, records, cost.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evodistill import RunError
from evodistill.tracker.study import name
from evodistill.tracker.wandb import curve

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

EVOLVER = "choices.evolver"  # where the tracker keeps it


def workspace(folder: Path, entity: str, project: str = "evodistill") -> Workspace:
    """Nothing is sent before `.save()`."""
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise RunError("a layout needs wandb-workspaces: pip install wandb-workspaces") from None
    metrics, steps = measured(folder)
    if not metrics and not steps:
        raise RunError(f"{folder} holds no completed job; name a folder such as runs/<study>/<time>")
    study = name(folder)
    filters: list[Any] = [ws.Metric("Group") == study]
    groups: list[Any] = [ws.Config(EVOLVER)]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"study {study}",
        sections=[part for part in sections(metrics, steps) if part.panels],
        runset_settings=ws.RunsetSettings(filters=filters, groupby=groups),
    )


def measured(folder: Path) -> tuple[dict[str, list[int]], dict[str, bool]]:
    """(metric → its rounds, step → whether it trains) of the jobs so far."""
    metrics: dict[str, set[int]] = {}
    steps: dict[str, bool] = {}
    for path in sorted(folder.rglob("metrics.json")):
        for metric, rounds in json.loads(path.read_text(encoding="utf-8"))["metrics"].items():
            metrics.setdefault(metric, set()).update(map(int, rounds))
    for path in sorted(folder.rglob("steps.jsonl")):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        steps |= {row["step"]: bool(curve(Path(row["path"]))) for row in rows}
    return {metric: sorted(rounds) for metric, rounds in metrics.items()}, steps


def sections(metrics: Mapping[str, list[int]], steps: Mapping[str, bool]) -> Iterator[Section]:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def section(title: str, panels: list[Any], open: bool = False) -> Section:
        return ws.Section(name=title, panels=panels, is_open=open)

    def bars(metric: str) -> Any:
        key = wr.SummaryMetric(f"{metric}/round {metrics[metric][-1]}")
        return wr.BarPlot(title=metric, metrics=[key], groupby=wr.Config(EVOLVER), groupby_aggfunc="mean")

    def lines(title: str, keys: list[Any], x: str = "round") -> Any:
        return wr.LinePlot(title=title, x=x, y=keys, groupby=wr.Config(EVOLVER), groupby_rangefunc="minmax")

    yield section("Comparison", [wr.MediaBrowser(media_keys=["comparison", "report"])], open=True)
    yield section("Last round", [bars(metric) for metric in metrics], open=True)
    rounds = [metric for metric in metrics if len(metrics[metric]) > 1]
    yield section("By round", [lines(metric, [f"{metric}/mean"]) for metric in rounds])
    trained = [step for step, trains in steps.items() if trains]
    yield section("Training", [lines(step, [f"training/{step}/loss"], f"training/{step}/step") for step in trained])
    yield section("Rejects", [lines("rejected", ["records/rejected"]), lines("made", ["records/made"])])
    yield section("Records", [wr.MediaBrowser(media_keys=["records"])])
    cost = ("seconds", "prompt_tokens", "completion_tokens")
    used = [wr.SummaryMetric(f"steps/{step}/{key}") for step in steps for key in cost]
    yield section("Cost", [wr.BarPlot(title=str(key.name), metrics=[key]) for key in used])


def main() -> None:
    if not 3 <= len(sys.argv) <= 4:
        sys.exit("usage: python -m evodistill.tracker.workspace runs/<study>/<time> TEAM [PROJECT]")
    try:
        print(workspace(Path(sys.argv[1]), *sys.argv[2:]).save().url)
    except RunError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
