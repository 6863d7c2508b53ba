"""What a report shows of the records: the same few seeds under every evolver, a few rejects, a few replies that could
not be read.

Samples are drawn by name (`random.Random` of what is sampled), so the same folder gives the same report.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any

from analysis.jobs import Job, lines_naming, numbers, parsed, read_lines
from analysis.load import Study

LONGEST = 4_000  # characters of one text in a report
# a record has no reason, a seed no operation, a reject no scores
BLANK = dict.fromkeys(("step", "operation", "input", "output", "finish_reason", "reason", "detail", "raw"), "") | {
    "scores": ()
}
NEEDED = {"id", "round", "instruction"}  # of a record or a reject, to show it


@dataclass
class Lineage:
    """A seed and what each evolver made of it: evolver → the records (or rejects, with `reason`) of that line, by
    round."""

    dataset: str
    evolution: str
    seed: dict[str, Any]
    sides: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def rounds(self) -> list[int]:
        return sorted({record["round"] for records in self.sides.values() for record in records})


def lineages(study: Study, limit: int) -> list[Lineage]:
    """Up to `limit` seeds, spread over datasets × evolutions; one run (the first completed) per evolver."""
    groups: dict[tuple[str, str], dict[str, Job]] = {}
    for job in study.jobs:
        if job.completed:
            jobs = groups.setdefault((job.facts["dataset"], job.facts["evolution"]), {})
            jobs.setdefault(job.facts["evolver"], job)
    made: list[Lineage] = []
    for number, ((dataset, evolution), jobs) in enumerate(groups.items()):
        share = limit // len(groups) + (number < limit % len(groups))
        ids = seed_ids(list(jobs.values()), study)
        drawn = sorted(random.Random(f"lineages:{dataset}:{evolution}").sample(ids, min(share, len(ids))))
        lines: dict[str, Lineage] = {}
        for evolver in (level for level in ["", *study.levels] if level in jobs):
            for seed, records in chains(jobs[evolver], drawn).items():
                line = lines.setdefault(seed, Lineage(dataset, evolution, {}))
                line.seed = line.seed or next((record for record in records if record["round"] == 0), {})
                evolved = [(record, jobs[evolver]) for record in records if record["round"] > 0]
                line.sides[evolver] = with_scores(evolved, study)
        made += [lines[seed] for seed in drawn if seed in lines]
    return made


def seed_ids(jobs: list[Job], study: Study) -> list[str]:
    """Seeds every job has scored; without any scores, the seeds in the first records file there is."""
    runs = [study.scores[study.scores["run"] == job.facts["run"]] for job in jobs]
    shared = set.intersection(*(set(run["seed_id"].unique()) for run in runs)) if runs else set()
    if not shared:
        for step in islice((step for job in jobs for step in job.steps), 1):
            shared = {row["seed"] for row in read_lines(step["path"] / "records.jsonl", ("seed",))[0]}
    return sorted(shared)


def chains(job: Job, seeds: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Seed id → its records and rejects by round. A later step's form of a record replaces an earlier one: it has the
    answer."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for step in job.steps:
        for name in ("records.jsonl", "rejects.jsonl"):
            for row in lines_naming(step["path"] / name, seeds):
                if row.get("seed") in seeds and shown(row):
                    found.setdefault(row["seed"], {})[row["id"]] = BLANK | row
    return {seed: sorted(rows.values(), key=lambda row: row["round"]) for seed, rows in found.items()}


def with_scores(records: Sequence[tuple[dict[str, Any], Job]], study: Study) -> list[dict[str, Any]]:
    """The records with what their job's metrics said of them."""
    import numpy as np

    scores = study.scores
    runs, ids = scores["run"].cat, scores["id"].cat
    # one number for a run and an id: many runs may hold the same record
    pairs = runs.codes.to_numpy(np.int64) * len(ids.categories) + ids.codes.to_numpy(np.int64)
    of_run = runs.categories.get_indexer([job.facts["run"] for _, job in records])
    of_id = ids.categories.get_indexer([record["id"] for record, _ in records])
    there = (of_run >= 0) & (of_id >= 0)
    mine = scores[np.isin(pairs, of_run[there].astype(np.int64) * len(ids.categories) + of_id[there])]
    found: dict[tuple[str, str], list[tuple[str, float, str]]] = {}
    for row in mine.itertuples(index=False):
        said = row.label or (row.reason if isnan(row.value) else "")
        found.setdefault((row.run, row.id), []).append((row.metric, row.value, said))
    return [record | {"scores": found.get((job.facts["run"], record["id"]), [])} for record, job in records]


