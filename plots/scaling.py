"""Benchmarks of students of growing size: figure 3 of the paper.

python -m plots.scaling plots/paper/fig3_scaling.csv     the published numbers (as table 11)
python -m plots.scaling runs/<study>/<time>              our own
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plots import benchmark_lines as lines
from plots import style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

CAPTION = (
    "Figure 3: Qwen-2.5 students of 0.5B to 72B (full tuning up to 7B, LoRA above). Table 11 has the same numbers. "
    "Intervals are ours: 95 % Wilson of k of n items."
)
COLUMNS = lines.COLUMNS
MISSING = "no benchmark by size of the student: no completed job has trained a student and asked it"


def published(table: DataFrame) -> DataFrame:
    return lines.with_intervals(table.rename(columns={"model_size_qwen2_5": "x"}))[list(COLUMNS)]


def of(study: Study) -> DataFrame:
    """Our results, students from small to large; untrained ones (round 0) are left out."""
    trained = study.results[study.results["round"].fillna(0) > 0]
    students = style.order(trained["student"].astype(str))
    rank = trained["student"].astype(str).map({student: i for i, student in enumerate(students)})
    return lines.own(trained.assign(x=trained["student"]).iloc[rank.argsort(kind="stable")])


def draw(table: DataFrame) -> Figure:
    return lines.draw(table, "size of the student", MISSING)


def main() -> None:
    run("scaling", COLUMNS, of, draw, published)


if __name__ == "__main__":
    main()
