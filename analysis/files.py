"""Write a file whole: readers see the old one or the new one, never half of one.

As `evodistill.store` does, but for bytes too.
"""

from __future__ import annotations

import os
from pathlib import Path

from evodistill.store import named_errors


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