def rejects(study: Study, limit: int) -> tuple[list[dict[str, Any]], int]:
    """(sample, how many there are); each artifact is read once though many jobs may share it."""
    rows = {(step["path"], job.facts["evolver"]): None for job in study.jobs for step in job.steps}
    every = [(path / "rejects.jsonl", evolver) for path, evolver in rows]
    counts = [count_lines(path) for path, _ in every]
    total = sum(counts)
    drawn = sorted(random.Random("rejects").sample(range(total), min(limit, total)))
    made, start = [], 0
    for (path, evolver), count in zip(every, counts, strict=True):
        wanted = {number - start for number in drawn if start <= number < start + count}
        made += [BLANK | row | {"evolver": evolver} for row in lines_at(path, wanted, study)]
        start += count
    return made, total


def browsed(study: Study, limit: int) -> tuple[list[list[Any]], int]:
    """(rows [evolver, round, operation, reason, instruction with input, output or raw reply, scores]; how many records
    there are). Each step's rejects, and what is left at the end."""
    every: dict[tuple[Path, str], Job] = {}
    for job in study.jobs:
        steps = [step for step in job.steps if (step["path"] / "records.jsonl").is_file()]
        for step in steps:
            every.setdefault((step["path"] / "rejects.jsonl", job.facts["evolver"]), job)
        for step in steps[-1:]:
            every.setdefault((step["path"] / "records.jsonl", job.facts["evolver"]), job)
    counts = [count_lines(path) for path, _ in every]
    total = sum(counts)
    drawn = sorted(random.Random("browsed").sample(range(total), min(limit, total)))
    read, start = [], 0
    for ((path, evolver), job), count in zip(every.items(), counts, strict=True):
        wanted = {number - start for number in drawn if start <= number < start + count}
        read += [(BLANK | row | {"evolver": evolver}, job) for row in lines_at(path, wanted, study)]
        start += count
    made = []
    for row in with_scores(read, study):
        scores = ", ".join(f"{metric} {value:.3g}" for metric, value, _ in row["scores"] if not isnan(value))
        asked = f"{row['instruction']}\n{row['input']}".strip()
        written = row["raw"] if row["reason"] else row["output"]
        texts = [text[:LONGEST] for text in (asked, written, scores)]
        made.append([row["evolver"], row["round"], row["operation"] or row["step"], row["reason"], *texts])
    return made, total


def count_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def lines_at(path: Path, wanted: set[int], study: Study) -> Iterator[dict[str, Any]]:
    """The rows on these lines, counted from 0. Those that are torn or of another version are left out, and the study
    is told how many."""
    if not wanted:
        return
    lost = 0
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines):
            if number not in wanted:
                continue
            if shown(row := parsed(line)):
                yield row
            else:
                lost += 1
    told = f"{path.parent.name}/{path.name}: {lost} of the {len(wanted)} lines drawn for the report cannot be read"
    if lost and told not in study.warnings:
        study.warnings.append(told)


def shown(row: Any) -> bool:
    """Whether it has what a report shows of a record."""
    return isinstance(row, dict) and row.keys() >= NEEDED and isinstance(row["round"], int)


def unparsed(study: Study, limit: int) -> tuple[list[dict[str, Any]], int]:
    """(sample of values that a metric could not give, with the raw reply; how many there are), over all jobs."""
    scores = study.scores
    missing = scores.loc[(scores["reason"] != "") & scores["value"].isna(), ["run", "evolver", "id", "metric"]]
    total = len(missing)
    drawn = missing.iloc[sorted(random.Random("unparsed").sample(range(total), min(limit, total)))]
    folders = {job.facts["run"]: job.folder for job in study.jobs}
    made = []
    for (run, evolver), group in drawn.groupby(["run", "evolver"], observed=True):
        wanted = set(zip(group["id"], group["metric"], strict=True))
        for path in sorted((folders[run] / "scores").glob("*.jsonl")):
            for row in lines_naming(path, {id for id, _ in wanted}):
                if shown(row | {"instruction": ""}) and numbers(row.get("values")):
                    metrics = [metric for metric in row["values"] if (row["id"], metric) in wanted]
                    made += [BLANK | row | {"evolver": evolver, "metric": metric} for metric in metrics]
    return made, total
