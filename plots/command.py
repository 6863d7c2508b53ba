"""The command line every figure shares: SOURCE (a folder of runs or a csv) and, optionally, the folder to write to.

A figure is a module with COLUMNS (of the table behind it), CAPTION, `of(study) -> table`, `draw(table) -> Figure` and,
where the paper has the figure, `published(csv) -> table`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.files import read_csv
from evodistill import RunError
from plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.load import Study


def run(
    figure: str,
    columns: Sequence[str],
    of: Callable[[Study], DataFrame],
    draw: Callable[[DataFrame], Figure],
    published: Callable[[DataFrame], DataFrame] | None = None,
) -> None:
    """Writes <out>/<figure>.pdf and .png; out is `figures/` inside a folder of runs, `plots/figures/` for a csv."""
    parser = argparse.ArgumentParser(description=f"Draw the figure “{figure}”.")
    parser.add_argument("source", type=Path, help="folder of a run or sweep, or a csv with the figure's columns")
    parser.add_argument("out", type=Path, nargs="?", help="folder to write to")
    given = parser.parse_args()
    default = given.source / "figures" if given.source.is_dir() else Path(__file__).parent / "figures"
    try:
        table = read(given.source, columns, of, published)
        written = style.save(draw(table), (given.out or default) / figure)
    except RunError as error:
        sys.exit(str(error))
    print(*written, sep="\n")


def read(
    source: Path,
    columns: Sequence[str],
    of: Callable[[Study], DataFrame],
    published: Callable[[DataFrame], DataFrame] | None = None,
) -> DataFrame:
    """The table of a figure: from the jobs in a folder, from a csv that has its columns, or from one of the paper's."""
    if source.is_dir():
        from analysis.load import load

        return of(load(source))
    table = read_csv(source)
    if set(columns) <= set(table.columns):
        return table
    try:
        if published is None:
            raise KeyError
        return published(table)
    except KeyError:  # nor is it one of the paper's
        needed = ", ".join(columns)
        raise RunError(f"{source}: the columns {needed} are needed; it has {', '.join(table.columns)}") from None
