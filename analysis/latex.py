r"""Tables for a paper: csv → LaTeX (booktabs), the highest value of each block in bold, intervals where there are any.

    python -m analysis.latex plots/paper/table01_evol_instruct_llama.csv     a published table
    python -m analysis.latex runs/<study>/<time>                             our own, from its results.csv
    python -m analysis.latex                                                 all published ones → plots/tables/*.tex

A row is an evolver, a block a student (or round), a column a metric. \usepackage{booktabs} is all it needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.files import write_whole
from evodistill import RunError
from plots import style

if TYPE_CHECKING:
    from pandas import DataFrame

PAPER = Path(__file__).parents[1] / "plots" / "paper"
TABLES = PAPER.parent / "tables"
PUBLISHED = tuple(f"table{number:02}" for number in (1, 2, 3, 4, 5, 10, 11, 12, 13, 14))
# column of a published csv → what it is here; the first that is there is taken
BLOCK = ("base_model", "dataset")
ROW = ("evolver", "selection_metric")
OURS = ("dataset", "student", "evolver", "round", "metric", "value", "ci_low", "ci_high")
FINER = ("iteration", "evolution_temperature")  # splits a block further
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}


def escape(text: object) -> str:
    return "".join(SPECIAL.get(character, character) for character in str(text))


def tidy(table: DataFrame) -> DataFrame:
    """Columns block, row, metric, value, ci_low, ci_high of a published csv or of our results.csv."""
    if "status" in table:
        return own(table)
    block = next((table[name] for name in BLOCK if name in table), None)
    row = next((table[name] for name in ROW if name in table), None)
    if block is None or row is None or "metric" not in table:
        raise RunError(f"a table needs the columns metric, value, one of {BLOCK} and one of {ROW}")
    for name in FINER:
        if name in table:
            block = block.astype(str) + f", {name.replace('_', ' ')} " + table[name].astype(str)
    nan = float("nan")
    return table.assign(block=block, row=row, ci_low=nan, ci_high=nan)[
        ["block", "row", "metric", "value", "ci_low", "ci_high"]
    ]


def own(table: DataFrame) -> DataFrame:
    """A row is an evolver, or a setting where one evolver has several."""
    if missing := [name for name in OURS if name not in table]:
        raise RunError(f"the table has no column {missing[0]}: make it anew with python -m analysis.study FOLDER")
    done = table[(table["status"] == "completed") & table["metric"].notna()].copy()
    done["setting"] = done["setting"].fillna("").astype(str) if "setting" in done else ""  # older tables have none
    row = "setting" if done["evolver"].nunique() < 2 and done["setting"].nunique() > 1 else "evolver"
    rounds: Any = done.groupby("metric")["round"].transform("max")  # benchmarks know none
    named = done["round"].map(lambda number: style.round_name(int(number))).where(rounds > 0, "")
    parts = [done["dataset"].map(style.name), done["student"], *([done["setting"]] if row == "evolver" else []), named]
    done["block"] = [", ".join(str(part) for part in block if part) for block in zip(*parts, strict=True)]
    done["row"] = done[row]
    means = done.groupby(["block", "row", "metric"], sort=False)[["value", "ci_low", "ci_high"]]
    if (means.size() > 1).any():  # several runs: their mean, and no interval that would be of one of them
        return means.mean().assign(ci_low=float("nan"), ci_high=float("nan")).reset_index()
    return done[["block", "row", "metric", "value", "ci_low", "ci_high"]]


def latex(table: DataFrame, caption: str) -> str:
    """A whole table environment; `table` as `tidy` makes it."""
    metrics = list(dict.fromkeys(table["metric"]))
    digits = {metric: 2 + (side.abs().max() <= 1) for metric, side in table.groupby("metric")["value"]}
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape(caption)} The highest value of a block is bold.}}",
        r"\begin{tabular}{l" + "r" * len(metrics) + "}",
        r"\toprule",
        " & ".join(["", *(escape(style.name(metric)) for metric in metrics)]) + r" \\",
    ]
    for block in dict.fromkeys(table["block"]):
        here = table[table["block"] == block]
        best = {metric: side.max() for metric, side in here.groupby("metric")["value"] if side.nunique() > 1}
        lines += [r"\midrule", rf"\multicolumn{{{len(metrics) + 1}}}{{l}}{{\textit{{{escape(block)}}}}} \\"]
        for row in dict.fromkeys(here["row"]):
            side = here[here["row"] == row].set_index("metric")
            known = [metric if metric in side.index else None for metric in metrics]
            cells = [cell(side.loc[one], best.get(one), digits[one]) if one else "--" for one in known]
            lines.append(" & ".join([escape(style.name(str(row))), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def cell(found: Any, best: float | None, digits: int) -> str:
    if found["value"] != found["value"]:
        return "--"
    text = f"{found['value']:.{digits}f}"
    text = rf"\textbf{{{text}}}" if found["value"] == best else text
    if found["ci_low"] == found["ci_low"]:
        text += rf" {{\scriptsize [{found['ci_low']:.{digits}f}, {found['ci_high']:.{digits}f}]}}"
    return text


def read(source: Path) -> tuple[DataFrame, str]:
    """(table, caption) of a csv or a folder of runs."""
    import pandas as pd

    if source.is_dir():
        from analysis.collect import collect

        return tidy(collect(source)), f"Means and 95 % intervals of {source.name}."
    if not source.is_file():
        raise RunError(f"{source}: no such file or folder")
    table = pd.read_csv(source)
    if "status" in table:
        return tidy(table), f"Means and 95 % intervals of {', '.join(map(str, table['study'].unique()))}."
    return tidy(table), f"Table {table['table'].iloc[0]} of arXiv 2412.11231, as published."


def main() -> None:
    if len(sys.argv) > 2:
        sys.exit("usage: python -m analysis.latex [CSV or FOLDER]")
    try:
        if len(sys.argv) == 2:
            print(latex(*read(Path(sys.argv[1]))), end="")
            return
        for source in sorted(path for path in PAPER.glob("table*.csv") if path.name.startswith(PUBLISHED)):
            write_whole(TABLES / f"{source.stem}.tex", latex(*read(source)))
            print(TABLES / f"{source.stem}.tex")
    except RunError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
