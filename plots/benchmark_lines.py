"""Benchmarks of students, a panel each, a line per evolver: what figures 1 and 3 of the paper share.

A point's bar is the interval of its source where there is one; for published percentages it is the 95 % Wilson interval
of k of n items (Wilson 1927), derived here: the paper gives none, and differences smaller than it are no finding.
Several random seeds of ours are one point: their mean, with an interval over the runs and the items. Nothing else is
averaged: whatever fact differs beside stands in the name of a panel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plots import style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

PAPER = Path(__file__).parent / "paper"
COLUMNS = ("x", "evolver", "metric", "value", "ci_low", "ci_high")
PANELS = ("Pr.(S)", "In.(S)", "Pr.(L)", "In.(L)", "GSM8K", "MATH", "HumanEval", "MBPP")  # the paper's order
OURS = {  # names of our benchmarks' values; ours are shares, the paper's percent
    "ifeval_prompt_strict": "Pr.(S)",
    "ifeval_instruction_strict": "In.(S)",
    "ifeval_prompt_loose": "Pr.(L)",
    "ifeval_instruction_loose": "In.(L)",
    "gsm8k": "GSM8K",
    "humaneval": "HumanEval",
    "minerva_math_exact_match": "MATH",
    "mbpp": "MBPP",
}
FACTS = ("dataset", "evolution", "evolver", "teacher", "student", "judge", "setting")  # all of a run's but its seed
WIDE = 4  # panels in a row


def draw(table: DataFrame, label: str, missing: str, joined: bool = True) -> Figure:
    """`table` has COLUMNS, `x` in the order of drawing; `label` names x, `missing` says why there is nothing; points
    are `joined` where x has an order."""
    table = table[table["value"].notna()]
    if table.empty:
        return style.empty(missing)
    metrics = sorted(set(table["metric"]), key=place)
    ticks = list(dict.fromkeys(table["x"]))
    levels = style.order(table["evolver"].astype(str))
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(-(-len(metrics) // WIDE), min(WIDE, len(metrics)), width=3.6, height=2.6)
        spots = [panel for row in axes for panel in row]
        for panel in spots[len(metrics) :]:
            panel.axis("off")
        for panel, metric in zip(spots, metrics, strict=False):
            here = table[table["metric"] == metric]
            for i, (level, look) in enumerate(style.looks(levels).items()):
                side = here[here["evolver"] == level]
                x = side["x"].map(ticks.index).to_numpy(float) + 0.06 * (i - (len(levels) - 1) / 2)
                y, low, high = (side[name].to_numpy(float) for name in ("value", "ci_low", "ci_high"))
                panel.errorbar(x, (low + high) / 2, yerr=(high - low) / 2, fmt="none", ecolor=look.color, capsize=2)
                shape: dict[str, Any] = {"color": look.color, "marker": look.marker, "markeredgecolor": "white"}
                [line] = panel.plot(x, y, linestyle=look.line if joined else "none", **shape)
                handles.setdefault(look.label, line)
            panel.set_title(metric)
            names = [str(tick) for tick in ticks]  # whole labels (PL2)
            turned = {"rotation": 30, "ha": "right"} if max(map(len, names)) * len(names) > 32 else {}
            panel.set_xticks(range(len(ticks)), names, **turned)
            panel.set_xlim(-0.4, len(ticks) - 0.6)
            panel.set_xlabel(label)
            panel.set_ylim(0, 1.05 * float(here[["value", "ci_high"]].max().max()) or 1.0)  # from zero (PL9)
        for row in axes:
            row[0].set_ylabel("%")
        style.legend(figure, handles)
    return figure


def place(panel: str) -> tuple[int, str]:
    """By benchmark in the paper's order, then by what else its name says."""
    plain = panel.split(" (")[0].split(" · ")[0]
    return PANELS.index(plain) if plain in PANELS else len(PANELS), panel


def own(results: DataFrame, line: str = "evolver") -> DataFrame:
    """COLUMNS from our results with a column x, in its order: the benchmarks of completed jobs, in percent, a line for
    each level of the fact `line`. Where several models were asked, a panel names the one that it shows; so with any
    other fact that differs at the same x."""
    import pandas as pd

    asked, plain = style.asked(results["metric"])
    there = (results["status"] == "completed") & results["value"].notna() & plain.isin(OURS)
    done, asked = results[there].copy(), asked[there]
    done["metric"] = plain[there].map(OURS) + (" (" + asked + ")" if asked.nunique() > 1 else "")
    done[["value", "ci_low", "ci_high"]] *= 100
    for metric, side in done.groupby("metric", sort=False):
        told = [name for name in FACTS if name != line and side.groupby("x")[name].nunique().max() > 1]
        if told:
            labels = side[told].astype(str).map(style.name).agg(lambda row: ", ".join(filter(None, row)), axis=1)
            done.loc[side.index, "metric"] = f"{metric} · " + labels
    done["evolver"] = done[line].astype(str)
    points = done.groupby(["x", "evolver", "metric"], sort=False, observed=True)
    rows = [dict(zip(COLUMNS[:3], key, strict=True)) | point(runs) for key, runs in points]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def drawn_by(study: Study) -> str:
    """The fact whose levels are lines: what is compared, where that is not what x names."""
    return study.factor if study.factor in ("evolution", "teacher", "judge") else "evolver"


def point(runs: DataFrame) -> dict[str, float]:
    if len(runs) == 1:
        return runs.iloc[0][["value", "ci_low", "ci_high"]].to_dict()
    mean, half = float(runs["value"].mean()), style.half_interval(runs)
    return {"value": mean, "ci_low": max(0.0, mean - half), "ci_high": min(100.0, mean + half)}


def with_intervals(published: DataFrame) -> DataFrame:
    """The published percentages with derived intervals; n from benchmark_sizes.csv."""
    import pandas as pd
    from scipy.stats import binomtest

    sizes = pd.read_csv(PAPER / "benchmark_sizes.csv").set_index("metric")["n_items"]

    def ends(row: Any) -> tuple[float, float]:
        n = int(sizes[row["metric"]])
        found = binomtest(round(row["value"] * n / 100), n).proportion_ci(method="wilson")
        return 100 * found.low, 100 * found.high

    return published.join(published.apply(ends, axis=1, result_type="expand").set_axis(["ci_low", "ci_high"], axis=1))
