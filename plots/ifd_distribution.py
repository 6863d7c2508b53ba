"""How IFD and IC-IFD spread over the records, by round and evolver.

    python -m plots.ifd_distribution runs/<study>/<time>

Shares of *all* records of an evolver: values beyond the central 99 % are counted in the bins at the ends and the axis
says so, so that a histogram and its total always agree (PL5, PL6). Triangles mark means, which do not feel the
binning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from plots import style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

    from analysis.load import Study

METRICS = ("ifd", "ic_ifd")
COLUMNS = ("metric", "dataset", "evolution", "evolver", "round", "value")
CAPTION = "IFD and IC-IFD over the records. Triangles mark means; the bins at the ends hold what lies beyond the axis."


def of(study: Study) -> DataFrame:
    """One row per record and metric that has a value, of completed jobs."""
    table = study.scores
    there = table["metric"].isin(METRICS) & table["value"].notna() & (table["status"] == "completed")
    return table.loc[there, list(COLUMNS)]


def draw(table: DataFrame) -> Figure:
    """`table` has COLUMNS; rows of panels are metrics (and datasets, evolutions), columns are rounds."""
    if table.empty:
        return style.empty("no IFD: no completed job has measured it")
    levels = style.order(table["evolver"].astype(str))
    rounds = sorted(table["round"].unique())
    keys = ["metric", "dataset", "evolution"]
    groups: dict[Any, DataFrame] = dict(iter(table.groupby(keys, observed=True)))
    data = list(dict.fromkeys(table[keys[1:]].drop_duplicates().itertuples(index=False, name=None)))
    order = sorted(groups, key=lambda key: (METRICS.index(key[0]), data.index(key[1:])))
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(len(groups), len(rounds), width=4.0, height=2.3)
        for row, key in zip(axes, order, strict=True):
            group = groups[key]
            edges = bins(group["value"].to_numpy())
            sides: dict[Any, Series] = dict(iter(group.groupby(["round", "evolver"], observed=True)["value"]))
            for panel, number in zip(row, rounds, strict=True):
                here = group.loc[group["round"] == number, "value"]
                for level, look in style.looks(levels).items():
                    if (number, level) in sides:
                        values = sides[number, level].to_numpy()
                        handles.setdefault(look.label, outline(panel, values, edges, look))
                panel.set_title(style.round_name(number))
                panel.set_xlabel(
                    style.name(key[0]) + (f" · {style.group_name(*key[1:], data)}" if len(data) > 1 else "")
                )
                panel.set_ylim(bottom=0)
                beyond = int(np.sum((here < edges[0]) | (here > edges[-1])))
                if beyond:
                    panel.set_ylim(top=1.25 * panel.get_ylim()[1])  # room for the note
                    note = f"{beyond} of {len(here)} beyond the axis,\nin the bins at its ends"
                    panel.text(0.99, 0.97, note, ha="right", va="top", fontsize=7.5, transform=panel.transAxes)
            row[0].set_ylabel("% of records")
        style.legend(figure, handles)
    return figure


def bins(values: np.ndarray) -> np.ndarray:
    """Edges over the central 99 %, Freedman-Diaconis wide, 6 to 40 of them."""
    low, high = np.quantile(values, [0.005, 0.995])
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        # equal but for rounding: one bin, not a picture of the rounding
        return np.array([low - 0.5, high + 0.5])
    inside = values[(values >= low) & (values <= high)]
    count = len(np.histogram_bin_edges(inside, bins="fd")) - 1
    return np.linspace(low, high, min(max(count, 6), 40) + 1)


def shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Percent of all values per bin; what lies beyond an end is in the bin at that end."""
    return 100 * np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0] / len(values)


def outline(panel: Axes, values: np.ndarray, edges: np.ndarray, look: style.Look) -> Artist:
    heights = shares(values, edges)
    panel.stairs(heights, edges, fill=True, color=look.color, alpha=0.18)
    drawn = panel.stairs(heights, edges, color=look.color, linewidth=1.5, linestyle=look.line)
    mean = float(np.clip(values.mean(), edges[0], edges[-1]))
    # at the bottom edge, half outside: it never hides a bar
    panel.plot(
        [mean], [0], marker="^", color=look.color, markeredgecolor="white", markersize=9, clip_on=False, zorder=5
    )
    return drawn


def main() -> None:
    run("ifd_distribution", COLUMNS, of, draw)


if __name__ == "__main__":
    main()
