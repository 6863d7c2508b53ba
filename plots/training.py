"""How the trainings went: loss and what else is told at each step.

    python -m plots.training runs/<study>/<time>

Rows of panels are the trainers of a run, columns what they tell. Each job is a thin line of what every batch gave and a
bold one through the mean of the last tenth of all steps; jobs of the same evolver have its colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.jobs import read_lines
from plots import style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

TOLD = {
    "loss": "training loss",
    "eval_loss": "loss of the rows held out",
    "ce": "cross entropy (nats a token)",
    "kd": "divergence from the teacher (nats a token)",
    "rewards/margins": "margin of the implicit reward",
    "rewards/accuracies": "share of pairs in the wanted order",
}
COLUMNS = ("evolver", "run", "trainer", "metric", "step", "value")
CAPTION = (
    "Trainings step by step: thin lines are batches, bold ones the mean of the last tenth of all steps. A loss that "
    "falls says that the student learns its rows, not that it gets better at anything else."
)


def of(study: Study) -> DataFrame:
    """COLUMNS, a row per value that a trainer of a job has told."""
    import pandas as pd

    rows = []
    for job in study.jobs:
        facts = {name: str(job.facts[name]) for name in ("evolver", "run")}
        for step in job.steps:
            points, _ = read_lines(job.folder / "training" / f"{step['step']}.jsonl", ("step",))
            rows += [
                facts | {"trainer": step["step"], "metric": metric, "step": point["step"], "value": point[metric]}
                for point in points
                for metric in TOLD
                if isinstance(point.get(metric), int | float)
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(table: DataFrame) -> Figure:
    if table.empty:
        return style.empty("no training: no job has trained a student")
    looks = style.looks(style.order(table["evolver"].astype(str)))
    trainers = list(table["trainer"].unique())
    told = {trainer: [m for m in TOLD if m in set(side["metric"])] for trainer, side in table.groupby("trainer")}
    handles: dict[str, Artist] = {}
    with style.styled():
        figure, axes = style.panels(len(trainers), max(map(len, told.values())))
        for row, trainer in zip(axes, trainers, strict=True):
            for panel in row[len(told[trainer]) :]:
                panel.axis("off")
            for panel, metric in zip(row, told[trainer], strict=False):
                here = table[(table["trainer"] == trainer) & (table["metric"] == metric)]
                for (level, _), side in here.groupby(["evolver", "run"], sort=False):
                    look = looks[str(level)]
                    handles.setdefault(look.label, curve(panel, side.sort_values("step", kind="stable"), look))
                panel.set_title(f"{trainer}: {TOLD[metric]}")
                panel.set_xlabel("step")
                panel.xaxis.get_major_locator().set_params(integer=True)
                if metric == "rewards/accuracies":
                    panel.set_ylim(-0.03, 1.03)
        style.legend(figure, handles)
    return figure


def curve(panel: Axes, side: DataFrame, look: style.Look) -> Artist:
    """What each step gave, and the mean of the last tenth."""
    x, y = side["step"].to_numpy(), side["value"].to_numpy(float)
    panel.plot(x, y, color=look.color, linewidth=0.6, alpha=0.4)
    [bold] = panel.plot(x, trailing(y, -(-len(y) // 10)), look.line, color=look.color, linewidth=1.6)
    if len(x) < 12:  # a line of few points does not say where they are
        bold.set_marker(look.marker)
        bold.set_markersize(4)
    return bold


def trailing(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of each value and the width − 1 before it, of fewer at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def main() -> None:
    run("training", COLUMNS, of, draw)


if __name__ == "__main__":
    main()
