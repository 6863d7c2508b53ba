"""Reject records that hold text of a test: what a student has been trained on, a benchmark cannot ask it.

A record is contaminated where it shares n words in a row with the prompt or the reference solution of an item: n is 13
in GPT-3 (arXiv 2005.14165, appendix C), 8 with a coverage of 0.5 in Tülu 3 (arXiv 2411.15124). Each record is judged
by its own text, as there: a rewrite that no longer holds its seed's text stays when the seed goes.

    Decontaminate(benchmarks={"gsm8k": gsm8k})(records, {})
    Decontaminate(files=[{"path": "exam.jsonl", "field": "question"}], n=8, coverage=0.5)(records, {})
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from evodistill import RunError
from evodistill.backend import Backend
from evodistill.benchmark.items import Texts, check_file, read
from evodistill.evolution.eliminate import WORD, ngrams
from evodistill.record import Record, digest

log = logging.getLogger(__name__)

TEXTS = ("with_input", "with_output")


class Text(NamedTuple):
    """A prompt or a solution of an item: the item's name, and how many words the text has."""

    item: str
    n_words: int


@dataclass(frozen=True)
class Decontaminate:
    """Every record, in order; the contaminated ones rejected. Case, punctuation and white space make no difference; a
    character of a script without spaces is a word. A prompt of fewer than n words is found only as the whole
    instruction, input or both; a solution of fewer words says nothing, since a number is one."""

    # what the items are counts, not how a model is asked them: it stands in `sources`
    benchmarks: Mapping[str, Any] = field(default_factory=dict, metadata={"identity": False})  # by name
    files: Sequence[Mapping[str, str]] = field(default=(), metadata={"identity": False})  # more items: path and field
    n: int = 13
    coverage: float = 0.0  # share of a text's words that must lie in shared n-grams; 0 = one n-gram is enough
    text: str = "with_input"  # of a record | with_output: the answer too
    solutions: bool = True  # false: only what the items ask

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    alone: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be ≥ 1, got {self.n}")
        if not 0 <= self.coverage <= 1:
            raise ValueError(f"coverage must be in [0, 1], got {self.coverage}")
        if self.text not in TEXTS:
            raise ValueError(f"text must be one of {', '.join(TEXTS)}, got {self.text!r}")
        for number, file in enumerate(self.files):
            if set(file) != {"path", "field"}:
                raise ValueError(f"files[{number}] must be {{path: FILE, field: NAME}}, got {dict(file)}")
            check_file(file["path"], f"files[{number}]")
        if not self.chosen and not self.files:
            raise ValueError("there is no test to compare with; choose '+benchmark=[NAME]', or name files")

    @property
    def chosen(self) -> dict[str, Any]:
        """The benchmarks, without the settings of those that are not chosen."""
        return {name: test for name, test in self.benchmarks.items() if not isinstance(test, Mapping)}

    @property
    def sources(self) -> list[str]:
        """What the records are compared with, by content."""
        return [digest([[name, *texts] for name, texts in self.tests])]

    def ready(self) -> None:
        """Refuse at the start what would stop the step after all other work: no items, no such field."""
        items = Counter(name for name, _ in self.tests)
        log.info("decontaminate: %s", ", ".join(f"{n} items of {name}" for name, n in items.items()))

    @cached_property
    def tests(self) -> list[tuple[str, Texts]]:
        """(test, texts of an item), read once."""
        found = [(name, texts) for name, test in self.chosen.items() for texts in test.texts()]
        return found + [(Path(file["path"]).name, texts) for file in self.files for texts in rows(**file)]

    @cached_property
    def index(self) -> Index:
        index = Index(self.n)
        for name, texts in self.tests:
            for prompt in texts.prompts:
                index.add(f"{name} item {texts.id}", prompt, whole=True)
            for solution in texts.solutions if self.solutions else ():
                index.add(f"{name} item {texts.id}, its solution", solution)
        return index

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        out, hits = [], 0
        for record in records:
            found = self.found(record)
            hits += bool(found)
            out.append(record.reject("contaminated", found) if found else record)
        share = 100 * hits / len(records) if records else 0.0
        log.info("decontaminate: %d of %d records (%.2f %%) hold text of a test", hits, len(records), share)
        return out

    def found(self, record: Record) -> str:
        """The item whose text the record holds, and what they share; empty where there is none."""
        more = [record.output] if self.text == "with_output" else []
        for text in (record.prompt, *more):
            if told := self.index.shared(text, self.coverage):
                return told
        # a question may stand in the input, below an instruction such as "Solve this."
        return next(filter(None, map(self.index.whole, (record.prompt, record.instruction, record.input, *more))), "")


class Index:
    """The n-grams of the texts of tests: which text has each, and where."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.texts: list[Text] = []
        self.places: dict[str, list[tuple[int, int]]] = {}  # n-gram → (number of a text, of its first word there)
        self.wholes: dict[str, str] = {}  # a prompt of fewer words → its item

    def add(self, item: str, text: str, whole: bool = False) -> None:
        """A text of an item; `whole`: one of fewer than n words counts too."""
        words = split(text)
        for place, gram in enumerate(ngrams(words, self.n)):
            self.places.setdefault(gram, []).append((len(self.texts), place))
        if whole and 0 < len(words) < self.n:
            self.wholes.setdefault(" ".join(words), item)
        self.texts.append(Text(item, len(words)))

    def shared(self, text: str, coverage: float) -> str:
        """The item of which `text` covers most words, at least that share of them; empty where there is none."""
        covered: dict[int, set[int]] = {}
        first: dict[int, str] = {}
        for gram in dict.fromkeys(ngrams(split(text), self.n)):
            for number, place in self.places.get(gram, ()):
                covered.setdefault(number, set()).update(range(place, place + self.n))
                first.setdefault(number, gram)
        shares = {number: len(places) / self.texts[number].n_words for number, places in covered.items()}
        best = max(shares, key=lambda number: (shares[number], -number), default=None)
        if best is None or shares[best] < coverage:
            return ""
        return f"{self.texts[best].item}: {first[best]!r}; {shares[best]:.0%} of its words are shared"

    def whole(self, text: str) -> str:
        words = " ".join(split(text))
        item = self.wholes.get(words)
        return f"{item}: {words!r}, all of it" if item else ""


def split(text: str) -> list[str]:
    return WORD.findall(text.lower())


def rows(path: str, field: str) -> Iterator[Texts]:
    """The items of a file, by the number of their line."""
    empty = True
    for row in read(path):
        if row.fault or not isinstance(row.value, dict):
            raise RunError(f"{row.place}: no item ({row.fault or 'no object with fields'}); decontaminate.files")
        if not isinstance(row.value.get(field), str):
            there = ", ".join(name for name, value in row.value.items() if isinstance(value, str))
            raise RunError(f"{row.place}: no text in {field!r}, there is some in: {there}; decontaminate.files")
        yield Texts(row.place.rpartition(":")[2], [row.value[field]])
        empty = False
    if empty:
        raise RunError(f"{path} holds no item; decontaminate.files")
