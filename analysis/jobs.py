"""The job folders that a run or a sweep leaves behind: where they are and what they say. Reads only.

A job folder holds `status.json` or, when a job died before it could write one, Hydra's `.hydra/`. A single run *is*
its job folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.axes import settings
from evodistill import RunError
from evodistill.credentials import redacted

FACTS = ("study", "run", "status", "seed", "dataset", "evolution", "evolver", "teacher", "student", "judge", "setting")


@dataclass(frozen=True)
class Job:
    """One job. `status` is running, completed, failed, or unreadable (no or a broken status.json); `named` are the
    metrics that metrics.json names, None where it cannot be read; `problems` say what was not read; `versions` are of
    code and libraries, none in folders of older versions."""

    folder: Path
    facts: dict[str, Any]
    error: str
    started: str
    seconds: float | None
    metrics: dict[str, dict[str, dict[str, Any]]]
    rounds: dict[str, dict[str, Any]]
    named: frozenset[str] | None
    problems: tuple[str, ...]
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        return self.facts["status"]

    @property
    def completed(self) -> bool:
        return self.status == "completed"

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The rows of steps.jsonl, each `path` made absolute where the artifact can be found."""
        rows, _ = read_lines(self.folder / "steps.jsonl", ("step", "path"))
        return [row | {"path": self.locate(str(row["path"]))} for row in rows]

    def locate(self, path: str) -> Path:
        """Artifact paths may be relative to the directory the run was started in, which Hydra wrote down."""
        runtime = plain(plain(plain(self.hydra("hydra")).get("hydra")).get("runtime"))
        started_in = str(runtime.get("cwd", ""))
        here, there = Path(path), Path(started_in) / path
        return there if there.exists() and not here.exists() else here

    def hydra(self, name: str) -> Any:
        """`.hydra/<name>.yaml` as plain containers; empty where there is none."""
        return read_yaml(self.folder / ".hydra" / f"{name}.yaml")


