"""How far each record is from its nearest neighbour in the embedding space, by round and evolver (arXiv 2412.11231,
figure 4).

    python -m plots.diversity runs/<study>/<time>

Shares of *all* records of an evolver, none smoothed away: the first bin begins at 0, where repeats lie, and the last
one holds what lies beyond (PL5, PL6). More records lie closer together, so the panels say how many there are (DV6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plots import style
from plots.command import run
from plots.ifd_distribution import outline

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

METRICS = ("neighbour_distance", "neighbour_squared_l2")
COLUMNS = ("metric", "dataset", "evolution", "evolver", "round", "value")
CAPTION = (
    "Distance of each record to its nearest neighbour of the same round; further right is more diverse. Triangles mark "
    "means. The more records, the shorter the distances: compare equal numbers. The paper's figure 4 shows such "
    "densities, but its numbers were never published: this is ours alone."
)
KEYS = ["metric", "dataset", "evolution"]


def of(study: Study) -> DataFrame:
    """One row per record with a distance, of completed jobs."""
    table = study.scores
    there = table["metric"].isin(METRICS) & table["value"].notna() & (table["status"] == "completed")
    return table.loc[there, list(COLUMNS)]


def draw(table: DataFrame) -> Figure:
    """`table` has COLUMNS; rows of panels are metrics, datasets and evolutions, columns are rounds."""
    if table.empty:
        return style.empty("no distances: no completed job has measured them (metric=[diversity])")
    levels = style.order(table["evolver"].astype(str))
    rounds = sorted(int(number) for number in table["round"].unique())
    groups = list(table[KEYS].drop_duplicates().itertuples(index=False, name=None))
    data = list({key[1:]: None for key in groups})
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(len(groups), len(rounds), width=4.0, height=2.3)
        for row, key in zip(axes, groups, strict=True):
            group = table[(table[KEYS] == list(key)).all(axis=1)]
            edges = bins(group["value"].to_numpy(float))
            for panel, number in zip(row, rounds, strict=True):
                here = group[group["round"] == number]
                counts = []
                for level, look in style.looks(levels).items():
                    values = here.loc[here["evolver"] == level, "value"].to_numpy(float)
                    if len(values):
                        counts.append(len(values))
                        handles.setdefault(look.label, outline(panel, values, edges, look))
                told = f"{counts[0]:,} each" if len(set(counts)) == 1 else " and ".join(f"{n:,}" for n in counts)
                panel.set_title(f"{style.round_name(number)} · {told or 'none'}")
                several = f" · {style.group_name(*key[1:], data)}" if len(data) > 1 else ""
                panel.set_xlabel(style.name(key[0]) + several)
                panel.set_xlim(0, edges[-1])
                panel.set_ylim(bottom=0)
            row[0].set_ylabel("% of records")
        style.legend(figure, handles)
    return figure


def bins(values: np.ndarray) -> np.ndarray:
    """Edges from 0 to the 99.5 % quantile, Freedman-Diaconis wide, 8 to 40 of them."""
    high = float(np.quantile(values, 0.995)) or 1.0  # all are repeats
    inside = values[values <= high]
    count = len(np.histogram_bin_edges(inside, bins="fd", range=(0, high))) - 1
    return np.linspace(0, high, min(max(count, 8), 40) + 1)


def main() -> None:
    run("diversity", COLUMNS, of, draw)


if __name__ == "__main__":
    main()
