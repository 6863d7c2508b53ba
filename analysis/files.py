"""Files that people name and look at: tables are read with an error that says what is wrong, and all are written whole,
so that readers see the old one or the new one, never half of one, as `evodistill.store` does, but bytes too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from evodistill import RunError
from evodistill.store import named_errors

if TYPE_CHECKING:
    from pandas import DataFrame


def read_csv(path: Path) -> DataFrame:
    """A table that somebody names."""
    import pandas as pd

    if not path.is_file():
        raise RunError(f"{path}: no such file or folder")
    try:
        return pd.read_csv(path)
    except (ValueError, OSError) as error:  # no columns, lines of several lengths, another encoding
        reason = str(error).strip().partition("\n")[0]
        raise RunError(f"{path}: cannot be read as a csv in UTF-8 ({reason})") from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Temp file in the same folder, then `os.replace`; the folder is made where it is missing."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # a lone surrogate in a record must not stop a report
            temp.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)
