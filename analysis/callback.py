"""What Hydra calls when a run or a sweep has ended: tables, comparison, figures and report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.jobs import read_json
from evodistill import RunError, credentials, estimate
from evodistill.config import check_names

log = logging.getLogger(__name__)


class Finish(Callback):
    """Works from the folders alone, so that `python -m analysis.study FOLDER` gives the same later."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        refuse(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        refuse(config)

    def on_run_end(self, config: DictConfig, job_return: JobReturn | None = None, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        broken = attempt(finish, folder)
        if broken and (
            job_return is None or job_return.status is JobStatus.COMPLETED
        ):  # else Hydra raises the job's own
            raise SystemExit(f"error: {broken}; again with  python -m analysis.study {folder}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        broken = attempt(finish, folder) or attempt(mirror, folder, config)
        told = [f"{broken}; again with  python -m analysis.study {folder}"] if broken else []
        if failed := failures(folder):  # a sweep goes on past a job that fails, and says so with its exit code
            jobs = "; ".join(f"{run}: {why}" for run, why in failed.items())
            told.insert(0, f"{len(failed)} of the jobs failed: {jobs}")
        if told:
            raise SystemExit("error: " + "\nerror: ".join(told))


def attempt(what: Callable[..., None], *given: Any) -> str:
    """What went wrong, "" if nothing did: Hydra makes a warning of what a callback raises, and exits as if all were
    well."""
    try:
        what(*given)
    except Exception as error:
        log.error("%s", error) if isinstance(error, RunError) else log.exception("the end of the study failed")
        return f"the end of the study failed: {type(error).__name__}: {error}"
    return ""


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
        jobs = [path.parent for path in folder.glob("*/.hydra")]
        if unplanned := sorted(job.name for job in jobs if not (job / estimate.FILE).is_file()):
            raise RunError(f"{len(unplanned)} of {len(jobs)} jobs could not be planned: {', '.join(unplanned)}")
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
    found = [(path.parent.name, *read_json(path)) for path in sorted(folder.glob("*/status.json"))]
    errors = {
        str(status.get("run") or name): credentials.redacted(str(status.get("error") or "no error written"))
        for name, status, problems in found
        if status.get("status") == "failed"
    }
    return errors | {name: problem for name, _, problems in found for problem in problems}
