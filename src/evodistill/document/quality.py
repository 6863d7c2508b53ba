"""Chunks that are no prose, or that stand somewhere else already, are rejected with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evodistill.backend import Backend
from evodistill.distill.near_duplicates import NearDuplicates
from evodistill.record import Record


@dataclass(frozen=True)
class Quality:
    """Bounds of a chunk that seeds are made of; null = not checked."""

    min_chars: int = 200
    min_letters: float | None = 0.6  # share of the characters that are not white space
    max_repeated: float | None = 0.3  # share of the commonest word 3-gram among them
    languages: Sequence[str] | None = None  # ISO 639-1, such as [en, zh]
    minhash: float | None = 0.8  # Jaccard of word 3-grams to an earlier chunk, of any document

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        for name in ("min_letters", "max_repeated", "minhash"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], or null, got {value}")

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        done = {record.id: self.judged(record) for record in records}
        left = [record for record in done.values() if not record.fault]
        if self.minhash:
            near = NearDuplicates(rouge_l=None, minhash=self.minhash)([], [record.input for record in left])
            for record, known in zip(left, near, strict=True):
                if known is not None:
                    done[record.id] = record.reject("near_duplicate", known[:200])
        return [done[record.id] for record in records]

    def judged(self, record: Record) -> Record:
        text = record.input
        dense = "".join(text.split())
        if len(text.strip()) < self.min_chars:
            return record.reject("too_short", f"{len(text.strip())} of {self.min_chars} characters")
        letters = sum(character.isalpha() for character in dense) / len(dense)
        if self.min_letters is not None and letters < self.min_letters:
            return record.reject("few_letters", f"{letters:.2f} of the characters")
        if self.max_repeated is not None and (share := repeated(text)) > self.max_repeated:
            return record.reject("repetitive", f"{share:.2f} of its word 3-grams are the same one")
        if self.languages is not None:
            import py3langid

            language, _ = py3langid.classify(text)
            if language not in self.languages:
                return record.reject("language", f"{language}; languages={list(self.languages)}")
        return record


def repeated(text: str) -> float:
    words = text.lower().split()
    grams = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(grams.values()) / grams.total() if grams.total() >= 10 else 0.0
