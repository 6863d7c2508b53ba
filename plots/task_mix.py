"""Task classes before and after resampling, beside the shares that were wanted.

    python -m plots.task_mix runs/<study>/<time>

Rows of panels are resampling steps, columns are evolvers; jobs of the same evolver are pooled. The numbers are those
of `task_mix.csv` in the artifacts of the steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evodistill.distill.mix import distance
from plots import style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

FILE = "task_mix.csv"
COLUMNS = ("dataset", "evolver", "step", "class", "share", "before", "after")
CAPTION = (
    "Task classes in percent of the records, before (open) and after resampling (full); bars are the shares that were "
    "wanted. The distance is the total variation distance from them: it cannot go below the shares of classes that "
    "no record has."
)


def of(study: Study) -> DataFrame:
    """COLUMNS, a row per class, of each step of completed jobs that has resampled."""
    import pandas as pd

    tables = []
    for job in study.jobs:
        for step in job.steps if job.completed else ():
            if (path := step["path"] / FILE).is_file():
                facts = {name: job.facts[name] for name in ("dataset", "evolver")} | {"step": step["step"]}
                try:
                    tables.append(pd.read_csv(path).assign(**facts)[list(COLUMNS)])
                except (KeyError, ValueError) as error:  # torn, or of another version
                    study.warnings.append(f"job {job.facts['run']}: {step['step']}/{FILE} is not drawn: {error}")
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    keys = ["dataset", "evolver", "step", "class"]
    pooled = pd.concat(tables).groupby(keys, sort=False, as_index=False)
    return pooled.agg(share=("share", "first"), before=("before", "sum"), after=("after", "sum"))[list(COLUMNS)]


def draw(table: DataFrame) -> Figure:
    """`table` has COLUMNS; shares are drawn in percent of the records of a panel."""
    if table.empty:
        return style.empty("no task mix: no step has resampled")
    levels = style.order(table["evolver"].astype(str))
    groups = list(table[["dataset", "step"]].drop_duplicates().itertuples(index=False, name=None))
    seen = table[(table["share"] > 0) | (table["before"] > 0) | (table["after"] > 0)]
    order = seen.groupby("class", sort=False)["share"].max().sort_values(ascending=False, kind="stable")
    classes = list(order.index)
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(len(groups), len(levels), width=4.6, height=max(2.0, 0.2 * len(classes) + 0.6))
        for row, (dataset, step) in zip(axes, groups, strict=True):
            for panel, (level, look) in zip(row, style.looks(levels).items(), strict=True):
                here = table[(table["dataset"] == dataset) & (table["step"] == step) & (table["evolver"] == level)]
                handles = dots(panel, here.set_index("class").reindex(classes), look) | handles
                panel.set_title(f"{style.name(dataset)} · {step} · {look.label}\n{told(here)}")
            row[0].set_yticks(range(len(classes)), classes, fontsize=8)
            for panel in row[1:]:
                panel.set_yticks(range(len(classes)), [])
        most = max(panel.get_xlim()[1] for row in axes for panel in row)
        for panel in (panel for row in axes for panel in row):
            panel.set_xlim(-1, most)  # one scale for all, so that a length means the same everywhere
        for panel in axes[-1]:
            panel.set_xlabel("% of records")
        style.legend(figure, handles)
    return figure


def dots(panel: Axes, mix: DataFrame, look: style.Look) -> dict[str, Artist]:
    """One panel, the first class at the top; a panel without numbers stays empty."""
    panel.set_ylim(len(mix) - 0.4, -0.6)
    panel.grid(False, axis="y")
    panel.grid(True, axis="x")
    if not mix["before"].sum():
        return {}
    places = range(len(mix))
    before, after = (100 * mix[side].fillna(0) / max(mix[side].sum(), 1) for side in ("before", "after"))
    wanted = panel.barh(places, 100 * mix["share"].fillna(0), height=0.8, color="#dddddd")
    panel.hlines(places, before, after, color=look.color, linewidth=1, alpha=0.5)
    was = panel.scatter(before, places, s=22, facecolors="white", edgecolors=look.color, zorder=3)
    became = panel.scatter(after, places, s=22, color=look.color, zorder=3)
    return {"wanted": wanted, "before": was, "after": became}


def told(mix: DataFrame) -> str:
    """How many records, and how far from the shares, before and after."""
    shares = dict(zip(mix["class"], mix["share"], strict=True))
    counts = [dict(zip(mix["class"], mix[side], strict=True)) for side in ("before", "after")]
    far = [distance(count, shares) for count in counts]
    parts = [f"n = {' → '.join(f'{sum(count.values()):,}' for count in counts)}"]
    if None not in far:
        parts.append(f"distance {' → '.join(f'{value:.2f}' for value in far)}")
    return " · ".join(parts)


def main() -> None:
    run("task_mix", COLUMNS, of, draw)


if __name__ == "__main__":
    main()
