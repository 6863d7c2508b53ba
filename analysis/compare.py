"""Which level of a factor scores higher on the same seeds, and how sure is that? → comparison.csv

A pair is one root seed. What is averaged before pairing: the records of one seed in a round, and the runs (random
seeds, teachers, judges, …) that both sides share; a run that only one side has is left out. Several random seeds are a
sample as well: interval, p and detectable difference are those of seeds × runs. Round 0 is not compared, since both
sides start from the same seeds, but the items of benchmarks are, which know no round. `diff` is a − b. Only completed
jobs count, and the p values are corrected (Holm) over the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.paired import (
    bca_interval,
    crossed_detectable,
    crossed_interval,
    crossed_p,
    detectable,
    effect_size,
    holm,
    mcnemar_p,
    sign_flip_p,
    wilcoxon_p,
)
from evodistill.record import digest

if TYPE_CHECKING:
    from pandas import DataFrame, Series

COLUMNS = (
    *("dataset", "evolution", "round", "metric", "a", "b", "n_pairs", "mean_a", "mean_b", "diff", "ci_low", "ci_high"),
    *("p", "p_holm", "wins", "ties", "losses", "winner"),
    *("p_wilcoxon", "p_mcnemar", "effect_size", "detectable", "n_runs"),
)

# What a higher value means, for the metrics where higher = more complex. IC-IFD is not here: it divides IFD by the
# loss of the instruction, so it falls when the instruction itself gets harder to predict. Losses are not here either:
# they are the parts of IFD.
DIRECTION = {
    "complexity_rate": "the judge puts the instructions into a harder class",
    "complexity_score": "the judge finds the instructions harder",
    "ifd": "the answers are harder to follow from the instructions",
}

# values of a record that depend on how many others it is measured among: no comparison but at equal n
AMONG = ("neighbour_distance", "neighbour_squared_l2", "neighbour_repeats")

MATCHED = ("seed", "evolver", "teacher", "student", "judge")  # what the runs of a pair must have in common
BENCHMARK = "benchmark"  # the operation in the score rows of one
CANNOT_TELL = "cannot tell"
FEW_PAIRS = 6  # 2 / 2^5 = 0.0625: where fewer pairs differ no two-sided sign-flip p can reach 0.05
FEW_RUNS = 6  # t of 5 degrees of freedom is 2.6, of 2 it is 4.3, of 1 it is 12.7


@dataclass
class Warnings:
    """Each said once, in the order met."""

    said: dict[str, None] = field(default_factory=dict)

    def add(self, text: str) -> None:
        self.said.setdefault(text)


def compare(scores: DataFrame, factor: str = "evolver", order: Sequence[str] = ()) -> DataFrame:
    """All pairs of levels of `factor`, in `order` (else sorted), as rows of COLUMNS.

    `winner` is a level or "cannot tell". `order` may name levels without a single score: they get rows with n_pairs
    0. `attrs["warnings"]` says what is missing or thin.
    """
    import pandas as pd

    warnings = Warnings()
    for run, status in (
        scores.loc[scores["status"] != "completed", ["run", "status"]].drop_duplicates().itertuples(index=False)
    ):
        warnings.add(f"job {run} is {status}: the scores it has written so far are not compared")
    scores = scores[scores["status"] == "completed"]
    scores = scores[(scores["round"] > 0) | (scores["operation"] == BENCHMARK)]
    # by name, not by first appearance: the draws must not depend on the order of the jobs
    scores = scores.assign(**{name: ordered(scores[name]) for name in ("seed_id", *MATCHED)})
    levels = list(order) or sorted(scores[factor].unique())
    if len(levels) < 2:
        warnings.add(f"only one {factor} ({', '.join(levels) or 'none'}): nothing to compare")
    groups = [name for name in ("dataset", "evolution") if name != factor] + ["round", "metric"]
    made = []
    for key, rows in scores.groupby(groups, observed=True, sort=True):
        cell = {"dataset": "", "evolution": ""} | dict(zip(groups, key, strict=True))
        sides = dict(list(rows.groupby(factor, observed=True)))
        for a, b in combinations(levels, 2):
            if a in sides or b in sides:
                named: dict[str, Any] = cell | {"a": a, "b": b}
                pairs = pair(sides.get(a, rows[:0]), sides.get(b, rows[:0]), factor, named, warnings)
                row = named | difference(pairs, named)
                if row["n_pairs"] and row["wins"] + row["losses"] < FEW_PAIRS:
                    warnings.add(
                        f"{where(cell)}: {too_few(row)} between {a} and {b}; "
                        f"with fewer than {FEW_PAIRS} no p below 0.05 is possible"
                    )
                if cell["metric"] in AMONG and not equally_many(sides, row, warnings):
                    row["winner"] = CANNOT_TELL
                made.append(row)
    table = pd.DataFrame(made, columns=list(COLUMNS))
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    table.attrs["warnings"] = list(warnings.said)
    return table


def pair(a: DataFrame, b: DataFrame, factor: str, cell: dict[str, Any], warnings: Warnings) -> DataFrame:
    """Columns a, b: one row per root seed and matched run that has a value on both sides."""
    import pandas as pd

    for level, side in ((cell["a"], a), (cell["b"], b)):
        if side["value"].notna().sum() == 0:
            warnings.add(
                f"{where(cell)}: {level} has no {'parsed score' if len(side) else 'completed job with this metric'}"
            )
    a, b = a[a["value"].notna()], b[b["value"].notna()]
    matched = []
    for name in MATCHED:
        if name == factor:
            continue
        of_a, of_b = set(a[name].unique()), set(b[name].unique())
        if of_a and of_b and not of_a & of_b:
            # no run to match on: pair anyway, but say that two things differ
            warnings.add(f"{cell['a']} and {cell['b']} also differ in {name} ({listed(of_a)} against {listed(of_b)})")
        elif of_a and of_b and (alone := of_a ^ of_b):
            warnings.add(
                f"{group(cell)}: {name} {listed(alone)} ran for only one of {cell['a']} and {cell['b']}: left out"
            )
            matched.append(name)
        else:
            matched.append(name)
    joined = pd.concat({"a": per_unit(a, matched), "b": per_unit(b, matched)}, axis=1, join="inner")
    if len(a) and len(b) and not len(joined):
        warnings.add(f"{where(cell)}: {cell['a']} and {cell['b']} share no seed")
    runs = joined.index.get_level_values("seed").nunique() if "seed" in matched else 1
    if 1 < runs < FEW_RUNS:
        warnings.add(
            f"{group(cell)}: {runs} random seeds; with fewer than {FEW_RUNS} little is known "
            "of how much they differ, so intervals are wide"
        )
    return joined


def group(cell: dict[str, Any]) -> str:
    return " · ".join(cell[name] for name in ("dataset", "evolution") if cell[name]) or "the study"


def where(cell: dict[str, Any]) -> str:
    return f"{group(cell)} · round {cell['round']} · {cell['metric']}"


def equally_many(sides: dict[Any, DataFrame], row: dict[str, Any], warnings: Warnings) -> bool:
    """Whether each run of both sides has measured as many records."""
    found = {
        level: sides[level].dropna(subset="value").groupby("run", observed=True).size()
        for level in (row["a"], row["b"])
        if level in sides
    }
    most, least = (pick(max(n, default=0) for n in found.values()) for pick in (max, min))
    if most == least or not least:  # a side without values is said elsewhere
        return True
    told = " and ".join(f"{max(n, default=0)} of {level}" for level, n in found.items())
    warnings.add(
        f"round {row['round']} · {row['metric']}: measured among {told}, and neighbours are the nearer the more there "
        f"are: nothing follows; metric.diversity.n={least} measures equally many"
    )
    return False


def per_unit(side: DataFrame, matched: list[str]) -> Series:
    return side.groupby(["seed_id", *matched], observed=True, sort=True)["value"].mean()


def ordered(names: Series) -> Series:
    """The names as categories in sorted order."""
    names = names.astype(str).astype("category") if names.dtype != "category" else names.cat.remove_unused_categories()
    return names.cat.reorder_categories(sorted(names.cat.categories, key=str))


def difference(pairs: DataFrame, cell: dict[str, Any]) -> dict[str, Any]:
    """The statistics of one row. Draws depend on the row's names and nothing else: not on the order or number of
    other rows. With several random seeds all of them take these for a sample too; signed ranks and McNemar cannot."""
    nan = float("nan")
    by_run: DataFrame = pairs.groupby(
        level=[name for name in ("seed_id", "seed") if name in pairs.index.names], observed=True
    ).mean()
    n_runs = by_run.index.get_level_values("seed").nunique() if "seed" in by_run.index.names else 1
    pairs = by_run.groupby(level="seed_id", observed=True).mean()
    a, b = pairs["a"].to_numpy(float), pairs["b"].to_numpy(float)
    d = a - b
    d[np.abs(d) <= 1e-12 * np.maximum(np.abs(a), np.abs(b))] = (
        0.0  # averages of equal numbers in another order are a tie
    )
    name = {key: str(value) for key, value in cell.items()}
    rng = np.random.default_rng(int(digest(name), 16))
    if n_runs > 1:
        table = (by_run["a"] - by_run["b"]).unstack("seed").to_numpy(float)
        low, high = crossed_interval(table)
        p, p_ranks, p_binary, seen = crossed_p(table), nan, nan, crossed_detectable(table)
        p = sign_flip_p(d, rng) if p != p and low == high else p  # the runs are equal
    else:
        low, high = bca_interval(d, rng)
        p, p_ranks, p_binary, seen = sign_flip_p(d, rng), wilcoxon_p(d), mcnemar_p(a, b), detectable(d)
    # of fewer the interval is little more than from the least to the largest, and ties narrow it
    enough = np.count_nonzero(d) >= FEW_PAIRS
    return {
        "n_pairs": len(d),
        "mean_a": a.mean() if len(d) else nan,
        "mean_b": b.mean() if len(d) else nan,
        "diff": d.mean() if len(d) else nan,
        "ci_low": low,
        "ci_high": high,
        "p": p,
        "wins": int(np.sum(d > 0)),
        "ties": int(np.sum(d == 0)),
        "losses": int(np.sum(d < 0)),
        "winner": cell["a"] if low > 0 and enough else cell["b"] if high < 0 and enough else CANNOT_TELL,
        "p_wilcoxon": p_ranks,
        "p_mcnemar": p_binary,
        "effect_size": effect_size(d),
        "detectable": seen,
        "n_runs": n_runs,
    }


def too_few(row: dict[str, Any]) -> str:
    n, differ = row["n_pairs"], row["wins"] + row["losses"]
    if n < FEW_PAIRS:
        return f"{n} pair{'s' * (n > 1)}"
    return f"{differ or 'none'} of {n} seeds differ{'s' * (differ == 1)}"


def listed(names: set) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def number(value: float | None, sign: bool = False) -> str:
    """Three significant digits for people; the csv keeps all of them."""
    if value is None or value != value:
        return "–"
    size = abs(value)
    text = f"{value:.0f}" if size >= 1000 else f"{value:.3g}" if size == 0 or size >= 1e-4 else f"{value:.1e}"
    return ("+" if sign and value > 0 else "") + text.replace("-", "−")


def gap(row: Any) -> str:
    """One row's a − b with its interval."""
    if not row.n_pairs:
        return "no seed scored under both"
    return f"{number(row.diff, True)} [{number(row.ci_low, True)}, {number(row.ci_high, True)}]"


def certainty(row: Any) -> str:
    """One row's verdict in words; the same words in the terminal and in the report."""
    if not row.n_pairs:
        return "nothing to compare"
    if row.winner == CANNOT_TELL:
        if row.wins + row.losses < FEW_PAIRS:
            return f"too few: {too_few(row._asdict())}"
        if row.ci_low > 0 or row.ci_high < 0:
            return "measured among unequal numbers of records"
        seen = f"; {number(row.detectable)} would have been seen" if row.detectable > 0 else ""
        return f"the interval holds 0{seen}"
    if row.p_holm <= 0.05:
        return f"holds after correction, p_holm {number(row.p_holm)}"
    return f"does not hold among this many comparisons, p_holm {number(row.p_holm)}"
