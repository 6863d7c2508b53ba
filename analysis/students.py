"""The models that a run's benchmarks asked, against one another, item by item → students.csv

A benchmark that is asked of several roles (`benchmarked: [student, tuned]`) writes each role's name before its values:
`tuned/ifeval_prompt_strict`. Here the roles are levels of a factor, compared as evolvers are, evolver by evolver; the
p values are corrected (Holm) over the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from analysis.compare import compare
from analysis.jobs import Job
from analysis.paired import holm

if TYPE_CHECKING:
    from pandas import DataFrame


def roles(jobs: Iterable[Job]) -> list[str]:
    """The roles that were asked, in the order in which they were."""
    return list(dict.fromkeys(value.partition("/")[0] for job in jobs for value in job.metrics if "/" in value))


def students(scores: DataFrame, asked: list[str]) -> DataFrame:
    """Rows of comparison.csv, with the evolver in front; empty where fewer than two roles were asked, or only
    values of whole sets are known."""
    import pandas as pd

    if len(asked) < 2:
        return pd.DataFrame()
    parts = scores["metric"].astype(str).str.partition("/")
    told = scores.assign(role=parts[0], metric=parts[2])[parts[1] == "/"]
    tables = []
    for evolver, part in told.groupby("evolver", observed=True, sort=True):
        table = compare(part, factor="role", order=asked)
        table.insert(0, "evolver", evolver)
        tables.append(table)
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))
