"""The runner: steps in order, then metrics; each is done once, stored, counted and reported.

Steps know nothing of disks, dashboards or clusters: what is read and written is read and written here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from evodistill import RunError, __version__, config, prompt, results
from evodistill.backend import Backend, Usage
from evodistill.backend.cache import Cache, Cached
from evodistill.metric import Score
from evodistill.record import Record, digest, read_jsonl, read_records, split, to_line
from evodistill.store import Store, named_errors, write_json, write_lines

log = logging.getLogger(__name__)


class Step(Protocol):
    """A configured function: every record it receives or makes comes back, what failed is marked."""

    roles: Sequence[str]  # of the models it asks
    prompts: Mapping[str, Sequence[str]]  # name → the variables it gives them

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]: ...


class Metric(Protocol):
    """A configured function from records to one score each. `records` names the step whose records it measures."""

    roles: Sequence[str]
    prompts: Mapping[str, Sequence[str]]
    records: str | None

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]: ...


class Models(dict[str, Cached]):
    """Role → model. Roles with the same model share one engine, built when first asked and closed by `release`."""

    def __init__(self, cfg: DictConfig, cache: Cache) -> None:
        super().__init__()
        self.cfg, self.cache = cfg, cache
        self.shared: dict[str, Cached] = {}

    def __missing__(self, role: str) -> Cached:
        node = self.cfg[role]
        key = digest(OmegaConf.to_container(node, resolve=True))
        if key not in self.shared:
            self.shared[key] = Cached(config.build(node), self.cache)
        self[role] = self.shared[key]
        return self[role]

    def release(self, needed: set[str]) -> None:
        """Close the engines that none of the roles still needed uses."""
        kept = {id(self[role]) for role in needed}  # a role not asked yet may share an engine that is open
        for model in self.shared.values():
            if id(model) not in kept:
                model.close()

    def usage(self, roles: Sequence[str]) -> Usage:
        """What the models of these roles have done so far, each counted once."""
        total = Usage()
        for model in {id(self[role]): self[role] for role in roles}.values():
            total = total.plus(model.usage)
        return total


def run(cfg: DictConfig, out: Path) -> dict[str, float]:
    """Check, run and measure one experiment; writes its results under `out` and returns the means."""
    started = time.monotonic()
    status = {
        "status": "running",
        "error": "",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": 0.0,
        "run": out.name,
    }
    status |= results.facts(cfg) | {"version": __version__}
    with named_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / "status.json", status)
    try:
        config.check(cfg)
        measured = tracked(cfg, status, out)
        status["status"] = "completed"
    except BaseException as error:  # also an interrupt: the table of a study shows what became of every job
        status |= {
            "status": "failed",
            "error": str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}",
        }
        raise
    finally:
        status["seconds"] = round(time.monotonic() - started, 3)
        write_json(out / "status.json", status)
    return {
        f"{value}/{number}": summary["mean"]
        for value, rounds in measured["metrics"].items()
        for number, summary in rounds.items()
        if summary["mean"] is not None
    }


def tracked(cfg: DictConfig, facts: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The content of `metrics.json`, written and told to the tracker, which is closed whatever happens."""
    tracker = config.build(cfg.tracker)
    try:
        tracker.start(OmegaConf.to_container(cfg, resolve=True), facts, out)
        measured = Runner(cfg, out, tracker.step)()
        write_json(out / "metrics.json", measured)
        tracker.finish(measured, out)
    finally:
        tracker.close()
    return measured


