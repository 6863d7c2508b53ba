"""Tiny: 64 seeds of our own writing over many kinds of task, for a first run and for tests; no download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from evodistill.dataset import Dataset, Row, Seed, rows

FILE = Path(__file__).with_name("tiny.jsonl")


@dataclass(frozen=True, kw_only=True)
class Tiny(Dataset):
    """Rows of instruction, input, an empty output, and the kind of task in `extra["task"]`."""

    @property
    def sources(self) -> tuple[str, ...]:
        return (rows.sha256(FILE),)

    def rows(self) -> Iterator[Row]:
        return rows.read(FILE)

    def parse(self, value: object) -> Seed:
        texts = dict(cast("dict[str, str]", value))
        return Seed(texts.pop("instruction"), texts.pop("input"), texts.pop("output"), extra=texts)
