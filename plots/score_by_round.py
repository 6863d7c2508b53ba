"""Mean score with its 95 % interval by round, a line per evolver, a panel per metric.

    python -m plots.score_by_round runs/<study>/<time>      or a csv with COLUMNS, and a folder to write to

Several runs of one evolver (random seeds, judges, …) are a point each, with its own interval; the line joins their
mean. Scales with two ends are drawn whole, others from zero (PL9). Intervals are the ones in results.csv: bootstrap
over records, not over runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plots import style, win_rate
from plots.benchmark_lines import OURS
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

COLUMNS = ("dataset", "evolution", "evolver", "run", "round", "metric", "value", "ci_low", "ci_high")
CAPTION = (
    "Mean score by round with its 95 % interval (bootstrap over records). "
    "Scales with two ends are drawn whole, others from zero."
)
WRAP = 3
# On an axis where rounds are 1 apart: evolvers stand side by side, and the runs of one evolver fan out.
ALONE_APART, RUNS_APART, FAN = 0.06, 0.2, 0.14


def of(study: Study) -> DataFrame:
    """The rows of results.csv that hold a value; points of a curve (`name@place`) and the benchmarks of `scaling` and
    `win_rate` have figures of their own."""
    table = study.measured
    names = table["metric"].astype(str)
    there = (table["status"] == "completed") & table["value"].notna()
    elsewhere = names.str.contains("@") | style.asked(names)[1].isin((*OURS, win_rate.METRIC))
    return table.loc[there & ~elsewhere, list(COLUMNS)]


def draw(table: DataFrame) -> Figure:
    if table.empty:
        return style.empty("no scores: no completed job has measured anything")
    levels = style.order(table["evolver"].astype(str))
    metrics = style.metrics(table["metric"])
    groups = list(table[["dataset", "evolution"]].drop_duplicates().itertuples(index=False, name=None))
    there = set(table[["metric", "dataset", "evolution"]].itertuples(index=False, name=None))
    cells = [(metric, group) for metric in metrics for group in groups if (metric, *group) in there]
    # a row per metric where all have all of them
    columns = len(groups) if 1 < len(groups) == len(cells) / len(metrics) else min(WRAP, len(cells))
    several = table.groupby(["dataset", "evolution", "evolver"])["run"].nunique().max() > 1
    apart = RUNS_APART if several else ALONE_APART
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(-(-len(cells) // columns), columns)
        spots = [panel for row in axes for panel in row]
        for panel in spots[len(cells) :]:
            panel.axis("off")
        for panel, (metric, (dataset, evolution)) in zip(spots, cells, strict=False):
            here = table[
                (table["metric"] == metric) & (table["dataset"] == dataset) & (table["evolution"] == evolution)
            ]
            for i, (level, look) in enumerate(style.looks(levels).items()):
                if len(side := here[here["evolver"] == level]):
                    line = lines(panel, side, look, shift=apart * (i - (len(levels) - 1) / 2))
                    handles.setdefault(look.label, line)
            rounds = sorted(int(number) for number in here["round"].unique())
            alone = rounds == [0]  # the seeds, or a benchmark, which knows no round
            panel.set_xticks(rounds, [f"{number}" if number else "" if alone else "seeds" for number in rounds])
            panel.set_xlim(min(rounds) - 0.3, max(rounds) + 0.3)
            limits(panel, metric, here)
            panel.set_title(
                style.name(metric) + (f"\n{style.group_name(dataset, evolution, groups)}" if len(groups) > 1 else "")
            )
            panel.set_xlabel("" if alone else "round")
        style.legend(figure, handles)
    return figure


def lines(panel: Axes, side: DataFrame, look: style.Look, shift: float) -> Artist:
    """The points of each run with their intervals, slightly apart from the other evolvers', and one line through
    their means."""
    runs = sorted(side["run"].unique())
    step = FAN / (len(runs) - 1) if len(runs) > 1 else 0.0
    fan = side["run"].map({run: step * (k - (len(runs) - 1) / 2) for k, run in enumerate(runs)})
    x = (side["round"] + shift + fan).to_numpy(float)
    y, low, high = (side[name].to_numpy(float) for name in ("value", "ci_low", "ci_high"))
    # many runs: thin and without caps, so that the line through their means stays on top
    stroke = (
        {"capsize": 2.5, "linewidth": 1.2} if len(runs) == 1 else {"linewidth": max(0.4, 1.2 / len(runs)), "alpha": 0.6}
    )
    # around its own middle: a BCa interval need not hold the mean
    panel.errorbar(x, (low + high) / 2, yerr=(high - low) / 2, fmt="none", ecolor=look.color, **stroke)
    panel.scatter(x, y, s=16 / len(runs), color=look.color, marker=look.marker)
    means = side.groupby("round")["value"].mean()
    at = means.index.to_numpy(float) + shift
    shape = {"color": look.color, "marker": look.marker, "markersize": 5, "markeredgecolor": "white", "zorder": 4}
    [line] = panel.plot(at, means.to_numpy(float), look.line, **shape)
    return line


def limits(panel: Axes, metric: str, here: DataFrame) -> None:
    plain = metric.rpartition("/")[2]  # without the model that was asked
    if plain in style.RANGES:
        low, high = style.RANGES[plain]
    else:
        low = min(0.0, float(here[["value", "ci_low"]].min().min()))
        high = max(0.0, float(here[["value", "ci_high"]].max().max()))
    room = 0.03 * ((high - low) or 1.0)  # the caps of an interval at the end of a scale stay whole
    panel.set_ylim(low - room, high + room)


def main() -> None:
    run("score_by_round", COLUMNS, of, draw)


if __name__ == "__main__":
    main()
