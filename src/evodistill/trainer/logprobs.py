"""A teacher's log-probabilities on disk: at each position of an answer its k likeliest tokens, and the tail, which is
what all other tokens have together.

    samples.jsonl   a line a sample: {"id": …, "n": positions, "read": hash of all ids that the teacher read}
    answers.i32     [positions]        the tokens of the answers
    tokens.i32      [positions, k]     the likeliest tokens
    logprobs.f16    [positions, k+1]   their log-probabilities, the tail last
    about.json      {"k": …, "temperature": …, "vocabulary": …}

So 6 bytes a kept token and 6 a position, and a line a sample. Readers map the files into memory: nothing is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from evodistill import RunError
from evodistill.record import read_jsonl, to_line

SAMPLES, ABOUT = "samples.jsonl", "about.json"
TYPES = {"answers.i32": np.dtype("<i4"), "tokens.i32": np.dtype("<i4"), "logprobs.f16": np.dtype("<f2")}


@dataclass(frozen=True, slots=True)
class About:
    """What holds for every position: the distribution at `temperature` over the first `vocabulary` tokens."""

    k: int
    temperature: float
    vocabulary: int

    def width(self, file: str) -> int:
        return {"answers.i32": 1, "tokens.i32": self.k, "logprobs.f16": self.k + 1}[file]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a teacher reads of one row: all ids, of which the last `n` are the answer."""

    id: str
    ids: Sequence[int]
    n: int

    @property
    def read(self) -> str:
        return hashlib.blake2b(np.asarray([self.n, *self.ids], "<i4").tobytes(), digest_size=8).hexdigest()

    @property
    def answer(self) -> Sequence[int]:
        return self.ids[len(self.ids) - self.n :]


class Writer:
    """Appends samples; one that was killed goes on behind the last whole sample. `known` are the ids that are there."""

    def __init__(self, folder: Path, about: About) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ABOUT).write_text(json.dumps(asdict(about)) + "\n", encoding="utf-8")
        self.about, self.samples = about, folder / SAMPLES
        self.paths = {name: folder / name for name in TYPES}
        self.known: set[str] = set()
        self.files: dict[str, BinaryIO] = {}

    def __enter__(self) -> Writer:
        for path in (self.samples, *self.paths.values()):
            path.touch()
        rows = {name: path.stat().st_size // self.row(name) for name, path in self.paths.items()}
        positions, whole, place = 0, 0, min(rows.values())
        with self.samples.open("rb") as lines:
            for line in lines:
                told = json.loads(line) if line.endswith(b"\n") else None
                if told is None or positions + told["n"] > place:
                    break
                self.known.add(told["id"])
                positions, whole = positions + told["n"], whole + len(line)
        for path, size in [(self.samples, whole), *((self.paths[name], positions * self.row(name)) for name in TYPES)]:
            with path.open("r+b") as file:
                file.truncate(size)
        self.files = {name: path.open("ab") for name, path in [(SAMPLES, self.samples), *self.paths.items()]}
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files.values():
            file.close()

    def row(self, name: str) -> int:
        """Bytes of a position."""
        return self.about.width(name) * TYPES[name].itemsize

    def add(self, sample: Sample, tokens: np.ndarray, logprobs: np.ndarray) -> None:
        """`tokens` [n, k] and `logprobs` [n, k+1] of a sample. Its line comes last: it says that all of it is there."""
        arrays = dict(zip(TYPES, (np.asarray(sample.answer), tokens, logprobs), strict=True))
        for name, array in arrays.items():
            if array.size != sample.n * self.about.width(name):
                raise RuntimeError(f"{name}: {array.shape} for {sample.n} positions of {self.about.width(name)} values")
            self.files[name].write(np.ascontiguousarray(array, TYPES[name]).tobytes())
            self.files[name].flush()
        self.files[SAMPLES].write(to_line({"id": sample.id, "n": sample.n, "read": sample.read}).encode())
        self.files[SAMPLES].flush()
        self.known.add(sample.id)


class Logprobs:
    """Reads what a Writer has left, by the id of a sample (W1)."""

    def __init__(self, folder: Path) -> None:
        if not (folder / ABOUT).is_file():
            raise RunError(f"{folder} holds no log-probabilities of a teacher; name an artifacts/logprobs-<hash>")
        self.folder, self.about = folder, About(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
        rows = list(read_jsonl(folder / SAMPLES))
        self.numbers = {row["id"]: number for number, row in enumerate(rows)}
        self.read = [row["read"] for row in rows]
        self.starts = np.concatenate([[0], np.cumsum([row["n"] for row in rows], dtype=np.int64)])
        shapes = {name: (int(self.starts[-1]), self.about.width(name)) for name in TYPES}
        self.arrays = {
            name: np.memmap(folder / name, TYPES[name], "r", shape=shapes[name]) if shapes[name][0] else None
            for name in TYPES
        }

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, id: str, name: str) -> np.ndarray:
        """The rows of one file that belong to a sample: [n, width]."""
        number, array = self.numbers[id], self.arrays[name]
        assert array is not None
        return array[self.starts[number] : self.starts[number + 1]]

    def check(self, samples: Iterable[Sample]) -> None:
        """Every sample is here, and the teacher read these very ids: the answer, the template and the tokenizer are
        still what they were (W6)."""
        missing, changed, n = list[str](), list[str](), 0
        for sample in samples:
            n += 1
            if sample.id not in self.numbers:
                missing.append(sample.id)
            elif self.read[self.numbers[sample.id]] != sample.read:
                changed.append(sample.id)
        if missing or changed:
            named = ((missing, "are not there"), (changed, "have other tokens than the teacher read"))
            told = [f"{len(ids)} {what} ({ids[0]} for one)" for ids, what in named if ids]
            raise RunError(
                f"{self.folder}: of {n} samples {' and '.join(told)}; ask the teacher anew with logprobs=null, "
                "or set answers, chat template, tokenizer and max_length back"
            )
