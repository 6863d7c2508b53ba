"""Fuzz every parser with coverage in sight (atheris, `pip install atheris`); ends at the first exception or slow input.

python benchmarks/fuzz.py -max_total_time=60 -max_len=4096 -timeout=20
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("src", "tests")]

with atheris.instrument_imports(include=["evodistill"]):
    from test_fuzz import PARSERS

from evodistill.parse import Parsed  # noqa: E402

NAMES = sorted(PARSERS)


def one(data: bytes) -> None:
    """The first byte chooses the parser, the rest is the reply."""
    given = atheris.FuzzedDataProvider(data)
    name = NAMES[given.ConsumeIntInRange(0, len(NAMES) - 1)]
    found = PARSERS[name](given.ConsumeUnicode(sys.maxsize))
    if isinstance(found, Parsed) and (found.value is None) != bool(found.reason):
        raise RuntimeError(f"{name}: neither a value nor a reason")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
