"""Wins, ties and losses of one data set's student against another's: figures 6 and 7 of the paper.

    python -m plots.win_rate plots/paper/fig6_win_ic_ifd_vs_ifd.csv
    python -m plots.win_rate runs/<study>/<time>

A bar holds every prompt: what the judge's replies could not be read as is a segment of its own (JD3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plots import style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

METRIC = "win_rate"
COLUMNS = ("panel", "bar", "outcome", "count")
OUTCOMES = ("win", "tie", "lose", style.UNPARSED)
CAPTION = (
    "Prompts that a student won, tied and lost against its rival, as the judge sees them in both orders. 95 % Wilson "
    "intervals, where a bar is of one run: above it of what was won, below it of what was won or tied."
)
MISSING = "no wins: no completed job has measured win_rate"


def published(table: DataFrame) -> DataFrame:
    against = table["method_a"].map(style.name) + " against " + table["method_b"].map(style.name)
    named = table.assign(panel=table["base_model"] + ": " + against, bar=table["kept_fraction"] + " kept")
    return named.rename(columns={"outcome_for_a": "outcome"})[list(COLUMNS)]


def of(study: Study) -> DataFrame:
    """A panel per student, a bar per evolver, or per setting where there is one evolver; the labels of the benchmark's
    scores are the outcomes, and `runs` says how many are pooled. Where several models were asked, a panel names the one
    that it shows."""
    scores = study.scores
    asked, plain = style.asked(scores["metric"])
    there = (plain == METRIC) & (scores["status"] == "completed")
    judged, asked = scores[there], asked[there]
    outcome = judged["label"].astype(str).where(judged["label"].isin(OUTCOMES), style.UNPARSED)
    panel = judged["student"].astype(str) + (": " + asked if asked.nunique() > 1 else "")
    within = judged["evolution"].astype(str)
    bar = judged["evolver"].astype(str) + (", " + within if study.factor == "evolver" and within.nunique() > 1 else "")
    keys = {"panel": panel, "bar": bar, "outcome": outcome}
    told = judged[["run"]].assign(**keys)
    table = told.groupby(list(keys)).size().rename("count").reset_index()
    runs = told.groupby(["panel", "bar"])["run"].nunique().rename("runs")
    return table.join(runs, on=["panel", "bar"])


def draw(table: DataFrame) -> Figure:
    """`table` has COLUMNS."""
    if table.empty:
        return style.empty(MISSING)
    panels = list(dict.fromkeys(table["panel"]))
    handles: dict[str, Artist] = {}
    with style.styled():
        most = table.groupby("panel")["bar"].nunique().max()
        figure, axes = style.panels(len(panels), 1, width=7.0, height=0.9 + 0.4 * most)
        for [axis], panel in zip(axes, panels, strict=True):
            here = table[table["panel"] == panel]
            bars = list(dict.fromkeys(here["bar"]))[::-1]  # the first on top
            left = dict.fromkeys(bars, 0)
            for outcome, (color, hatch, *_) in zip(OUTCOMES, (*style.LOOKS[:3], style.LOOKS[6]), strict=True):
                counts = here[here["outcome"] == outcome].groupby("bar")["count"].sum()
                if not len(counts):
                    continue
                widths = [int(counts.get(bar, 0)) for bar in bars]
                drawn = axis.barh(
                    range(len(bars)), widths, 0.6, left=[left[bar] for bar in bars], color=color, hatch=hatch
                )
                for place, bar, width in zip(range(len(bars)), bars, widths, strict=True):
                    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
                    if width:
                        axis.text(left[bar] + width / 2, place, f"{width:,}", ha="center", va="center", bbox=box)
                    left[bar] += width
                handles.setdefault(outcome, drawn)
            for place, bar in enumerate(bars):
                mine = here[here["bar"] == bar]
                if "runs" not in mine or mine["runs"].max() == 1:
                    won, tied = (int(mine.loc[mine["outcome"] == name, "count"].sum()) for name in OUTCOMES[:2])
                    for k, at in ((won, place + 0.36), (won + tied, place - 0.36)):
                        low, high = (left[bar] * end for end in style.wilson(k, left[bar]))
                        axis.hlines(at, low, high, color="#333333", linewidth=1.4)
                        axis.vlines(k, at - 0.06, at + 0.06, color="#333333", linewidth=1.4)
            axis.set_yticks(range(len(bars)), bars)
            axis.grid(axis="y", visible=False)
            axis.set_title(panel)
            axis.set_xlim(0, max(left.values()))
        axes[-1][0].set_xlabel("prompts")
        style.legend(figure, handles)
    return figure


def main() -> None:
    run("win_rate", COLUMNS, of, draw, published)


if __name__ == "__main__":
    main()