def read_jobs(folder: Path) -> list[Job]:
    """Every job under `folder`, in natural order (job 10 after job 9)."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; name the folder of a run or of a sweep, such as runs/<study>/<time>")
    jobs = [read_job(path) for path in find(folder)]
    if not jobs:
        raise RunError(f"{folder}: holds no job (a job folder has a status.json); name a folder under runs/")
    if len({job.facts["run"] for job in jobs}) < len(jobs):
        # several sweeps below one folder, each with a job 0: the path tells them apart
        jobs = [replace(job, facts=job.facts | {"run": str(job.folder.relative_to(folder))}) for job in jobs]
    told = zip(jobs, settings(jobs), strict=True)
    return [replace(job, facts=job.facts | {"setting": setting}) for job, setting in told]


def find(folder: Path) -> list[Path]:
    """Folders of jobs; what lies inside a job is not searched."""
    found = []
    for path, subfolders, files in os.walk(folder):
        if "status.json" in files or ".hydra" in subfolders:
            found.append(Path(path))
            subfolders.clear()
    return sorted(
        found, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))]
    )


def read_job(folder: Path) -> Job:
    status, problems = read_json(folder / "status.json")
    facts = {name: "" if status.get(name) is None else status[name] for name in FACTS}
    facts["run"] = facts["run"] or folder.name
    facts["status"] = facts["status"] or "unreadable"
    metrics: dict[str, Any] = {}
    rounds: dict[str, Any] = {}
    named = None
    if facts["status"] == "completed":
        told, more = read_json(folder / "metrics.json")
        if not more:
            named = frozenset(plain(told.get("metrics")))
            metrics, more = summaries(plain(told.get("metrics")))
            rounds, lost = counted(plain(told.get("rounds")))
            more += lost
        problems += more
    _, more = read_lines(folder / "steps.jsonl", ("step", "path"))
    problems += more
    return Job(
        folder=folder,
        facts=facts,
        error=redacted(str(status.get("error") or "")),  # tables and reports are sent on
        started=str(status.get("started") or ""),
        seconds=seconds if isinstance(seconds := status.get("seconds"), int | float) else None,
        metrics=metrics,
        rounds=rounds,
        named=named,
        problems=tuple(f"job {facts['run']}: {problem}" for problem in problems),
        versions=versions(status),
    )


def versions(status: dict[str, Any]) -> dict[str, str]:
    """Name → version, of evodistill with its commit, as the job wrote it."""
    if not (packages := plain(status.get("packages"))):
        return {}
    commit = f" ({str(status['commit'])[:12]}{', changed' * bool(status.get('dirty'))})" if status.get("commit") else ""
    own = {"evodistill": f"{status.get('version')}{commit}", "Python": str(status.get("python"))}
    return own | {name: str(told) for name, told in packages.items()}


def plain(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def summaries(found: dict[str, Any]) -> tuple[dict[str, dict[str, dict[str, Any]]], list[str]]:
    """(metric → round → its summary, problems); one that an older version wrote in another shape is left out."""

    def sound(number: str, summary: Any) -> bool:
        if not (number.isdigit() and isinstance(summary, dict)):
            return False
        interval = summary.get("ci95")
        numbers = [summary.get(key) for key in ("mean", "n", "unparsed")] + (
            interval if isinstance(interval, list) else []
        )
        of_numbers = all(value is None or isinstance(value, int | float) for value in numbers)
        return of_numbers and (interval is None or (isinstance(interval, list) and len(interval) == 2))

    kept = {
        metric: by_round
        for metric, by_round in found.items()
        if isinstance(by_round, dict) and all(sound(number, summary) for number, summary in by_round.items())
    }
    lost = [metric for metric in found if metric not in kept]
    return kept, [f"metrics.json: {', '.join(lost)} is of another shape and was left out"] if lost else []


def counted(found: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """(round → its counts, problems); what is of another shape is left out."""
    kept = {
        number: counts
        for number, counts in found.items()
        if number.isdigit()
        and isinstance(counts, dict)
        and all(isinstance(counts.get(key, 0), int) for key in ("made", "rejected"))
        and isinstance(counts.get("reasons", {}), dict)
    }
    lost = [number for number in found if number not in kept]
    return kept, [f"metrics.json: counts of round {number} are of another shape and were left out" for number in lost]


def read_json(path: Path) -> tuple[dict[str, Any], list[str]]:
    """(object, problems): a job may still be writing, so a missing or torn file is said, not raised."""
    if not path.is_file():
        return {}, [f"{path.name} is missing"]
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return {}, [f"{path.name} is not JSON ({error})"]
    return (value, []) if isinstance(value, dict) else ({}, [f"{path.name} is not a JSON object"])


def read_lines(path: Path, keys: Collection[str] = ()) -> tuple[list[dict[str, Any]], list[str]]:
    """(rows, problems) of a JSON-lines file; lines that do not parse, such as a torn last one, and rows without one of
    `keys`, such as those of another version, are counted and left out."""
    if not path.is_file():
        return [], []
    *lines, last = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    lines += [last] if last else []
    try:  # all of them at once takes half the time
        found = json.loads(f"[{','.join(lines)}]")
    except json.JSONDecodeError:
        found = []
    if len(found) != len(lines):  # one by one, to know which
        found = [parsed(line) for line in lines]
    rows, broken, partial = [], [], []
    needed = set(keys)
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            broken.append(number)
        elif not needed <= row.keys():
            partial.append(number)
        else:
            rows.append(row)
    said = {"are no JSON objects": broken, f"lack one of {', '.join(keys)}": partial}
    return rows, [
        f"{path.name}: {len(numbers)} lines {what} and were left out, the first is line {numbers[0]}"
        for what, numbers in said.items()
        if numbers
    ]


def read_scores(path: Path, named: Collection[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
    """(rows, problems) of a file of scores. Rows without a round or with a value that is no number are left out too,
    and metrics that are not `named`: an earlier command has left them in the same folder."""
    rows, problems = read_lines(path, ("id", "seed", "round", "values"))
    sound = [row for row in rows if isinstance(row["round"], int) and numbers(row["values"])]
    if lost := len(rows) - len(sound):
        problems.append(f"{path.name}: {lost} lines have no round, or a value that is no number, and were left out")
    stale = set() if named is None else {metric for row in sound for metric in row["values"]}.difference(named)
    if stale:
        problems.append(f"{path.name}: {', '.join(sorted(stale))}: not in metrics.json, so of an earlier run; left out")
        for row in sound:
            row["values"] = {metric: value for metric, value in row["values"].items() if metric not in stale}
    return [row for row in sound if row["values"] or not stale], problems


def numbers(values: Any) -> bool:
    return isinstance(values, dict) and all(
        value is None or isinstance(value, int | float) for value in values.values()
    )


def parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def lines_naming(path: Path, ids: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows that hold one of `ids` anywhere. Lines are searched before they are parsed: a sample of 50,000 records
    is cheap."""
    if not path.is_file() or not ids:
        return
    wanted = re.compile("|".join(map(re.escape, sorted(ids))))
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            # a torn line of a job that is still writing is no row
            if wanted.search(line) and isinstance(row := parsed(line), dict):
                yield row


def read_yaml(path: Path) -> Any:
    """Empty where there is none, and where it is torn: Hydra may still be writing it."""
    import yaml

    if not path.is_file():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
