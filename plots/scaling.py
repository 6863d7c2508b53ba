"""Benchmarks by student: figure 3 of the paper, where students grow, and the pictures of its tables 1 to 5 and 12.

    python -m plots.scaling plots/paper/fig3_scaling.csv     the published numbers (as table 11)
    python -m plots.scaling runs/<study>/<time>              our own, by student and setting (a temperature), or by
                                                             model where one student was asked before and after

Points are joined where all names state sizes, or all settings are numbers; an order of others would say nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plots import benchmark_lines as lines
from plots import iterations, style
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study

CAPTION = "Benchmarks of the students, in percent, with 95 % intervals."
COLUMNS = lines.COLUMNS
UNTRAINED = {"student", "teacher", "judge"}  # roles whose models are columns of the results
MISSING = "no benchmark by student: no completed jobs have trained several students and asked them"


def published(table: DataFrame) -> DataFrame:
    return lines.with_intervals(table.rename(columns={"model_size_qwen2_5": "x"}))[list(COLUMNS)]


def of(study: Study) -> DataFrame:
    """Our results, students from small to large; what is drawn by round is left to `iterations`."""
    results = each_as_it_is(study.results)
    students = style.order(results["student"].astype(str))
    if len(students) == 1 and len(asked := study.asked) > 1:
        results, students = before_and_after(results), asked
    rank = results["student"].astype(str).map({student: i for i, student in enumerate(students)})
    done = results[results["status"] == "completed"]
    x, setting = results["student"].astype(str), results["setting"].astype(str)
    if done["setting"].nunique() > 1:
        x = setting if done["student"].nunique() == 1 else x + ", " + setting
    table = lines.own(results.assign(x=x).iloc[rank.argsort(kind="stable")], lines.drawn_by(study))
    return table[:0] if len(iterations.of(study)) else table


def each_as_it_is(results: DataFrame) -> DataFrame:
    """Where several roles were asked that nobody trained (`benchmarked=[student,teacher]`), each is a student."""
    asked, plain = style.asked(results["metric"])
    roles = set(asked[plain.isin(lines.OURS)])
    if not roles <= UNTRAINED or len(roles) < 2:
        return results
    models = [
        row[role] if role in UNTRAINED else row["student"]
        for role, (_, row) in zip(asked, results.iterrows(), strict=True)
    ]
    return results.assign(student=models, metric=plain)


def before_and_after(results: DataFrame) -> DataFrame:
    """Where one student was asked before and after its trainings (`benchmarked=[student,tuned]`), each of these models
    is one."""
    asked, plain = style.asked(results["metric"])
    drawn = plain.isin(lines.OURS)
    return results[drawn].assign(student=asked[drawn], metric=plain[drawn])


def draw(table: DataFrame) -> Figure:
    names = list(dict.fromkeys(table["x"].astype(str)))
    keys = {name.rpartition("=")[0] for name in names}
    if len(keys) == 1 and (key := keys.pop()) and not {"=", ","} & {*key}:  # values of one setting
        table = table.assign(x=table["x"].astype(str).str.rpartition("=")[2])
        if numbers := all(re.fullmatch(r"-?\d+(\.\d+)?", x) for x in table["x"]):
            table = table.sort_values("x", key=lambda x: x.astype(float), kind="stable")
        return lines.draw(table, key, MISSING, joined=numbers)
    sized = all(style.size(name) and "=" not in name for name in names)
    return lines.draw(table, "size of the student" if sized else "", MISSING, joined=sized)


def main() -> None:
    run("scaling", COLUMNS, of, draw, published)


if __name__ == "__main__":
    main()
