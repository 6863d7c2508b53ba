"""Weights & Biases: a mirror of the local files, never their master. Without a key it writes offline.

What is sent: the resolved config, the choices that name the run (group = study), commit and versions, a row per step,
the curve of each training while it grows, every mean, a table of sampled records beside their parents, and the
artifacts with the hashes they have in the store (of a trained model no weights).
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evodistill import RunError
from evodistill.record import Record, read_jsonl, read_records

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

log = logging.getLogger(__name__)


@dataclass
class Wandb:
    """One W&B run per job."""

    project: str = "evodistill"
    entity: str | None = None
    mode: str | None = None  # online | offline | disabled; null = online where a key is known, else offline
    records: int = 100  # sampled for the table of parents and children
    run: Run | None = field(default=None, init=False)
    rows: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    sent: Counter[str] = field(default_factory=Counter, init=False)  # rows of the curve of each step under way

    def __post_init__(self) -> None:
        if self.mode not in (None, "online", "offline", "disabled"):
            raise ValueError(f"mode must be online, offline, disabled or null, got {self.mode!r}")

    def start(self, config: Any, facts: Mapping[str, Any], folder: Path) -> None:
        choices = ("dataset", "evolution", "evolver", "teacher", "student", "judge")
        made_by = {key: facts[key] for key in ("version", "commit", "dirty", "python", "packages") if key in facts}
        told = {**config, "choices": {key: facts[key] for key in choices}, "made_by": made_by}
        self.run = self.open(facts["study"], f"{config['name']}-{facts['evolver']}", config["name"], told, folder)

    def open(self, group: str, name: str, job_type: str, config: Mapping[str, Any], folder: Path) -> Run:
        """A run in the group of its study."""
        try:
            import wandb
        except ImportError:
            raise RunError("tracker=wandb needs wandb: pip install wandb, or use tracker=none") from None
        from wandb.errors import Error

        mode = self.mode or os.environ.get("WANDB_MODE") or ("online" if known_key() else "offline")
        try:
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                mode=mode,  # type: ignore[arg-type]
                group=group,
                name=name,
                job_type=job_type,
                config=dict(config),
                dir=str(folder),
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
                reinit="finish_previous",
            )
        except Error as error:
            raise RunError(f"W&B: {error}; set tracker.mode=offline or tracker=none") from None
        log.info("W&B %s: %s", mode, run.url if mode == "online" else run.dir)
        return run

    def step(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)
        if self.run:
            name = row["step"]
            self.run.log({f"steps/{name}/{key}": value for key, value in row.items() if isinstance(value, int | float)})
            for point in curve(Path(row["path"]))[self.sent[name] :]:
                self.learned(name, point)
            del self.sent[name]

    def learned(self, step: str, point: Mapping[str, Any]) -> None:
        """The next row of the curve of a training that is under way, or has ended."""
        if self.run:
            if not self.sent[step]:
                self.run.define_metric(f"training/{step}/*", step_metric=f"training/{step}/step")
            self.run.log({f"training/{step}/{key}": value for key, value in point.items()})
            self.sent[step] += 1

    def finish(self, measured: Mapping[str, Any], folder: Path) -> None:
        if not self.run:
            return
        import wandb

        for value, rounds in measured["metrics"].items():
            for number, summary in rounds.items():
                self.run.log({"round": int(number), **{f"{value}/{key}": part for key, part in flat(summary).items()}})
                self.run.summary[f"{value}/round {number}"] = summary["mean"]
        for number, counts in measured["rounds"].items():
            self.run.log(
                {"round": int(number), **{f"records/{key}": counts[key] for key in ("made", "kept", "rejected")}}
            )
        columns: list[str | int] = ["round", "operation", "parent", "instruction", "input", "output", "id"]
        self.run.log({"records": wandb.Table(columns=columns, data=self.pairs())})
        before = None
        for row in self.rows:
            place = Path(row["path"])
            made = (place / "records.jsonl").exists()  # else it holds scores
            facts = {"hash": row["hash"], "in": row["in"], "out": row["out"], "input": before}
            # a benchmark's folder has the model that was asked behind an @, which W&B refuses
            name = place.name.replace("@", "-")
            artifact = wandb.Artifact(name, type="records" if made else "scores", metadata=facts)
            for file in sorted(place.glob("*.json*")):
                artifact.add_file(str(file), file.name)
            self.run.log_artifact(artifact)
            before = name if made else before
        whole = wandb.Artifact(f"results-{self.run.id}", type="results")
        whole.add_file(str(folder / "metrics.json"))
        self.run.log_artifact(whole)

    def pairs(self) -> list[Iterable[Any]]:
        """Sampled records of the last step beside the instruction each was made of."""
        known: dict[str, Record] = {}
        last: list[Record] = []
        for row in self.rows:
            path = Path(row["path"]) / "records.jsonl"
            if path.exists():
                last = read_records(path)
                known |= {record.id: record for record in last}
        chosen = random.Random(0).sample(last, min(self.records, len(last)))
        return [
            [
                record.origin.round,
                record.origin.operation,
                known[record.origin.parent].prompt if record.origin.parent in known else "",
                record.instruction,
                record.input,
                record.output,
                record.id,
            ]
            for record in chosen
        ]

    def close(self) -> None:
        if self.run:
            self.run.finish()
            self.run = None


def curve(artifact: Path) -> list[dict[str, Any]]:
    """The loss curve of a training; nothing for any other step."""
    file = artifact / "training.jsonl"
    return list(read_jsonl(file)) if file.exists() else []


def known_key() -> bool:
    """Whether W&B would find a key: in the environment, or where `wandb login` leaves it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return netrc.exists() and "api.wandb.ai" in netrc.read_text(errors="replace")


def flat(summary: Mapping[str, Any]) -> dict[str, float]:
    low, high = summary["ci95"] or (None, None)
    parts = {
        "mean": summary["mean"],
        "ci_low": low,
        "ci_high": high,
        "n": summary["n"],
        "unparsed": summary["unparsed"],
    }
    parts |= {f"counts/{label}": n for label, n in summary.get("counts", {}).items()}
    return {key: value for key, value in parts.items() if value is not None}
