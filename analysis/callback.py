"""What Hydra calls when a run or a sweep has ended: tables, comparison, figures and report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evodistill import RunError, credentials, estimate
from evodistill.config import check_names


class Finish(Callback):
    """Works from the folders alone, so that `python -m analysis.study FOLDER` gives the same later."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        refuse(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        refuse(config)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish(Path(config.hydra.run.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        finish(folder)
        mirror(folder, config)
        failed = failures(folder)
        if failed:  # a sweep goes on past a job that fails, and says so with its exit code
            raise SystemExit(
                f"error: {len(failed)} of the jobs failed: " + "; ".join(f"{run}: {why}" for run, why in failed.items())
            )


def refuse(config: DictConfig) -> None:
    """Before Hydra keeps the command line and the config in the folder of the run: stop where they hold a secret, or
    where that folder would lie elsewhere."""
    given = [word.partition("=") for word in config.hydra.overrides.task]
    ours = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    try:
        for key, _, value in given:
            credentials.check({key: value})
        credentials.check(OmegaConf.to_container(ours, resolve=False))
        try:
            resolved = OmegaConf.to_container(ours, resolve=True)
        except OmegaConfBaseException:  # told in the run, with what is missing
            return
        credentials.check(resolved)
        check_names(ours)
    except RunError as error:
        raise SystemExit(f"error: {error}") from None


def finish(folder: Path) -> None:
    if not any(folder.glob("**/status.json")):  # a dry run, or a config that was refused
        print(estimate.study(folder))
        return
    from analysis.study import finish as written

    print(written(folder))


def mirror(folder: Path, config: DictConfig) -> None:
    """The study in W&B, where its jobs are there. It is a copy: the study is done, whatever the network says."""
    if config.dry_run or not (folder / "results.csv").is_file():
        return
    from evodistill.config import build
    from evodistill.tracker import study
    from evodistill.tracker.wandb import Wandb

    if isinstance(tracker := build(config.tracker), Wandb):
        try:
            study.mirror(folder, tracker)
        except RunError as error:
            print(f"warning  not in W&B: {error}")


def failures(folder: Path) -> dict[str, str]:
    """job → error of the jobs that failed."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/status.json")))
    return {status["run"]: status["error"] for status in found if status["status"] == "failed"}
