"""The runner: steps in order, then metrics; each is done once, stored, counted and reported.

Steps know nothing of disks, dashboards or clusters: what is read and written is read and written here.
"""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from evodistill import RunError, __version__, config, prompt, results
from evodistill.backend import Backend
from evodistill.backend.cache import Cache
from evodistill.metric import Score
from evodistill.models import Models
from evodistill.record import Made, Record, digest, read_jsonl, read_records, split, to_line
from evodistill.store import Store, named_errors, write_json, write_lines

log = logging.getLogger(__name__)


class Step(Protocol):
    """A configured function: every record it receives or makes comes back, what failed is marked. One that has `alone`,
    and it is true, decides over each record without the others: its shards can be merged (`merge.py`)."""

    roles: Sequence[str]  # of the models it asks
    prompts: Mapping[str, Sequence[str]]  # name → the variables it gives them

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record] | Made: ...


class Trainer(Step, Protocol):
    """A step that trains the weights of a role in the `folder` that it is given. What it makes is a role of its own
    from then on. `ready`, which a metric or benchmark may have too, refuses at the start what would stop it later."""

    model: str
    makes: str
    folder: str

    def ready(self) -> None: ...


class Metric(Protocol):
    """A configured function from records to one score each. `records` names the step whose records it measures. One
    that has `whole(records, scores)` adds numbers of the set as such: value → round → {mean, ci95, n, unparsed}."""

    roles: Sequence[str]
    prompts: Mapping[str, Sequence[str]]
    records: str | None

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]: ...


