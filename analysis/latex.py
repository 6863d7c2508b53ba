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

from analysis.files import read_csv, write_whole
from evodistill import RunError
from plots import style

if TYPE_CHECKING:
    from pandas import DataFrame, Series

PAPER = Path(__file__).parents[1] / "plots" / "paper"
TABLES = PAPER.parent / "tables"
# column of a published csv → what it is here; the first that is there is taken
BLOCK = ("base_model", "scope", "dataset")
ROW = ("evolver", "selection_metric", "parameter")
OURS = ("dataset", "student", "evolver", "round", "metric", "value", "ci_low", "ci_high")
VARYING = ("evolution", "teacher", "judge")  # part of a block's name where they differ
COLUMNS = ["block", "row", "metric", "value", "ci_low", "ci_high"]
FINER = ("iteration", "evolution_temperature")  # splits a block further
# where what was published disagrees with itself (plots/paper/README.md, audits)
NOTES = {
    "3": "The HumanEval and GSM8K columns of InternLM-2-7B are swapped as printed: swapped back, all four values are k "
    "of n items.",
    "10": "The script of the paper's figure 1 holds other numbers in {moved} cells.",
    "12": "The text says that the small evolver wins at every temperature; MBPP at 0.7 says otherwise.",
}
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}


def escape(text: object) -> str:
    return "".join(SPECIAL.get(character, character) for character in str(text))


def tidy(table: DataFrame) -> DataFrame:
    """COLUMNS of a published csv or of our results.csv, ours with the number of `runs` behind a value."""
    if "status" in table:
        return own(table)
    nan = float("nan")
    table = table.assign(ci_low=nan, ci_high=nan)
    if "quantity" in table:  # table 8: a row is whatever names it
        named = (
            table[["dataset", "evolver"]].fillna("").map(plain).agg(lambda row: ", ".join(filter(None, row)), axis=1)
        )
        return table.assign(block=table["scenario"].map(plain), row=named, metric=table["quantity"])[COLUMNS]
    if "metric" not in table and "ifd_percent" in table:  # table 15: a column for each
        measured = [name for name in table if name in style.NAMES]
        table = table.melt([name for name in table if name not in measured], measured, "metric")
    if "parameter" in table:  # tables 6 and 7: settings, some of them words
        table = table.assign(metric="value", scope=table["scope"].map(plain), parameter=table["parameter"].map(plain))
    block = next((table[name] for name in BLOCK if name in table), None)
    row = next((table[name] for name in ROW if name in table), None)
    if block is None or row is None or "metric" not in table:
        raise RunError(f"a table needs the columns metric, value, one of {BLOCK} and one of {ROW}")
    if "scenario" in table and row.nunique() == 1:  # table 9: students of one kind of data
        block, row = table["scenario"].map(plain), block
    block = block.astype(str).map(style.name)
    for name in FINER:
        if name in table:
            block = block + f", {plain(name)} " + table[name].astype(str)
    return table.assign(block=block, row=row)[COLUMNS]


def plain(name: str) -> str:
    """A column's name for people."""
    return style.NAMES.get(name, name.replace("_", " "))


def own(table: DataFrame) -> DataFrame:
    """A row is an evolver, or a setting where one evolver has several. Random seeds alone are averaged."""
    if missing := [name for name in OURS if name not in table]:
        raise RunError(f"the table has no column {missing[0]}: make it anew with python -m analysis.study FOLDER")
    done = table[(table["status"] == "completed") & table["metric"].notna()].copy()
    done["setting"] = done["setting"].fillna("").astype(str) if "setting" in done else ""  # older tables have none
    row = "setting" if done["evolver"].nunique() < 2 and done["setting"].nunique() > 1 else "evolver"
    rounds: Any = done.groupby("metric")["round"].transform("max")  # benchmarks know none
    named = done["round"].map(lambda number: style.round_name(int(number))).where(rounds > 0, "")
    differ = [
        done[name].fillna("").map(plain if name == "evolution" else str)
        for name in VARYING
        if name in done and done[name].nunique() > 1
    ]
    settings = [done["setting"]] if row == "evolver" else []
    parts = [done["dataset"].map(style.name), done["student"].fillna(""), *differ, *settings, named]
    done["block"] = [", ".join(str(part) for part in block if part) for block in zip(*parts, strict=True)]
    done["row"] = done[row]
    cells = done.groupby(["block", "row", "metric"], sort=False)
    if not (cells.size() > 1).any():
        return done[COLUMNS].assign(runs=1)
    # several runs: no interval would be that of one of them
    runs = cells["value"].agg(["mean", "count"]).reset_index()
    half = cells.apply(style.half_interval).to_numpy(float)
    made = runs.assign(ci_low=runs["mean"] - half, ci_high=runs["mean"] + half)
    return made.rename(columns={"mean": "value", "count": "runs"})[[*COLUMNS, "runs"]]


