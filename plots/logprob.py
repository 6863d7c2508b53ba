"""How sure the evolvers were: the most probable token's probability over all output positions (arXiv 2412.11231,
figure 5), and its mean by position.

    python -m plots.logprob runs/<study>/<time>

Bars are shares of *all* positions of an evolver; the last one ends at 1.0 and holds what lies there, most of it (PL6).
The curve ends where fewer than a tenth of the records still go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.jobs import FACTS, Job, read_jobs, read_scores
from plots import style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

EDGES = np.linspace(0, 1, 26)
COLUMNS = ("dataset", "evolution", "evolver", "round", "kind", "at", "n", "mean")
CAPTION = (
    "Probability of the evolver's most probable token: over all positions (the last bin ends at 1.0), and its mean by "
    "position. The paper's figure 5 shows such densities, but its numbers were never published: this is ours alone."
)
KEYS = ["dataset", "evolution"]
SHOWN = 0.1  # of the records that begin


def of(study: Study) -> DataFrame:
    return positions(study.folder, study.jobs)


def positions(folder: Path, jobs: Iterable[Job] | None = None) -> DataFrame:
    """Counts, not positions, so that any number of records fits: `kind` is `share` (`at` = lower end of a bin of
    probabilities, `n` positions in it) or `position` (`at` = output position from 1, `n` records that reach it, `mean`
    their probability there)."""
    import pandas as pd

    held: dict[tuple, tuple[np.ndarray, list[int], list[float]]] = {}
    for job in jobs if jobs is not None else read_jobs(folder):
        lines, _ = read_scores(job.folder / "scores" / "logprob.jsonl", job.named) if job.completed else ([], [])
        for line in lines:
            if top := (line.get("extra") or {}).get("top"):
                facts = dict(zip(FACTS, (str(job.facts[name]) for name in FACTS), strict=True))
                key = (facts["dataset"], facts["evolution"], facts["evolver"], int(line["round"]))
                counts, reached, sums = held.setdefault(key, (np.zeros(len(EDGES) - 1, int), [], []))
                counts += np.histogram(top, bins=EDGES)[0]
                grown = len(top) - len(reached)
                reached += [0] * grown
                sums += [0.0] * grown
                for place, value in enumerate(top):
                    reached[place] += 1
                    sums[place] += value
    rows = []
    for key, (counts, reached, sums) in held.items():
        rows += [(*key, "share", low, n, None) for low, n in zip(EDGES[:-1], counts, strict=True)]
        rows += [
            (*key, "position", place, n, total / n)
            for place, (n, total) in enumerate(zip(reached, sums, strict=True), 1)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(table: DataFrame) -> Figure:
    """`table` as `positions` gives it. Columns of panels are rounds; a pair of rows for each dataset and evolution."""
    if table.empty:
        return style.empty("no log-probabilities: no completed job has kept any (metric=[logprob])")
    levels = style.order(table["evolver"].astype(str))
    rounds = sorted(int(number) for number in table["round"].unique())
    groups = list(table[KEYS].drop_duplicates().itertuples(index=False, name=None))
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(2 * len(groups), len(rounds), width=4.0, height=2.3)
        for number, group in enumerate(groups):
            mine = table[(table[KEYS] == list(group)).all(axis=1)]
            for column, at in enumerate(rounds):
                here = mine[mine["round"] == at]
                shares, curve = axes[2 * number][column], axes[2 * number + 1][column]
                for level, look in style.looks(levels).items():
                    if len(side := here[here["evolver"] == level]):
                        handles.setdefault(look.label, bars(shares, side, look))
                        line(curve, side, look)
                several = f" · {style.group_name(*group, groups)}" if len(groups) > 1 else ""
                shares.set_title(style.round_name(at) + several)
                shares.set_xlabel("probability of the most probable token")
                shares.set_xlim(0, 1)
                curve.set_xlabel("output position")
                curve.set_xscale("log")
                curve.xaxis.set_major_formatter("{x:g}")  # plain numbers: the style writes no mathematics
                curve.xaxis.set_minor_formatter("")
                curve.set_ylim(0, 1.02)
            axes[2 * number][0].set_ylabel("% of positions")
            axes[2 * number + 1][0].set_ylabel("mean probability")
        style.legend(figure, handles)
    return figure


def bars(panel: Axes, side: DataFrame, look: style.Look) -> Artist:
    counts = side[side["kind"] == "share"].sort_values("at")["n"].to_numpy(float)
    heights = 100 * counts / counts.sum()
    panel.stairs(heights, EDGES, fill=True, color=look.color, alpha=0.18)
    return panel.stairs(heights, EDGES, color=look.color, linewidth=1.5, linestyle=look.line)


def line(panel: Axes, side: DataFrame, look: style.Look) -> None:
    curve = side[side["kind"] == "position"].sort_values("at")
    curve = curve[curve["n"] >= SHOWN * curve["n"].max()]
    panel.plot(curve["at"], curve["mean"], look.line, color=look.color, linewidth=1.3)


def main() -> None:
    run("logprob", COLUMNS, of, draw)


if __name__ == "__main__":
    main()