class Benchmark(Protocol):
    """A configured function that asks a model the items of a test: one score each, its seed the item's id, so that two
    models are paired over items. It may have `whole` too."""

    roles: Sequence[str]
    prompts: Mapping[str, Sequence[str]]

    def __call__(self, models: Mapping[str, Backend]) -> list[Score]: ...


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
        self.cfg = cfg = copy.deepcopy(cfg)  # what is trained becomes a role of it
        self.out, self.told = out, told
        self.store = Store(Path(cfg.artifacts))
        self.cache = Cache(Path(cfg.artifacts) / "requests.sqlite")
        self.models = Models(cfg, self.cache)
        self.steps: dict[str, Step] = {name: config.build(cfg[name]) for name in cfg.steps}
        self.metrics: dict[str, Metric] = {name: config.build(node) for name, node in config.metrics(cfg)}
        self.benchmarks: dict[str, Benchmark] = {name: config.build(node) for name, node in config.benchmarks(cfg)}
        for work in (*self.steps.values(), *self.metrics.values(), *self.benchmarks.values()):
            if hasattr(work, "ready"):
                work.ready()  # type: ignore[union-attr]
        self.records: list[Record] = []  # that the last step left
        self.rejects: list[Record] = []  # of all steps
        self.content = ""  # hash of what the next step is given
        self.rows: list[dict[str, Any]] = []

    def __call__(self) -> dict[str, Any]:
        summaries: dict[str, Any] = {}
        agenda = list(self.agenda())
        try:
            for number, (do, name, work) in enumerate(agenda):
                for value, rounds in do(name, work).items():
                    if value in summaries:
                        raise RunError(f"{name} gives a value {value!r} that another metric gives too; rename one")
                    summaries[value] = rounds
                self.models.release({role for _, _, later in agenda[number + 1 :] for role in later.roles})
        finally:
            self.models.release(set())
            self.cache.close()
        return {"metrics": summaries, "rounds": results.by_round(self.records, self.rejects)}

    def agenda(self) -> Iterator[tuple[Callable[[str, Any], dict[str, Any]], str, Any]]:
        """Each step, then the metrics that measure its records; at last the benchmarks."""
        for name, step in self.steps.items():
            yield self.step, name, step
            for other, metric in self.metrics.items():
                if (metric.records or self.cfg.steps[-1]) == name:
                    yield self.metric, other, metric
        for name, benchmark in self.benchmarks.items():
            yield self.benchmark, name, benchmark

    def step(self, name: str, step: Step) -> dict[str, Any]:
        """The usable records and the rejects of a step: from the store, or made and stored."""
        records = self.records
        step = self.paired(name, step)
        if trains := hasattr(step, "makes"):
            step = replace(step, folder=str(self.store.folder(name, self.key(step, self.content))))  # type: ignore[type-var,call-arg]

        def make() -> tuple[dict[str, Iterable[str] | Path], dict[str, int], Any]:
            if trains:
                self.models.release(set())  # no engine shares memory with it
            made = self.checked(name, step, records)
            usable, rejected = split(made.records)
            counts = {
                "in": len(records),
                "made": len(usable) + len(rejected) - len(records),
                "out": len(usable),
                "rejected": len(rejected),
            }
            files: dict[str, Iterable[str] | Path] = {
                **made.files,
                "records.jsonl": (to_line(record.to_dict()) for record in usable),
                "rejects.jsonl": (to_line(record.to_dict()) for record in rejected),
            }
            return files, counts, (usable, rejected)

        folder, manifest, made = self.once(name, step, self.content, make)
        usable, rejected = made or (read_records(folder / "records.jsonl"), read_records(folder / "rejects.jsonl"))
        self.records, self.content = usable, manifest["files"]["records.jsonl"]["sha256"]
        self.rejects += rejected
        if trains:
            self.trained(name, step, folder)  # type: ignore[arg-type]
        if not usable and name != self.cfg.steps[-1]:
            reasons = Counter(record.fault.reason for record in rejected if record.fault)
            told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
            raise RunError(f"{name} left none of {len(rejected)} records ({told}); read {folder / 'rejects.jsonl'}")
        return {}

    def trained(self, name: str, step: Trainer, folder: Path) -> None:
        """What was trained is a role from now on; its loss curve lies with the results."""
        config.add_trained(self.cfg, name, step, str((folder / "model").resolve()))
        (self.out / "training").mkdir(exist_ok=True)
        curve = (to_line(row) for row in read_jsonl(folder / "training.jsonl"))
        write_lines(self.out / "training" / f"{name}.jsonl", curve)

    def paired(self, name: str, step: Step) -> Step:
        """A step that names rivals (roles) is told where the records lie that the steps before it make with each in
        the place of its `role`. They come from the store where another job has made them, or go there for it."""
        rivals = getattr(step, "rivals", ())
        if not rivals:
            return step
        self.models.release(set())  # two engines would share the memory
        before = list(self.cfg.steps)[: list(self.cfg.steps).index(name)]
        places = []
        for rival in rivals:
            cfg = copy.deepcopy(self.cfg)
            OmegaConf.set_struct(cfg, False)
            cfg[step.role] = cfg[rival]  # type: ignore[attr-defined]
            cfg.steps, cfg.metric, cfg.benchmark = before, {}, {}
            out = self.out / "rivals" / rival
            out.mkdir(parents=True, exist_ok=True)
            log.info("%s: the same steps with %s (%s) as %s", name, rival, cfg[rival].name, step.role)  # type: ignore[attr-defined]
            other = Runner(cfg, out, self.told)
            other()
            places.append(other.rows[-1]["path"])
        return replace(step, paired_with=[*step.paired_with, *places])  # type: ignore[attr-defined,type-var]

    def metric(self, name: str, metric: Metric) -> dict[str, Any]:
        """The summaries of a metric; its scores are stored like a step's records, and copied into the run's folder."""
        records = self.records

        def score() -> list[Score]:
            scores = metric(records, self.asked(metric))
            if [score.id for score in scores] != [record.id for record in records]:
                raise RuntimeError(f"metric {name} must give one score per record, in order")
            return scores

        return self.scored(name, metric, records, self.content, score)

    def benchmark(self, name: str, benchmark: Benchmark) -> dict[str, Any]:
        """As a metric, of a model in the place of records; asked of several roles, its values bear the role's name."""
        return self.scored(name, benchmark, [], "", lambda: benchmark(self.asked(benchmark)))

    def scored(
        self, name: str, work: Metric | Benchmark, records: list[Record], content: str, score: Callable[[], list[Score]]
    ) -> dict[str, Any]:
        def make() -> tuple[dict[str, Iterable[str]], dict[str, int], Any]:
            scores = score()
            missing = sum(score.reason != "" for score in scores)
            counts = {"in": len(records), "made": len(scores) - len(records)}
            counts |= {"out": len(scores) - missing, "rejected": missing}
            whole = work.whole(records, scores) if hasattr(work, "whole") else {}  # type: ignore[union-attr]
            files: dict[str, Iterable[str]] = {
                "scores.jsonl": (to_line(score.to_dict()) for score in scores),
                "whole.json": [to_line(whole)],
            }
            return files, counts, True

        folder, _, _ = self.once(name, work, content, make)
        (self.out / "scores").mkdir(exist_ok=True)
        rows, (whole,) = list(read_jsonl(folder / "scores.jsonl")), read_jsonl(folder / "whole.json")
        if name in self.benchmarks:
            role = name.partition("@")[2]
            rows = [row | {"operation": "benchmark", "values": of_role(role, row["values"])} for row in rows]
            whole = of_role(role, whole)
        write_lines(self.out / "scores" / f"{name}.jsonl", (to_line(row) for row in rows))
        return results.summarize(rows, self.cfg.seed) | whole

    def asked(self, step: Step | Metric | Benchmark) -> dict[str, Backend]:
        """The models of the roles that a step names, and no others."""
        return {role: self.models[role] for role in step.roles}

    def checked(self, name: str, step: Step, records: list[Record]) -> Made:
        """Run a step; nothing it was given may be missing, nothing may come twice: in + made = out + rejected."""
        returned = step(records, self.asked(step))
        made = returned if isinstance(returned, Made) else Made(returned, {})
        ids = {record.id for record in made.records}
        if len(ids) != len(made.records):
            raise RuntimeError(f"step {name} returned {len(made.records) - len(ids)} records twice")
        if lost := {record.id for record in records} - ids:
            raise RuntimeError(f"step {name} lost {len(lost)} records, {min(lost)} for one")
        if made.records and all(record.fault for record in made.records):
            reasons = {number: row["reasons"] for number, row in results.by_round([], made.records).items()}
            log.warning("%s: no record is left; rejected by reason: %s", name, reasons)
        return made

    def once(
        self, name: str, step: Step | Metric | Benchmark, content: str, make: Callable[[], Any]
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

    def key(self, step: Step | Metric | Benchmark, content: str) -> dict[str, Any]:
        """Everything the outcome depends on. Throughput knobs are no part of it: they live with the backends."""
        return {
            "config": config.identity(step),
            "prompts": {name: digest(prompt.source(name)) for name in dict(step.prompts)},
            "models": {role: [self.models[role].name, self.models[role].identity] for role in step.roles},
            "sources": list(getattr(step, "sources", ())),
            "input": content,
        }


def of_role(role: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{role}/{value}" if role else value: given for value, given in values.items()}
