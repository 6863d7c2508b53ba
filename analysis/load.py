"""Everything a report needs, read once from a folder of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import axes, students
from analysis.collect import collect, scores
from analysis.compare import BENCHMARK, compare
from analysis.jobs import Job, read_jobs
from plots import style
from plots.benchmark_lines import OURS

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Study:
    """`levels`: of what is compared, in all jobs, failed ones included; evolvers small to large where names say so.

    `jobs`, `scores` and `measured` bear the names of `axes.seen`; `told` and `results` those that the jobs have
    themselves. `comparison` leaves out what models were asked that are the same on both sides."""

    folder: Path
    told: list[Job]
    jobs: list[Job]
    factor: str
    levels: list[str]
    results: DataFrame
    measured: DataFrame
    scores: DataFrame
    comparison: DataFrame
    warnings: list[str]

    @property
    def single(self) -> bool:
        """One level, so nothing to compare."""
        return len(self.levels) < 2

    @property
    def unfinished(self) -> list[Job]:
        return [job for job in self.jobs if not job.completed]

    @property
    def asked(self) -> list[str]:
        """The roles that the benchmarks asked, in that order."""
        return students.roles(self.jobs)

    @cached_property
    def models(self) -> DataFrame:
        """How the models of these roles compare, item by item: students.csv."""
        return students.students(self.scores, self.asked)

    @property
    def benchmarks(self) -> set[str]:
        """The values that come from asking a model the items of a test: these know no round. Some are of all items
        together and have no score of their own."""
        items = set(self.scores.loc[self.scores["operation"] == BENCHMARK, "metric"].unique())
        named = self.measured["metric"].dropna().unique()
        return items | {name for name in named if "/" in name or name in OURS}


def load(folder: Path) -> Study:
    folder = Path(folder)
    told = read_jobs(folder)
    factor = axes.factor(told)
    jobs, levels = axes.seen(told, factor), axes.levels(told, factor)
    if factor == "evolver":
        levels = style.order(levels)
    long = scores(folder, jobs)
    asked, _ = style.asked(long["metric"].cat.categories.to_series())
    same = asked.index[asked.isin(axes.untouched(told, factor))]  # their values are no outcome of what is compared
    comparison = compare(long[~long["metric"].isin(same)], order=levels)
    said = [
        f"job {job.facts['run']} names no {factor}: it is in no comparison"
        for job in told
        if levels and job.completed and not job.facts[factor]
    ]
    said += [*long.attrs["warnings"], *(comparison.attrs["warnings"] if len(levels) > 1 else [])]
    return Study(
        *(folder, told, jobs, factor, levels, collect(folder, told), collect(folder, jobs), long, comparison),
        list(dict.fromkeys(said)),
    )
