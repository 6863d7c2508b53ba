"""The command line every figure shares: SOURCE (a folder of runs or a csv) and, optionally, the folder to write to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evodistill import RunError
from plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def run(figure: str, read: Callable[[Path], DataFrame], draw: Callable[[DataFrame], Figure]) -> None:
    """Writes <out>/<figure>.pdf and .png; out is `figures/` inside a folder of runs, `plots/figures/` for a csv."""
    parser = argparse.ArgumentParser(description=f"Draw the figure “{figure}”.")
    parser.add_argument("source", type=Path, help="folder of a run or sweep, or a csv with the figure's columns")
    parser.add_argument("out", type=Path, nargs="?", help="folder to write to")
    given = parser.parse_args()
    default = given.source / "figures" if given.source.is_dir() else Path(__file__).parent / "figures"
    try:
        if not given.source.exists():
            raise RunError(f"{given.source}: no such file or folder")
        written = style.save(draw(read(given.source)), (given.out or default) / figure)
    except RunError as error:
        sys.exit(str(error))
    print(*written, sep="\n")
