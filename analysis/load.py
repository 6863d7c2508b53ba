"""Everything a report needs, read once from a folder of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.collect import collect, scores
from analysis.compare import compare
from analysis.jobs import Job, read_jobs
from plots import style

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Study:
    """`levels`: the evolvers of all jobs, failed ones included, small to large where the names say so."""

    folder: Path
    jobs: list[Job]
    levels: list[str]
    results: DataFrame
    scores: DataFrame
    comparison: DataFrame
    warnings: list[str]

    @property
    def single(self) -> bool:
        """One evolver, so nothing to compare."""
        return len(self.levels) < 2

    @property
    def unfinished(self) -> list[Job]:
        return [job for job in self.jobs if not job.completed]


def load(folder: Path) -> Study:
    folder = Path(folder)
    jobs = read_jobs(folder)
    levels = style.order(str(job.facts["evolver"]) for job in jobs if job.facts["evolver"])
    results, long = collect(folder, jobs), scores(folder, jobs)
    comparison = compare(long, order=levels)
    said = [*long.attrs["warnings"], *(comparison.attrs["warnings"] if len(levels) > 1 else [])]
    return Study(folder, jobs, levels, results, long, comparison, list(dict.fromkeys(said)))
