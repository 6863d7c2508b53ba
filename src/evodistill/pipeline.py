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
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from evodistill import RunError, __version__, config, max_rejected, prompt, provenance, results
from evodistill.backend import Backend
from evodistill.backend.cache import Cache
from evodistill.credentials import redacted
from evodistill.evolution.evolution import KEPT
from evodistill.follow import followed
from evodistill.metric import Score
from evodistill.models import Models
from evodistill.record import Made, Record, digest, read_jsonl, split, to_line
from evodistill.store import Store, clean, named_errors, write_json, write_lines
from evodistill.stream import Rows, Seen, Spool, portions

log = logging.getLogger(__name__)

UNFINISHED = "unfinished"  # folder of a run for what the store must not take for finished


class Step(Protocol):
    """A configured function: every record it receives or makes comes back, what failed is marked. One that has `alone`,
    and it is true, decides over each record without the others: its shards can be merged (`merge.py`). One that has
    `streams`, and it is true, is given many records by the portion (`stream.py`): what it was given stands where it
    stood, and what it made comes behind, round after round, in each those last that stand in for failed ones."""

    roles: Sequence[str]  # of the models it asks
    prompts: Mapping[str, Sequence[str]]  # name → the variables it gives them

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record] | Made: ...


class Trainer(Step, Protocol):
    """A step that trains the weights of a role in the `folder` that it is given. What it makes is a role of its own
    from then on; its loss curve grows in `curve` while it trains. `ready`, which a metric or benchmark may have too,
    refuses at the start what would stop it later; `suits` does, also in a dry run, of the models whose weights are
    here, by the role their folder."""

    model: str
    makes: str
    folder: str
    curve: Path

    def ready(self) -> None: ...

    def suits(self, folders: Mapping[str, Path]) -> None: ...


class Metric(Protocol):
    """A configured function from records to one score each. `records` names the step whose records it measures. One
    that has `whole(records, scores)` adds numbers of the set as such: value → round → {mean, ci95, n, unparsed}. One
    that has `streams`, and it is true, is given many records by the portion, and goes through them all in `whole`."""

    roles: Sequence[str]
    prompts: Mapping[str, Sequence[str]]
    records: str | None

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]: ...


