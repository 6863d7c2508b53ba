"""Small tests of our own writing, in the form of the public ones, and models that answer them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

ITEMS = Path(__file__).parent / "items"


@pytest.fixture
def items() -> Callable[[str], str]:
    """The path of the small test of that name."""
    return lambda name: str(ITEMS / f"{name}.jsonl")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    """Writes rows as JSON lines; gives the path."""

    def file(*rows: object, name: str = "given.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return file
