"""Records by the portion: what a run holds in memory does not grow with the records it goes through.

The runner reads records from disk as they are needed, gives them in portions to the steps and metrics that allow it
(`streams`), and writes what comes of each portion before it reads the next. The files are those that one call makes.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from evodistill import RunError
from evodistill.record import read_jsonl
from evodistill.store import named_errors

PORTION = 50_000  # records, with their requests some 0.2 GiB; a batch of any engine is far below it
CACHE_KIB = 65_536  # of SQLite's pages in memory

T = TypeVar("T")


class Rows(Generic[T]):
    """The rows of JSON-lines files and spools, read anew each time that they are gone through."""

    def __init__(self, parse: Callable[[Mapping[str, Any]], T], *sources: Path | Spool, n: int = 0) -> None:
        self.parse, self.sources, self.n = parse, list(sources), n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[T]:
        for source in self.sources:
            yield from map(self.parse, read_jsonl(source) if isinstance(source, Path) else map(json.loads, source))

    def add(self, source: Path, n: int) -> None:
        self.sources.append(source)
        self.n += n


def portions(rows: Iterable[T]) -> Iterator[list[T]]:
    rows = iter(rows)
    while portion := list(islice(rows, PORTION)):
        yield portion


class Spool:
    """Lines that come in groups, on disk until they are read: group after group, and in each as they came. Their files
    have no names: nothing of them stays, however the process ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.groups: dict[tuple[Any, ...], IO[str]] = {}
        self.n = 0

    def extend(self, lines: Iterable[tuple[tuple[Any, ...], str]]) -> None:
        with named_errors(self.folder):
            for group, line in lines:
                if group not in self.groups:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=self.folder)  # noqa: SIM115
                    self.groups[group] = file
                self.groups[group].write(line)
                self.n += 1
            for file in self.groups.values():
                file.flush()

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[str]:
        for _, file in sorted(self.groups.items()):
            file.seek(0)
            yield from file


class Seen:
    """A map from hashes to what was seen with them, in a temporary file of SQLite (where SQLITE_TMPDIR says)."""

    def __init__(self) -> None:
        with named():
            self.db = sqlite3.connect("", isolation_level=None)
            for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
                self.db.execute(f"PRAGMA {setting}")
            self.db.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
            self.db.execute("BEGIN")

    def add(self, keys: Iterable[str]) -> int:
        """How many of them are new."""
        with named():
            before = self.db.total_changes
            self.db.executemany("INSERT OR IGNORE INTO seen VALUES (?, NULL)", ((key,) for key in keys))
            return self.db.total_changes - before

    def keep(self, key: str, value: str) -> str | None:
        """Keep the value, or give the one that the key has already."""
        with named():
            kept = (key, value.encode("utf-8", "surrogatepass"))
            if self.db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", kept).rowcount:
                return None
            (first,) = self.db.execute("SELECT value FROM seen WHERE key = ?", (key,)).fetchone()
            return first.decode("utf-8", "surrogatepass")

    def count(self, key: str) -> int:
        """How often the key was counted before."""
        with named():
            (n,) = self.db.execute(
                "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value", (key,)
            ).fetchone()
            return n - 1


class Draws:
    """How many equal chats came before in each call of a step that is given its records by the portion: its n-th call
    of one portion goes on where its n-th call of the portion before ended."""

    def __init__(self) -> None:
        self.calls: list[Seen] = []
        self.number = 0

    def portion(self) -> None:
        """A new portion begins."""
        self.number = 0

    def call(self) -> Callable[[str], int]:
        """A new call begins."""
        if self.number == len(self.calls):
            self.calls.append(Seen())
        self.number += 1
        return self.calls[self.number - 1].count


@contextmanager
def named() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RunError(f"a temporary file: {error}; free the disk, or name another folder with SQLITE_TMPDIR") from None