def told(table: DataFrame, name: str) -> str:
    """Caption of a results.csv: what the intervals are, and which jobs are in no mean."""
    runs = own(table)["runs"]
    text = f"Means and 95 % intervals of {name}."
    if (runs > 1).any():
        text = f"Means over random seeds of {name}, with 95 % intervals over these and the items."
        text += " In brackets: how many, where not all have as many." if runs.nunique() > 1 else ""
    lost = table.loc[table["status"] != "completed", ["run", "status", "evolver"]].drop_duplicates()
    if len(lost):
        jobs = ", ".join(
            f"{status}: {run} ({evolver})" for run, status, evolver in lost.fillna("?").itertuples(index=False)
        )
        text += f" Not in any mean, since they are not completed: {jobs}."
    return text


def published(table: DataFrame) -> str:
    """Caption of a csv of the paper, with what the audits say of it."""
    import pandas as pd

    numbers = list(dict.fromkeys(number for number in table["table"].astype(str) if number.isdigit()))
    text = f"Table{'s' * (len(numbers) > 1)} {' and '.join(numbers)} of arXiv 2412.11231, as published."
    if not table["table"].astype(str).isin(numbers).all():
        text += " Rows beside are from its appendix, its text and its repository."
    audit = pd.read_csv(PAPER / "audit_granularity.csv")
    moved = len(pd.read_csv(PAPER / "audit_fig1_vs_table10.csv"))
    for number in numbers:
        odd = audit[(audit["where"] == f"table {number}") & (audit["verdict"] == "not_a_multiple_of_1/N")]
        cells = odd["cell"].str.replace("none -> ", "").str.replace("->", "→") + ", " + odd["metric"]
        text += f" {NOTES[number].format(moved=moved)}" if number in NOTES else ""
        text += f" Not k of the benchmark's n items: {'; '.join(cells)}." if len(odd) else ""
    return text


def latex(table: DataFrame, caption: str) -> str:
    """A whole table environment; `table` as `tidy` makes it."""
    metrics = list(dict.fromkeys(table["metric"]))
    digits = {metric: places(side) for metric, side in table.groupby("metric")["value"]}
    uneven = "runs" in table and table["runs"].nunique() > 1
    body: list[str] = []
    for block in dict.fromkeys(table["block"]):
        here = table[table["block"] == block]
        best = {metric: top(side, digits[metric]) for metric, side in here.groupby("metric")["value"]}
        body += [r"\midrule", rf"\multicolumn{{{len(metrics) + 1}}}{{l}}{{\textit{{{escape(block)}}}}} \\"]
        for row in dict.fromkeys(here["row"]):
            side = here[here["row"] == row].set_index("metric")
            known = [metric if metric in side.index else None for metric in metrics]
            cells = [cell(side.loc[one], best[one], digits[one], uneven) if one else "--" for one in known]
            body.append(" & ".join([escape(style.name(str(row))), *cells]) + r" \\")
    bold = " The highest value of a block is bold." if any("textbf" in line for line in body) else ""
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape(caption + bold)}}}",
        r"\begin{tabular}{l" + "r" * len(metrics) + "}",
        r"\toprule",
        " & ".join(["", *(escape(style.name(metric)) for metric in metrics)]) + r" \\",
    ]
    return "\n".join([*lines, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def places(values: Series) -> int | None:
    """Digits behind the point: none of counts, three of shares; None for words."""
    if values.dtype.kind not in "if":
        return None
    known = values.dropna()
    return 0 if len(known) and (known % 1 == 0).all() and known.max() > 100 else 2 + bool(known.abs().max() <= 1)


def top(values: Series, digits: int | None) -> float | None:
    """The highest of several; of counts none is the best."""
    return values.max() if digits and values.nunique() > 1 else None


def cell(found: Any, best: float | None, digits: int | None, uneven: bool) -> str:
    if digits is None:
        return escape(found["value"])
    if found["value"] != found["value"]:
        return "--"
    text = f"{found['value']:.{digits}f}"
    text = rf"\textbf{{{text}}}" if found["value"] == best else text
    if found["ci_low"] == found["ci_low"]:
        text += rf" {{\scriptsize [{found['ci_low']:.{digits}f}, {found['ci_high']:.{digits}f}]}}"
    return text + (f" ({found['runs']})" if uneven else "")


def read(source: Path) -> tuple[DataFrame, str]:
    """(table, caption) of a csv or a folder of runs."""
    if source.is_dir():
        from analysis.collect import collect

        table = collect(source)
        return tidy(table), told(table, source.name)
    table = read_csv(source)
    if "status" in table:
        made = tidy(table)  # says what an older table lacks
        return made, told(table, ", ".join(map(str, table["study"].dropna().unique())))
    return tidy(table), published(table)


def main() -> None:
    if len(sys.argv) > 2:
        sys.exit("usage: python -m analysis.latex [CSV or FOLDER]")
    try:
        if len(sys.argv) == 2:
            print(latex(*read(Path(sys.argv[1]))), end="")
            return
        for source in sorted(PAPER.glob("table*.csv")):
            write_whole(TABLES / f"{source.stem}.tex", latex(*read(source)))
            print(TABLES / f"{source.stem}.tex")
    except RunError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
