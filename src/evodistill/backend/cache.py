"""The request cache: what a model has answered once is never asked again.

It lies under every backend, as one SQLite file in WAL mode, keyed by model identity + messages + sampling + n-th draw.
A finished group of requests is on disk before the step sees it: this is what makes a killed run go on at the level of
single requests, and what lets two jobs share work. Errors are not kept, so that they are tried again.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from evodistill import RunError
from evodistill.backend import Backend, Chat, Classified, Completion, Logprobs, Request, Rewarded, Usage
from evodistill.progress import Progress
from evodistill.record import digest

if TYPE_CHECKING:
    import numpy as np

    from evodistill.stream import Draws
    from evodistill.weights import Weights

VERSION = 1
LOOKUP = 500  # keys per SELECT; SQLite allows 32,766 variables, more gains nothing

COMPLETION = tuple(field.name for field in fields(Completion))

T = TypeVar("T", Completion, Logprobs, "np.ndarray", Rewarded, Classified)


class Cache:
    """A durable map from 16-byte keys to bytes that several processes may share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(path, timeout=120, isolation_level=None)
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise RunError(
                    f"{path} was written by a newer evodistill (format {version}, this one reads {VERSION}): "
                    "update, or move it away"
                )
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute(
                "PRAGMA synchronous=FULL"
            )  # one fsync per group: survives a power cut, costs about a millisecond
            self.db.execute("CREATE TABLE IF NOT EXISTS results (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
            self.db.execute(f"PRAGMA user_version={VERSION}")

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that are there."""
        found: dict[str, bytes] = {}
        with named_errors(self.path):
            for start in range(0, len(keys), LOOKUP):
                part = [bytes.fromhex(key) for key in keys[start : start + LOOKUP]]
                marks = ",".join("?" * len(part))
                rows = self.db.execute(f"SELECT key, value FROM results WHERE key IN ({marks})", part)
                found |= {key.hex(): value for key, value in rows}
        return found

    def put(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Keep the values; on disk when this returns."""
        if not items:
            return
        with named_errors(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            self.db.executemany(
                "INSERT OR IGNORE INTO results VALUES (?, ?)", [(bytes.fromhex(key), value) for key, value in items]
            )
            self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors, as one line with the cure."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RunError(
            f"{path}: {error}; free the disk or fix the folder's rights, then run the same command again"
        ) from None
    except sqlite3.DatabaseError as error:
        raise RunError(
            f"{path} is damaged ({error}): move it away; finished steps are kept, open requests are asked again"
        ) from None
    except OSError as error:
        raise RunError(
            f"{path}: {error.strerror}; free the disk or fix the folder's rights, then run the same command again"
        ) from None


class Cached(Backend):
    """A backend with the cache under it. Counts what was asked, found and computed in `usage`."""

    def __init__(self, inner: Backend, cache: Cache) -> None:
        super().__init__(name=inner.name, size=inner.size, price=inner.price)
        self.inner, self.cache, self.usage = inner, cache, Usage()
        self.draws: Draws | None = None  # while a step is given its records by the portion

    def counter(self) -> Callable[[str], int]:
        return self.draws.call() if self.draws else super().counter()

    @property
    def weights(self) -> Weights:  # type: ignore[override]
        return self.inner.weights

    @property
    def identity(self) -> str:
        return self.inner.identity

    @property
    def engine_facts(self) -> dict[str, str | None]:
        return self.inner.engine_facts

    def close(self) -> None:
        self.inner.close()

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        keys = [request.key for request in requests]
        return self.through(
            keys, lambda todo: self.inner.complete([requests[i] for i in todo]), pack_completion, unpack_completion
        )

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        identity, what = self.identity, "logprobs" if limit is None else f"logprobs {limit}"
        keys = [digest([identity, what, list(text)], 16) for text in texts]
        return self.through(
            keys, lambda todo: self.inner.score([texts[i] for i in todo], limit), pack_logprobs, unpack_logprobs
        )

    def vectors(self, texts: Sequence[str]) -> Iterator[list[tuple[int, np.ndarray]]]:
        identity = self.identity
        keys = [digest([identity, "vector", text], 16) for text in texts]
        return self.through(keys, lambda todo: self.inner.vectors([texts[i] for i in todo]), pack_vector, unpack_vector)

    def unread(self, texts: Sequence[str]) -> list[int]:
        return self.inner.unread(texts)

    def rewards(self, chats: Sequence[Chat]) -> Iterator[list[tuple[int, Rewarded]]]:
        identity = self.identity
        keys = [digest([identity, "reward", list(chat)], 16) for chat in chats]
        return self.through(keys, lambda todo: self.inner.rewards([chats[i] for i in todo]), pack_reward, unpack_reward)

    def classes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[int, Classified]]]:
        identity = self.identity
        keys = [digest([identity, "classes", list(pair)], 16) for pair in pairs]
        return self.through(keys, lambda todo: self.inner.classes([pairs[i] for i in todo]), pack_labels, unpack_labels)

    def through(
        self,
        keys: Sequence[str],
        ask: Callable[[list[int]], Iterator[list[tuple[int, T]]]],
        pack: Callable[[T], bytes],
        unpack: Callable[[bytes], T],
    ) -> Iterator[list[tuple[int, T]]]:
        """Give what is known, ask for the rest (each key once), and keep every group before passing it on."""
        known = self.cache.get(list(dict.fromkeys(keys)))
        wanted: dict[str, list[int]] = {}  # key → positions
        hits: list[tuple[int, T]] = []
        for position, key in enumerate(keys):
            if (value := known.get(key)) is not None:
                hits.append((position, unpack(value)))
            else:
                wanted.setdefault(key, []).append(position)
        self.usage.cached += len(hits) + sum(len(positions) - 1 for positions in wanted.values())
        del known
        yield hits
        if not wanted:
            return
        todo = list(wanted)
        with Progress(self.name, len(todo), self.usage, done_before=len(hits)) as progress:
            for group in ask([wanted[key][0] for key in todo]):
                self.cache.put([(todo[number], pack(value)) for number, value in group if not failure(value)])
                for _, value in group:
                    self.count(value)
                progress.advance(len(group))
                yield [(position, value) for number, value in group for position in wanted[todo[number]]]

    def count(self, value: Completion | Logprobs | np.ndarray | Rewarded | Classified) -> None:
        self.usage.requests += 1
        if isinstance(value, Completion):
            self.usage.passing += value.passing
            self.usage.prompt_tokens += value.prompt_tokens
            self.usage.completion_tokens += value.completion_tokens
        elif isinstance(value, Logprobs):
            self.usage.prompt_tokens += sum(len(part) for part in value.parts)
        self.usage.errors += bool(failure(value))


