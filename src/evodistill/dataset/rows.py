"""Rows of foreign files: JSON lines, JSON arrays, CSV, TSV and Parquet, streamed, each with the line it stands on.

A line that cannot be read becomes a row with a fault and reading goes on. A file that cannot be read as a whole (no
such file, an array broken in the middle, damaged Parquet) is a RunError.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from evodistill import RunError
from evodistill.dataset import Row

CHUNK = 1 << 20  # characters of an array held at a time; grows to the longest row
# NaN is not JSON, but Python and pandas write it for a missing value: read as null, never as a number
DECODER = json.JSONDecoder(parse_constant=lambda name: None)
# what the decoder raises: JSONDecodeError and over-long integers are ValueErrors, deep nesting is a RecursionError
BROKEN = (ValueError, RecursionError)
SPACE = re.compile(r"[ \t\r\n]*")
csv.field_size_limit(sys.maxsize)  # the default stops at 128 KiB a field


def find(path: str | Sequence[str] | None) -> list[Path]:
    """The files that a path, a glob or a list of them names, a glob's in sorted order. All exist, none is empty."""
    names = [path] if isinstance(path, str) else list(path or ())
    if not names:
        raise RunError(
            "dataset.path is not set: name a file, for example dataset.path=seeds.jsonl (a list or a glob works too)"
        )
    found = []
    for name in names:
        here = Path(name).expanduser()
        matches = [here] if here.exists() else [Path(match) for match in sorted(glob.glob(str(here), recursive=True))]
        if not matches:
            raise RunError(f"dataset.path: no such file: {name} (looked from {Path.cwd()})")
        if here.is_dir():
            raise RunError(
                f"dataset.path: {name} is a folder; name its files, for example dataset.path='{name}/*.jsonl'"
            )
        found += [match for match in matches if not match.is_dir()]
    if not found:
        raise RunError(f"dataset.path: {path} matches only folders; name files")
    for file in found:
        try:
            with file.open("rb") as opened:
                if not opened.read(1):
                    raise RunError(f"dataset.path: {file} is empty")
        except OSError as error:
            raise RunError(f"dataset.path: cannot read {file}: {error.strerror}") from None
    return found


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> Iterator[Row]:
    """The rows of one file. Its content decides between a JSON array and JSON lines, its suffix the rest."""
    with path.open("rb") as file:
        head = file.read(4096)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    suffix = path.suffix.lower()
    lines = suffix in (".jsonl", ".ndjson")
    if head.startswith(b"PAR1"):
        return parquet(path)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RunError(f"{path} is UTF-16; make it UTF-8: iconv -f UTF-16 -t UTF-8 {path}")
    if suffix in (".csv", ".tsv"):
        return table(path, "\t" if suffix == ".tsv" else ",")
    # a line of a .jsonl file may be a (malformed) list; an array of rows goes on with an object
    if start.startswith(b"[") and (not lines or start[1:].lstrip().startswith(b"{")):
        return array(path)
    if lines or suffix == ".json" or start.startswith(b"{"):
        return jsonl(path)
    raise RunError(f"{path}: format not recognised; it must be .json, .jsonl, .csv, .tsv or .parquet, uncompressed")


