"""What evolvers thought of: distinct keywords against the number of phrases drawn, and the most frequent ones.

    python -m plots.keywords runs/<study>/<time>

Left: rarefaction curves, the distinct keywords expected among n phrases, so that evolvers are compared at one n (the
dotted line: all phrases of the one with the fewest; the numbers: what is expected there). Right: percent of an
evolver's phrases. Rows are rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.jobs import FACTS, Job, read_jobs, read_scores
from evodistill.metric.keywords import rarefied
from plots import style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

COLUMNS = ("dataset", "evolution", "evolver", "round", "keyword", "count")
CAPTION = (
    "Keywords of the methods that the evolvers listed: distinct ones expected among n phrases, and the most frequent. "
    "Each run groups its own phrases, so one idea may bear two names."
)
KEYS = ["dataset", "evolution", "round"]
TOP = 12  # keywords shown
POINTS = 40  # of a curve


def of(study: Study) -> DataFrame:
    return counts(study.folder, study.jobs)


def counts(folder: Path, jobs: Iterable[Job] | None = None) -> DataFrame:
    """COLUMNS of the completed jobs; runs of the same evolver are pooled."""
    import pandas as pd

    held: dict[tuple, Counter[str]] = {}
    for job in jobs if jobs is not None else read_jobs(folder):
        lines, _ = read_scores(job.folder / "scores" / "keywords.jsonl", job.named) if job.completed else ([], [])
        facts = dict(zip(FACTS, (str(job.facts[name]) for name in FACTS), strict=True))
        for line in lines:
            if found := (line.get("extra") or {}).get("keywords"):
                key = (facts["dataset"], facts["evolution"], facts["evolver"], int(line["round"]))
                held.setdefault(key, Counter()).update(found)
    rows = [(*key, keyword, count) for key, found in held.items() for keyword, count in found.most_common()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(table: DataFrame) -> Figure:
    """`table` as `counts` gives it."""
    if table.empty:
        return style.empty("no keywords: no completed job has measured any (metric=[keywords])")
    levels = style.order(table["evolver"].astype(str))
    rows = list(table[KEYS].drop_duplicates().sort_values(KEYS).itertuples(index=False, name=None))
    groups = list(dict.fromkeys(row[:2] for row in rows))
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(len(rows), 2, width=4.6, height=3.4)
        for (curves, bars), row in zip(axes, rows, strict=True):
            here = table[(table[KEYS] == list(row)).all(axis=1)]
            sides = {level: side for level in levels if len(side := here[here["evolver"] == level])}
            looks = style.looks(levels)
            for level, side in sides.items():
                handles.setdefault(looks[level].label, curve(curves, side["count"].tolist(), looks[level]))
            smallest = min(int(side["count"].sum()) for side in sides.values())
            curves.axvline(smallest, color="#999999", linewidth=0.8, linestyle=":")
            at_equal_n(curves, sides, looks, smallest)
            several = f" · {style.group_name(*row[:2], groups)}" if len(groups) > 1 else ""
            curves.set_title(f"{style.round_name(row[2])}{several} · all of the smaller: n = {smallest:,}")
            curves.set_xlabel("phrases drawn")
            curves.set_ylabel("distinct keywords expected")
            curves.set_xlim(left=0)
            curves.set_ylim(bottom=0)
            most_frequent(bars, sides, looks)
        style.legend(figure, handles)
    return figure


def curve(panel: Axes, found: list[int], look: style.Look) -> Artist:
    total = sum(found)
    at = sorted({int(n) for n in np.linspace(1, total, min(total, POINTS))})
    [line] = panel.plot(
        at, [rarefied(found, n) for n in at], look.line, color=look.color, marker=look.marker, markevery=[-1]
    )
    return line


def at_equal_n(panel: Axes, sides: dict[str, DataFrame], looks: dict[str, style.Look], n: int) -> None:
    """The expected number of each side at `n`, in the order of the curves there."""
    found = {level: rarefied(side["count"].tolist(), n) or 0.0 for level, side in sides.items()}
    for place, level in enumerate(sorted(found, key=found.__getitem__)):
        panel.annotate(
            f"{found[level]:.1f}",
            (1, 0.04 + 0.08 * place),
            xycoords="axes fraction",
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=looks[level].color,
        )


def most_frequent(panel: Axes, sides: dict[str, DataFrame], looks: dict[str, style.Look]) -> None:
    shares = {
        level: (100 * side.set_index("keyword")["count"] / side["count"].sum()).to_dict()
        for level, side in sides.items()
    }
    summed = Counter[str]()
    for share in shares.values():
        summed.update(share)
    top = [keyword for keyword, _ in sorted(summed.items(), key=lambda item: (-item[1], item[0]))[:TOP]]
    height = 0.8 / len(shares)
    for i, (level, share) in enumerate(shares.items()):
        y = [k + (i - (len(shares) - 1) / 2) * height for k in range(len(top))]
        look = looks[level]
        panel.barh(
            y,
            [share.get(keyword, 0.0) for keyword in top],
            height,
            color=look.color,
            hatch=look.hatch,
            edgecolor="white",
            linewidth=0.5,
        )
    panel.set_yticks(range(len(top)), top, fontsize=8)
    panel.invert_yaxis()
    panel.grid(axis="x")
    panel.grid(visible=False, axis="y")
    panel.set_xlabel("% of an evolver's phrases")


def main() -> None:
    run("keywords", COLUMNS, of, draw)


if __name__ == "__main__":
    main()
