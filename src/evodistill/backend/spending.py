"""What was spent at a server, in a table beside the request cache: a budget holds over jobs, roles and re-runs.

spending = Spending(Path("artifacts/requests.sqlite"), "evol_students", "https://api.example.com/v1")
spending.add(120, 80, 0.0004)
spending.total()     # (tokens, USD) of all processes that ever added to this study and server
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evodistill.backend.cache import named_errors

TABLE = """CREATE TABLE IF NOT EXISTS spent (
    study TEXT, server TEXT, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (study, server)
)"""
ADD = """INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    usd = usd + excluded.usd"""
TOTAL = "SELECT prompt_tokens + completion_tokens, usd FROM spent WHERE study = ? AND server = ?"


@dataclass(eq=False)
class Spending:
    """The bill of a study (of a run, where it belongs to none) at a server. Each addition is one statement, so that
    several processes lose none of another's."""

    path: Path  # of the request cache
    study: str
    server: str

    @cached_property
    def db(self) -> sqlite3.Connection:
        # the thread that asks the server adds, another one closes
        db = sqlite3.connect(self.path, timeout=120, isolation_level=None, check_same_thread=False)
        # no fsync for each attempt: a killed process loses nothing, a power cut the last seconds
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(TABLE)
        return db

    def add(self, prompt_tokens: int, completion_tokens: int, usd: float) -> None:
        """One attempt that the server has billed; it is remembered when this returns."""
        with named_errors(self.path):
            self.db.execute(ADD, (self.study, self.server, prompt_tokens, completion_tokens, usd))

    def total(self) -> tuple[int, float]:
        """(tokens, USD) so far; what has no price costs 0 USD."""
        with named_errors(self.path):
            return self.db.execute(TOTAL, (self.study, self.server)).fetchone() or (0, 0.0)

    def close(self) -> None:
        """It can be used again afterwards."""
        if db := self.__dict__.pop("db", None):
            db.close()
