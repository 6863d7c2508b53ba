"""Difficulty classes per round, evolvers side by side: the layout of the paper's figure 2.

    python -m plots.difficulty runs/<study>/<time>                    writes figures/difficulty.pdf and .png there
    python -m plots.difficulty plots/paper/fig2_difficulty.csv OUT    the published numbers, in the folder OUT

Rows are rounds, columns are datasets (and evolutions where there are several). What the judge's reply could not be
read as is a bar of its own (CR5), so the bars of an evolver always add up to 100 %.
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

METRIC = "complexity_rate"
COLUMNS = ("dataset", "evolution", "round", "evolver", "label", "count")


CAPTION = (
    "Difficulty classes by round, in percent of an evolver's records. "
    "Replies of the judge that could not be read are a bar of their own. Intervals: 95 % Wilson of k of n records, "
    "where an evolver has one run; of several pooled runs they would be too narrow."
)


def of(study: Study) -> DataFrame:
    return counts(study.scores)


def counts(scores: DataFrame) -> DataFrame:
    """COLUMNS and how many `runs` of the same evolver are pooled, from the long scores of completed jobs; `label` is
    "unparsed" where none was read."""
    rated = scores[(scores["metric"] == METRIC) & (scores["status"] == "completed")].copy()
    rated["label"] = rated["label"].astype(str).where(rated["label"].isin(style.LABELS), style.UNPARSED)
    table = rated.groupby(list(COLUMNS[:-1]), observed=True).size().rename("count").reset_index()
    runs = rated.groupby(list(COLUMNS[:4]), observed=True)["run"].nunique().rename("runs")
    return table.join(runs, on=list(COLUMNS[:4]))


def published(paper: DataFrame) -> DataFrame:
    """COLUMNS from plots/paper/fig2_difficulty.csv; ratings its total counts but its classes do not are "unparsed"."""
    import pandas as pd

    named = paper.rename(columns={"iteration": "round", "category": "label"}).assign(evolution="evol_instruct")
    named["label"] = named["label"].str.replace("_", " ")
    sides = named.groupby(list(COLUMNS[:4]), as_index=False).agg(
        count=("count", "sum"), total=("total_in_script", "first")
    )
    sides["count"] = sides["total"] - sides["count"]
    return pd.concat([named, sides[sides["count"] > 0].assign(label=style.UNPARSED)])[list(COLUMNS)]


def draw(table: DataFrame) -> Figure:
    """`table` has COLUMNS; percent of the records of that evolver in that round."""
    if table.empty:
        return style.empty("no difficulty classes: the run measured no complexity_rate")
    levels = style.order(table["evolver"].astype(str))
    rounds = sorted(table["round"].unique())
    groups = list(table[["dataset", "evolution"]].drop_duplicates().itertuples(index=False, name=None))
    labels = [*style.LABELS, style.UNPARSED]
    width = 0.7 / len(levels)  # two evolvers: 0.35 each, as published
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(len(rounds), len(groups), width=5.0, height=2.1)
        for row, number in zip(axes, rounds, strict=True):
            for panel, (dataset, evolution) in zip(row, groups, strict=True):
                here = table[
                    (table["dataset"] == dataset) & (table["evolution"] == evolution) & (table["round"] == number)
                ]
                for i, (level, look) in enumerate(style.looks(levels).items()):
                    mine = here[here["evolver"] == level]
                    side = mine.groupby("label", observed=True)["count"].sum()
                    if not (n := side.sum()):
                        continue
                    x = [k + (i - (len(levels) - 1) / 2) * width for k in range(len(labels))]
                    percent = [100 * side.get(label, 0) / n for label in labels]
                    bars = panel.bar(
                        x, percent, width, color=look.color, hatch=look.hatch, edgecolor="white", linewidth=0.5
                    )
                    handles.setdefault(look.label, bars)
                    if "runs" not in mine or mine["runs"].max() == 1:
                        ends = [[100 * end for end in style.wilson(side.get(label, 0), n)] for label in labels]
                        panel.vlines(x, *zip(*ends, strict=True), color="#333333", linewidth=0.9)
                panel.set_xticks(range(len(labels)), labels, fontsize=9)
                panel.set_ylim(0, 100)
                panel.set_yticks(range(0, 101, 20))
                panel.axvline(len(style.LABELS) - 0.5, color="#999999", linewidth=0.8, linestyle=":")
                title = style.group_name(dataset, evolution, groups)
                n_of = {level: int(here.loc[here["evolver"] == level, "count"].sum()) for level in levels}
                panel.set_title(
                    f"{title} · {style.round_name(number)} · n = {' / '.join(f'{n:,}' for n in n_of.values())}"
                )
            row[0].set_ylabel("% of records")
        style.legend(figure, handles)
    return figure


def main() -> None:
    run("difficulty", COLUMNS, of, draw, published)


if __name__ == "__main__":
    main()
