"""Any JSON, JSON-lines, CSV, TSV or Parquet file with a column map.

python run.py dataset=jsonl dataset.path=seeds.csv dataset.columns.instruction=question dataset.columns.input=null
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evodistill import RunError
from evodistill.dataset import Dataset, Malformed, Row, Seed, rows

TEXTS = ("instruction", "input", "output")
BYTE = re.compile("[\udc80-\udcff]")  # as what bytes that are not UTF-8 arrive


@dataclass(frozen=True, kw_only=True)
class JSONL(Dataset):
    """`path` is a file, a glob or a list of them. `columns` says which column holds the instruction, the input and the
    output; null: there is none. With `keep_extra` all other columns go to the record's `extra`."""

    path: str | Sequence[str] | None
    columns: Mapping[str, str | None]
    keep_extra: bool

    keys: ClassVar[tuple[str, ...]] = TEXTS  # of `columns`; the first is the one a row cannot do without

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.columns) != set(self.keys):
            raise ValueError(f"columns must have the keys {', '.join(self.keys)}, got {', '.join(self.columns)}")
        if not self.columns[self.keys[0]]:
            raise ValueError(f"columns.{self.keys[0]} must name a column, got {self.columns[self.keys[0]]!r}")

    @property
    def place(self) -> str:
        return self.path if isinstance(self.path, str) else ", ".join(self.path or ())

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(rows.sha256(path) for path in rows.find(self.path))

    def rows(self) -> Iterator[Row]:
        """Rows of all files, one after the other. A mapped column that no row has is a RunError: a misspelt name must
        not pass for an empty column. Single rows may lack it, as JSON rows without an input do."""
        seen: dict[str, None] = {}
        for row in self.source():
            if isinstance(row.value, dict):
                seen |= dict.fromkeys(row.value)
            yield row
        missing = {key: column for key, column in self.columns.items() if column is not None and column not in seen}
        if seen and missing:
            told = ", ".join(f"no column {column!r} (dataset.columns.{key})" for key, column in missing.items())
            raise RunError(
                f"{self.place}: {told}; the file has: {', '.join(map(shown, seen))}; set {self.cure(list(missing))}"
            )

    def cure(self, missing: Sequence[str]) -> str:
        """The overrides that mend the column map, all of them. Only the first key cannot do without a column."""
        values = {key: "NAME" if key == self.keys[0] else "null" for key in missing}
        cure = " ".join(f"dataset.columns.{key}={value}" for key, value in values.items())
        return cure + (", or …=NAME of a column in the place of null" if "null" in values.values() else "")

    def source(self) -> Iterator[Row]:
        for path in rows.find(self.path):
            yield from rows.read(path)

    def parse(self, value: object) -> Seed | None:
        value = mapping(value)
        instruction, input, output = (text(value, self.columns[key]) for key in TEXTS)
        if not instruction.strip():
            column = self.columns["instruction"]
            raise Malformed(f"{column} is empty" if column in value else f"no {column}")
        used = set(self.columns.values())
        extra = {key: kept for key, kept in value.items() if key not in used} if self.keep_extra else {}
        return Seed(instruction, input, output, extra)


def mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Malformed(f"the row is {kind(value)}, not an object with columns")
    return value


def text(row: Mapping[str, object], column: str | None) -> str:
    """The text of a column; empty where there is none or it is null."""
    value = None if column is None else row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{column} is {kind(value)}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        # no tokenizer takes these
        at = f"at character {error.start + 1}"
        if BYTE.match(value, error.start):
            raise Malformed(f"{column} holds a byte that is not UTF-8 {at}; save the file as UTF-8") from None
        raise Malformed(f"{column} holds a lone surrogate {at}") from None
    return value


def shown(name: str) -> str:
    """A column's name as it can be printed, whatever its bytes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def kind(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
        str: "a string",
    }
    return names.get(type(value), "null")