def text(path: Path, newline: str) -> TextIO:
    """Bytes that are not UTF-8 come through as lone surrogates and are refused row by row."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def jsonl(path: Path) -> Iterator[Row]:
    """Splits at newlines only: U+2028 and its like are text. Blank lines are no rows."""
    with text(path, newline="\n") as file:
        yield from parsed(path, file)


def parsed(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            yield Row(f"{path}:{number}", DECODER.decode(line.rstrip("\r\n")), raw=line)
        except BROKEN as error:
            yield Row(f"{path}:{number}", fault=f"broken JSON, {explain(error)}", raw=line)


def explain(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{what(error)} at column {error.colno}"
    return "too deeply nested" if isinstance(error, RecursionError) else str(error)


def what(error: json.JSONDecodeError) -> str:
    """Some messages end with "at", for a place of their own to follow."""
    return error.msg.removesuffix(" at")


def table(path: Path, delimiter: str) -> Iterator[Row]:
    """CSV or TSV with a header line. Strict quoting: an open quote swallows the rest of the file, and must say so."""
    held: list[str] = []  # the lines of the row being read, for its reject

    def feed(file: TextIO) -> Iterator[str]:
        for line in file:
            held.append(line)
            yield line

    with text(path, newline="") as file:
        reader = csv.reader(feed(file), delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            refuse_other(path, held[0], delimiter)
            raise RunError(f"{path}:1: broken header line ({error})") from None
        if len(header) == 1:
            refuse_other(path, held[0], delimiter)
        while True:
            held.clear()
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(
                    f"{path}:{first}",
                    fault=f"broken quoting, {error} (up to line {reader.line_num})",
                    raw="".join(held),
                )
                continue
            if len(cells) == len(header):
                yield Row(f"{path}:{first}", dict(zip(header, cells, strict=True)), raw="".join(held))
            elif cells:  # a blank line is no row
                yield Row(
                    f"{path}:{first}", fault=f"{len(cells)} fields, the header has {len(header)}", raw="".join(held)
                )


def refuse_other(path: Path, header: str, delimiter: str) -> None:
    """RunError where a header line has none of the delimiter and another one: read on, all rows would be one column."""
    cures = {";": "save it with commas", "\t": "save it with commas, or name it .tsv", ",": "name it .csv"}
    for other, cure in cures.items():
        if other in header and delimiter not in header:
            name = "tabs" if other == "\t" else f"'{other}'"
            raise RunError(f"{path}:1: the header looks like that of a file separated by {name}: {cure}")


def plain(row: dict[str, object]) -> dict[str, object]:
    """A row of a typed table as JSON knows it: dates and bytes become text, NaN null."""
    return DECODER.decode(json.dumps(row, default=str))


def parquet(path: Path) -> Iterator[Row]:
    """Rows by number, from 1: Parquet has no lines."""
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                number += 1
                yield Row(f"{path}:{number}", plain(row))
    except (pyarrow.ArrowException, OSError) as error:
        raise RunError(f"{path}: damaged Parquet ({str(error).splitlines()[0]})") from None


def array(path: Path) -> Iterator[Row]:
    """The elements of one JSON array. What stands behind a broken element cannot be found, so that is a RunError."""
    with text(path, newline="\n") as file:
        window = Window(path, file)
        window.skip("[")
        if window.peek() == "]":
            window.skip("]")
        else:
            separator = ","
            while separator == ",":
                window.peek()
                place = f"{path}:{window.line}"
                yield Row(place, window.value())
                separator = "]" if window.peek() == "]" else ","
                window.skip(separator)
        if window.peek():
            window.fail("text after the end of the array", window.at)


class Window:
    """A sliding view of a JSON text: `at` is the next character in `text`, `line` its line in the file."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self.file = file
        self.text = ""
        self.at = 0
        self.line = 1
        self.column = 1  # of the first character of `text`

    def grow(self) -> bool:
        """Drop what is done and read on, at least as much again as is held, so that a long row costs linear time."""
        more = self.file.read(max(CHUNK, len(self.text) - self.at))
        self.column = self.column_of(self.at)
        self.text = self.text[self.at :] + more
        self.at = 0
        return bool(more)

    def column_of(self, position: int) -> int:
        newline = self.text.rfind("\n", 0, position)
        return self.column + position if newline < 0 else position - newline

    def move(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def fail(self, what: str, position: int) -> NoReturn:
        line = self.line + self.text.count("\n", self.at, position)
        raise RunError(f"{self.path}:{line}:{self.column_of(position)}: broken JSON array, {what}")

    def peek(self) -> str:
        """The next character that is not white space, without taking it; empty at the end of the file."""
        while True:
            # always a match: SPACE takes the empty string too
            self.move(SPACE.match(self.text, self.at).end())  # pyright: ignore[reportOptionalMemberAccess]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                return ""

    def skip(self, expected: str) -> None:
        if (found := self.peek()) != expected:
            self.fail(f"expected '{expected}', found {repr(found) if found else 'the end of the file'}", self.at)
        self.move(self.at + 1)

    def value(self) -> object:
        """Take one JSON value, of any length."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except BROKEN as error:
                offset = error.pos - self.at if isinstance(error, json.JSONDecodeError) else 0
                if self.grow():  # perhaps the value was only cut off by the window
                    continue
                self.fail(what(error) if isinstance(error, json.JSONDecodeError) else explain(error), self.at + offset)
            if end == len(self.text) and self.grow():  # a number may go on
                continue
            self.move(end)
            return value
