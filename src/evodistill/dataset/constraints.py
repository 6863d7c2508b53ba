"""Constraints on the form of a reply that a Python function can check: what AutoIF starts from (arXiv 2406.13542 §3.1).

36 of our own writing are shipped, as many as AutoIF has; `path` names a file of your own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evodistill.dataset import Dataset, Malformed, Row, Seed, rows
from evodistill.dataset.jsonl import mapping, text

FILE = Path(__file__).with_name("constraints.jsonl")


@dataclass(frozen=True, kw_only=True)
class Constraints(Dataset):
    """A row is a constraint: a line of a text file (.txt), or `column` of a JSON, CSV or Parquet file. Other columns of
    the shipped file (the kind of constraint) go to `extra`."""

    path: str | None = None
    column: str = "instruction"

    @property
    def place(self) -> str:
        return self.path or FILE.name

    @property
    def files(self) -> list[Path]:
        return rows.find(self.path) if self.path else [FILE]

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(rows.sha256(path) for path in self.files)

    def rows(self) -> Iterator[Row]:
        for path in self.files:
            yield from lines(path) if path.suffix.lower() == ".txt" else rows.read(path)

    def parse(self, value: object) -> Seed:
        row = mapping({self.column: value} if isinstance(value, str) else value)
        instruction = text(row, self.column).strip()
        if not instruction:
            raise Malformed(f"{self.column} is empty" if self.column in row else f"no {self.column}")
        return Seed(instruction, extra={} if self.path else {"kind": row["kind"]})


def lines(path: Path) -> Iterator[Row]:
    """Each line that is not blank."""
    with rows.text(path, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield Row(f"{path}:{number}", line.strip(), raw=line)