class Runner:
    """One run: what it needs, and the row of `steps.jsonl` for each thing done."""

    def __init__(self, cfg: DictConfig, out: Path, told: Callable[[dict[str, Any]], None]) -> None:
        self.cfg, self.out, self.told = cfg, out, told
        self.store = Store(Path(cfg.artifacts))
        self.cache = Cache(Path(cfg.artifacts) / "requests.sqlite")
        self.models = Models(cfg, self.cache)
        self.steps: dict[str, Step] = {name: config.build(cfg[name]) for name in cfg.steps}
        self.metrics: dict[str, Metric] = {name: config.build(node) for name, node in config.metrics(cfg)}
        self.rows: list[dict[str, Any]] = []

    def __call__(self) -> dict[str, Any]:
        summaries: dict[str, Any] = {}
        records: list[Record] = []
        rejects: list[Record] = []
        content = ""  # hash of what the next step is given
        agenda = list(self.agenda())
        try:
            for number, (name, work) in enumerate(agenda):
                if name in self.metrics:
                    summaries |= self.metric(name, work, records, content)
                else:
                    records, failed, content = self.step(name, work, records, content)
                    rejects += failed
                self.models.release({role for _, later in agenda[number + 1 :] for role in later.roles})
        finally:
            self.models.release(set())
            self.cache.close()
        return {"metrics": summaries, "rounds": results.by_round(records, rejects)}

    def agenda(self) -> Iterator[tuple[str, Any]]:
        """Each step, then the metrics that measure its records."""
        for name, step in self.steps.items():
            yield name, step
            for other, metric in self.metrics.items():
                if (metric.records or self.cfg.steps[-1]) == name:
                    yield other, metric

    def step(
        self, name: str, step: Step, records: list[Record], content: str
    ) -> tuple[list[Record], list[Record], str]:
        """(usable records, rejects, hash of the usable records) of a step: from the store, or made and stored."""

        def make() -> tuple[dict[str, Iterator[str]], dict[str, int], Any]:
            usable, rejected = split(self.checked(name, step, records))
            counts = {
                "in": len(records),
                "made": len(usable) + len(rejected) - len(records),
                "out": len(usable),
                "rejected": len(rejected),
            }
            files: dict[str, Iterator[str]] = {
                "records.jsonl": (to_line(record.to_dict()) for record in usable),
                "rejects.jsonl": (to_line(record.to_dict()) for record in rejected),
            }
            return files, counts, (usable, rejected)

        folder, manifest, made = self.once(name, step, content, make)
        usable, rejected = made or (read_records(folder / "records.jsonl"), read_records(folder / "rejects.jsonl"))
        return usable, rejected, manifest["files"]["records.jsonl"]["sha256"]

    def metric(self, name: str, metric: Metric, records: list[Record], content: str) -> dict[str, Any]:
        """The summaries of a metric; its scores are stored like a step's records, and copied into the run's folder."""

        def make() -> tuple[dict[str, Iterator[str]], dict[str, int], Any]:
            scores = metric(records, self.asked(metric))
            if [score.id for score in scores] != [record.id for record in records]:
                raise RuntimeError(f"metric {name} must give one score per record, in order")
            missing = sum(score.reason != "" for score in scores)
            counts = {"in": len(records), "made": 0, "out": len(scores) - missing, "rejected": missing}
            return {"scores.jsonl": (to_line(score.to_dict()) for score in scores)}, counts, True

        folder, _, _ = self.once(name, metric, content, make)
        (self.out / "scores").mkdir(exist_ok=True)
        rows = list(read_jsonl(folder / "scores.jsonl"))
        write_lines(self.out / "scores" / f"{name}.jsonl", (to_line(row) for row in rows))
        return results.summarize(rows, self.cfg.seed)

    def asked(self, step: Step | Metric) -> dict[str, Backend]:
        """The models of the roles that a step names, and no others."""
        return {role: self.models[role] for role in step.roles}

    def checked(self, name: str, step: Step, records: list[Record]) -> list[Record]:
        """Run a step; nothing it was given may be missing, nothing may come twice: in + made = out + rejected."""
        returned = step(records, self.asked(step))
        ids = {record.id for record in returned}
        if len(ids) != len(returned):
            raise RuntimeError(f"step {name} returned {len(returned) - len(ids)} records twice")
        if lost := {record.id for record in records} - ids:
            raise RuntimeError(f"step {name} lost {len(lost)} records, {min(lost)} for one")
        if returned and not any(record.fault is None for record in returned):
            counted = results.by_round([], returned)
            log.warning(
                "%s: no record is left; rejected by reason: %s", name, {n: row["reasons"] for n, row in counted.items()}
            )
        return returned

    def once(
        self, name: str, step: Step | Metric, content: str, make: Callable[[], Any]
    ) -> tuple[Path, dict[str, Any], Any]:
        """(folder, manifest, what `make` made or None): make and store the artifact unless it is there."""
        started = time.monotonic()
        key = self.key(step, content)
        folder = self.store.folder(name, key)
        before = self.models.usage(step.roles)
        with self.store.lock(folder):
            made = None
            if (manifest := self.store.manifest(folder)) is None:
                files, counts, made = make()
                usage = asdict(self.models.usage(step.roles).minus(before))
                manifest = self.store.write(
                    folder, files, {"step": name, "key": key, **counts, **usage, "version": __version__}
                )
        row = {"step": name, "hash": folder.name.rsplit("-", 1)[-1], "path": str(folder)}
        row |= {count: manifest[count] for count in ("in", "made", "out", "rejected")}
        row |= {"seconds": round(time.monotonic() - started, 3)}
        row |= asdict(self.models.usage(step.roles).minus(before)) | {"reused": made is None}
        self.rows.append(row)
        write_lines(self.out / "steps.jsonl", (to_line(line) for line in self.rows))
        told = ("in", "made", "out", "rejected", "seconds", "requests", "cached")
        log.info(
            "%-18s %6d in %6d made %6d out %6d rejected  %7.1f s  %6d requests %6d cached%s",
            name,
            *(row[key] for key in told),
            "  (from the store)" if row["reused"] else "",
        )
        self.told(row)
        return folder, manifest, made

    def key(self, step: Step | Metric, content: str) -> dict[str, Any]:
        """Everything the outcome depends on. Throughput knobs are no part of it: they live with the backends."""
        return {
            "does": f"{type(step).__module__}.{type(step).__qualname__}",
            "config": asdict(step) if is_dataclass(step) else {},
            "prompts": {name: digest(prompt.source(name)) for name in dict(step.prompts)},
            "models": {role: [self.models[role].name, self.models[role].identity] for role in step.roles},
            "sources": list(getattr(step, "sources", ())),
            "input": content,
        }