def failure(value: object) -> str:
    """Why a result is none."""
    return getattr(value, "error", "") or getattr(value, "reason", "")


def pack_completion(value: Completion) -> bytes:
    return json.dumps({name: field for name in COMPLETION if (field := getattr(value, name))}).encode()


def unpack_completion(data: bytes) -> Completion:
    return Completion(**({"text": "", "finish_reason": ""} | json.loads(data)))


def pack_logprobs(value: Logprobs) -> bytes:
    """Number of parts, length of each (uint32), then the float32 values; at the end what was cut, if anything was."""
    lengths = [len(part) for part in value.parts]
    values = b"".join(part.astype("<f4").tobytes() for part in value.parts)
    head = struct.pack(f"<{len(lengths) + 1}I", len(lengths), *lengths)
    return head + values + (struct.pack("<I", value.cut) if value.cut else b"")


def unpack_logprobs(data: bytes) -> Logprobs:
    import numpy as np

    (n,) = struct.unpack_from("<I", data)
    lengths = struct.unpack_from(f"<{n}I", data, 4)
    ends = np.cumsum((0, *lengths))
    values = np.frombuffer(data, "<f4", offset=4 * (n + 1), count=int(ends[-1]))
    rest = data[4 * (n + 1) + values.nbytes :]
    cut = struct.unpack("<I", rest)[0] if rest else 0
    return Logprobs(tuple(values[start:end] for start, end in pairwise(ends)), cut=cut)


def pack_vector(value: np.ndarray) -> bytes:
    return value.astype("<f4").tobytes()


def unpack_vector(data: bytes) -> np.ndarray:
    import numpy as np

    return np.frombuffer(data, "<f4")


def pack_reward(value: Rewarded) -> bytes:
    assert value.value is not None  # one without a value has a reason and is not kept
    return struct.pack("<d", value.value)


def unpack_reward(data: bytes) -> Rewarded:
    return Rewarded(*struct.unpack("<d", data))


def pack_labels(value: Classified) -> bytes:
    return json.dumps(dict(value.labels)).encode()


def unpack_labels(data: bytes) -> Classified:
    return Classified(json.loads(data))