class Benchmark(Protocol):
    """A configured function that asks a model the items of a test: one score each, its seed the item's id, so that two
    models are paired over items. It may have `whole` too. Its `texts()` are what training data must not hold."""

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
    status |= results.facts(cfg) | {"version": __version__} | provenance.source() | provenance.environment()
    with named_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        clean(out)
    write_json(out / "status.json", status)
    try:
        if lacking := config.lacking(config.check(cfg)):
            raise RunError("; ".join(lacking))
        measured = tracked(cfg, status, out)
        status["status"] = "completed"
    except BaseException as error:  # also an interrupt: the table of a study shows what became of every job
        status |= {
            "status": "failed",
            "error": redacted(str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}"),
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
        measured = Runner(cfg, out, tracker.step, tracker.learned)()
        write_json(out / "metrics.json", measured)
        tracker.finish(measured, out)
    finally:
        tracker.close()
    return measured


class Runner:
    """One run: what it needs, and the row of `steps.jsonl` for each thing done."""

    def __init__(
        self,
        cfg: DictConfig,
        out: Path,
        told: Callable[[dict[str, Any]], None],
        learned: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self.cfg = cfg = copy.deepcopy(cfg)  # what is trained becomes a role of it
        self.out, self.told, self.learned = out, told, learned
        self.store = Store(Path(cfg.artifacts))
        self.cache = Cache(Path(cfg.artifacts) / "requests.sqlite")
        self.models = Models(cfg, self.cache)
        self.steps: dict[str, Step] = {name: config.build(cfg[name]) for name in cfg.steps}
        self.metrics: dict[str, Metric] = {name: config.build(node) for name, node in config.metrics(cfg)}
        self.benchmarks: dict[str, Benchmark] = {name: config.build(node) for name, node in config.benchmarks(cfg)}
        for work in (*self.steps.values(), *self.metrics.values(), *self.benchmarks.values()):
            if hasattr(work, "ready"):
                work.ready()  # type: ignore[union-attr]
        self.records = Rows(Record.from_dict)  # that the last step left
        self.rejects = Rows(Record.from_dict)  # of all steps
        self.content = ""  # hash of what the next step is given
        self.unfinished: dict[Path, Path] = {}  # artifacts with requests that failed in passing, where they lie instead
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
            self.warn()
        return {"metrics": summaries, "rounds": results.by_round(self.records, self.rejects)}

    def warn(self) -> None:
        """Say once, at the end, which steps lack answers that may be had by asking again."""
        passing = {row["step"]: row["passing"] for row in self.rows if row["passing"]}
        if passing:
            told = ", ".join(f"{step} {n}" for step, n in passing.items())
            log.warning(
                "%d requests failed in passing (%s): the same command asks them again, and nothing else",
                *(sum(passing.values()), told),
            )

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
        """The usable records and the rejects of a step: in the store, or made and stored."""
        n = len(self.records)
        step = self.paired(name, step)
        if trains := hasattr(step, "makes"):
            step = replace(step, folder=str(self.store.folder(name, self.key(step, self.content))))  # type: ignore[type-var,call-arg]

        def make(folder: Path) -> tuple[dict[str, Iterable[str] | Path], dict[str, Any]]:
            if trains:
                self.models.release(set())  # no engine shares memory with it
            usable, rejected = Spool(folder), Spool(folder)
            reasons: Counter[str] = Counter()
            files: dict[str, Iterable[str] | Path] = {}
            seen = judged = 0
            for given, made in self.checked(name, step):
                if twice := files.keys() & made.files.keys():
                    raise RuntimeError(f"step {name} makes {min(twice)} of all its records, so it must not stream")
                files |= made.files
                there = {record.id for record in given} if streams(step) else None
                kept, lost = split(made.records)
                reasons.update(record.fault.reason for record in lost if record.fault)
                for spool, records in ((usable, kept), (rejected, lost)):
                    spool.extend((place(record, there), to_line(record.to_dict())) for record in records)
                seen, judged = seen + len(given), judged + max_rejected.judged(given, made.records)
                if seen < n:  # another portion follows
                    self.stop(name, judged, reasons, folder / "rejects.jsonl", rejected)
            made_here = len(usable) + len(rejected) - n
            counts = {"in": n, "made": made_here, "out": len(usable), "rejected": len(rejected)}
            counts |= {"reasons": ordered(reasons), "judged": judged}
            return {**files, "records.jsonl": usable, "rejects.jsonl": rejected}, counts

        def train(folder: Path) -> tuple[dict[str, Iterable[str] | Path], dict[str, Any]]:
            with followed(step.curve, partial(self.learned, name)):  # type: ignore[attr-defined]
                return make(folder)

        folder, manifest = self.once(name, step, self.content, train if trains else make)
        self.records = Rows(Record.from_dict, folder / "records.jsonl", n=manifest["out"])
        self.content = manifest["files"]["records.jsonl"]["sha256"]
        self.rejects.add(folder / "rejects.jsonl", manifest["rejected"])
        self.stop(name, manifest["judged"], manifest["reasons"], folder / "rejects.jsonl")
        if trains:
            self.trained(name, step, folder)  # type: ignore[arg-type]
        if not len(self.records):
            told = ", ".join(f"{reason} {count}" for reason, count in manifest["reasons"].items())
            left = f"{name} left none of {manifest['rejected']} records ({told}); read {folder / 'rejects.jsonl'}"
            if name != self.cfg.steps[-1]:
                raise RunError(left)
            log.warning(left)
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
        places = []
        for rival in rivals:
            cfg = config.with_rival(self.cfg, name, step.role, rival)  # type: ignore[attr-defined]
            out = self.out / "rivals" / rival
            out.mkdir(parents=True, exist_ok=True)
            log.info("%s: the same steps with %s (%s) as %s", name, rival, cfg[rival].name, step.role)  # type: ignore[attr-defined]
            other = Runner(cfg, out, self.told, self.learned)
            other.unfinished = self.unfinished  # a rival that is this run's own model has done these steps
            other()
            places.append(other.rows[-1]["path"])
        return replace(step, paired_with=[*step.paired_with, *places])  # type: ignore[attr-defined,type-var]

    def metric(self, name: str, metric: Metric) -> dict[str, Any]:
        """The summaries of a metric; its scores are stored like a step's records, and copied into the run's folder."""

        def score() -> Iterator[list[Score]]:
            for records, scores in self.called(metric):
                if [score.id for score in scores] != [record.id for record in records]:
                    raise RuntimeError(f"metric {name} must give one score per record, in order")
                yield scores

        return self.scored(name, metric, self.records, self.content, score)

    def benchmark(self, name: str, benchmark: Benchmark) -> dict[str, Any]:
        """As a metric, of a model in the place of records; asked of several roles, its values bear the role's name."""
        nothing = Rows(Record.from_dict)
        return self.scored(name, benchmark, nothing, "", lambda: iter([benchmark(self.asked(benchmark))]))

    def scored(
        self,
        name: str,
        work: Metric | Benchmark,
        records: Rows[Record],
        content: str,
        score: Callable[[], Iterator[list[Score]]],
    ) -> dict[str, Any]:
        def make(folder: Path) -> tuple[dict[str, Iterable[str]], dict[str, Any]]:
            lines, together = Spool(folder), []
            reasons: Counter[str] = Counter()
            lost = 0
            for scores in score():
                lines.extend(((), to_line(one.to_dict())) for one in scores)
                reasons.update(one.reason for one in scores if one.reason)
                # a seed or what was not drawn was never asked: it has a reason, and no value that is missing
                lost += sum(bool(one.reason and (one.values or one.reason not in max_rejected.ASIDE)) for one in scores)
                if len(lines) < len(records):  # another portion follows
                    self.stop(name, len(lines), reasons, folder / "scores.jsonl", lines)
                together += [] if streams(work) else scores
            counts = {"in": len(records), "made": len(lines) - len(records)}
            counts |= {"out": len(lines) - lost, "rejected": lost, "reasons": ordered(reasons)}
            whole = {}
            if hasattr(work, "whole"):
                found = Rows(Score.from_dict, lines, n=len(lines))
                given = (records, found) if streams(work) else (list(records), together)
                whole = work.whole(*given)  # type: ignore[union-attr]
            return {"scores.jsonl": lines, "whole.json": [to_line(whole)]}, counts

        folder, manifest = self.once(name, work, content, make)
        (self.out / "scores").mkdir(exist_ok=True)
        (whole,) = read_jsonl(folder / "whole.json")
        role = name.partition("@")[2]

        def row(flat: Mapping[str, Any]) -> Mapping[str, Any]:
            if name not in self.benchmarks:
                return flat
            return {**flat, "operation": "benchmark", "values": of_role(role, flat["values"])}

        rows = Rows(row, folder / "scores.jsonl")
        file = self.out / "scores" / f"{name}.jsonl"
        write_lines(file, map(to_line, rows))
        if name not in self.benchmarks:  # what a benchmark cannot read is a result: its model cannot do it
            self.stop(name, manifest["in"] + manifest["made"], manifest["reasons"], file)
        return results.summarize(rows, self.cfg.seed) | (of_role(role, whole) if name in self.benchmarks else whole)

    def stop(
        self, name: str, judged: int, reasons: Mapping[str, int], file: Path, lines: Iterable[str] | None = None
    ) -> None:
        """End the run where more of the records failed than `max_rejected` allows. `lines` are those of `file` that a
        step has left so far; without them it is written."""
        told = max_rejected.exceeded(self.cfg.get("max_rejected"), name, judged, ordered(Counter(reasons)), file)
        if told and lines is not None:
            write_lines(file, lines)
        if told:
            raise RunError(told)

    def asked(self, step: Step | Metric | Benchmark) -> dict[str, Backend]:
        """The models of the roles that a step names, and no others."""
        return {role: self.models[role] for role in step.roles}

    def called(self, work: Step | Metric) -> Iterator[tuple[list[Record], Any]]:
        """(records given, what came of them) of each portion, or of all at once where they must be seen together."""
        if not streams(work):
            yield (records := list(self.records)), work(records, self.asked(work))
        elif hasattr(work, "stream") and not len(self.records):
            yield from (([], made) for made in portions(work.stream()))  # type: ignore[union-attr]
        else:
            with self.models.portions(work.roles) as begins:
                for records in portions(self.records):
                    begins()
                    yield records, work(records, self.asked(work))

    def checked(self, name: str, step: Step) -> Iterator[tuple[list[Record], Made]]:
        """Run a step; nothing it was given may be missing, nothing may come twice: in + made = out + rejected."""
        every = Seen()
        for given, returned in self.called(step):
            made = returned if isinstance(returned, Made) else Made(returned, {})
            ids = [record.id for record in made.records]
            if new := len(ids) - every.add(ids):
                raise RuntimeError(f"step {name} returned {new} records twice")
            if lost := {record.id for record in given}.difference(ids):
                raise RuntimeError(f"step {name} lost {len(lost)} records, {min(lost)} for one")
            yield given, made

    def once(
        self, name: str, step: Step | Metric | Benchmark, content: str, make: Callable[[Path], Any]
    ) -> tuple[Path, dict[str, Any]]:
        """(folder, manifest): make and store the artifact unless it is there. Where requests failed in passing it lies
        in the run's folder, for this run alone: the next one does not find it, and asks these requests again."""
        started = time.monotonic()
        key = self.key(step, content)
        place = self.store.folder(name, key)
        folder = self.unfinished.get(place, place)
        before = self.models.usage(step.roles)
        with self.store.lock(folder):
            manifest = self.store.manifest(folder)
            reused = manifest is not None
            if manifest is None:
                files, counts = make(folder)
                usage = self.models.usage(step.roles).minus(before)
                if usage.passing:
                    folder = self.unfinished[place] = self.out / UNFINISHED / place.name
                # outside the key: one artifact may serve runs of other code and on other engines
                made_by = {"version": __version__} | provenance.source() | {"backends": self.backends(step)}
                facts = {"step": name, "key": key, **counts, **asdict(usage), **made_by}
                manifest = self.store.write(folder, files, facts)
            elif (version := manifest.get("version")) != __version__:
                log.warning(
                    "%s was made by version %s, this is %s; remove it to make it anew: finished requests are kept",
                    *(folder, version, __version__),
                )
        row = {"step": name, "hash": folder.name.rsplit("-", 1)[-1], "path": str(folder)}
        row |= {count: manifest[count] for count in ("in", "made", "out", "rejected", "reasons")}
        row |= {"seconds": round(time.monotonic() - started, 3)}
        row |= asdict(self.models.usage(step.roles).minus(before)) | {"reused": reused}
        self.rows.append(row)
        write_lines(self.out / "steps.jsonl", (to_line(line) for line in self.rows))
        told = ("in", "made", "out", "rejected", "seconds", "requests", "cached")
        log.info(
            "%-18s %6d in %6d made %6d out %6d %s  %7.1f s  %6d requests %6d cached%s",
            name,
            *(row[key] for key in told[:4]),
            "rejected" if name in self.steps else "unparsed",
            *(row[key] for key in told[4:]),
            "  (from the store)" if row["reused"] else "",
        )
        self.told(row)
        return folder, manifest

    def backends(self, step: Step | Metric | Benchmark) -> dict[str, dict[str, str | None]]:
        """What runs the model of each role that a step names."""
        return {role: self.models[role].engine_facts for role in step.roles}

    def key(self, step: Step | Metric | Benchmark, content: str) -> dict[str, Any]:
        """Everything the outcome depends on. Throughput knobs are no part of it: they live with the backends."""
        return {
            "config": config.identity(step),
            "prompts": {name: digest(prompt.source(name)) for name in dict(step.prompts)},
            "models": {role: [self.models[role].name, self.models[role].identity] for role in step.roles},
            "sources": list(getattr(step, "sources", ())),
            "input": content,
        }


def ordered(reasons: Counter[str]) -> dict[str, int]:
    """The frequent ones first."""
    return dict(reasons.most_common())


def streams(work: object) -> bool:
    return bool(getattr(work, "streams", False))


def place(record: Record, given: set[str] | None) -> tuple[int, bool] | tuple[()]:
    """The group of records that one of a portion belongs to: what was `given` first, then what was made of it. All
    records are one group where the step saw them together (None)."""
    if given is None or record.id in given:
        return ()
    return record.origin.round, record.origin.operation == KEPT


def of_role(role: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{role}/{value}" if role else value: given for value, given in values.items()}
