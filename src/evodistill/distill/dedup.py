"""Drop near-duplicates: of records that are near one another the first is left, or the best (DEITA's score-first,
diversity-aware selection, arXiv 2312.15685).

    Dedup()(records, {})                                                         by words
    Dedup(by="vectors", threshold=0.9)(records, {"embedder": backend})           by meaning
    Dedup(by="vectors", metric=Reward("reward"), value="reward")(records, …)     the best of each first
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evodistill.backend import Backend
from evodistill.distill.near_duplicates import NearDuplicates
from evodistill.metric.neighbours import earlier
from evodistill.record import Record

log = logging.getLogger(__name__)

WAYS = ("words", "vectors")
TEXTS = ("instruction", "with_input", "with_output")


@dataclass(frozen=True)
class Dedup:
    """Every record, in order; one that is near a better one, which is left itself, is rejected."""

    by: str = "words"  # | vectors: an embedder's
    words: NearDuplicates = field(default_factory=NearDuplicates)
    model: str = "embedder"  # by vectors: role that embeds
    threshold: float = 0.9  # by vectors: cosine similarity from which two are near
    text: str = "with_input"  # of a record | instruction | with_output: the answer too
    metric: Any = None  # configured; null = the earlier record is the better one
    value: str | None = None  # of the metric
    lowest: bool = False  # the smallest is the best

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise ValueError(f"by must be one of {', '.join(WAYS)}, got {self.by!r}")
        if self.text not in TEXTS:
            raise ValueError(f"text must be one of {', '.join(TEXTS)}, got {self.text!r}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")
        if (self.metric is None) != (self.value is None):
            raise ValueError("metric and value belong together: give both, or neither for the order of the records")

    @property
    def roles(self) -> tuple[str, ...]:
        embedder = (self.model,) if self.by == "vectors" else ()
        return tuple(dict.fromkeys((*embedder, *(self.metric.roles if self.metric else ()))))

    @property
    def prompts(self) -> Mapping[str, Sequence[str]]:
        return self.metric.prompts if self.metric else {}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        order = self.best_first([record for record in records if not record.fault], models)
        texts = [self.of(record) for record in order]
        near = self.by_words(texts) if self.by == "words" else self.by_vectors(texts, models[self.model])
        out = {record.id: record for record in records}
        for record, found in zip(order, near, strict=True):
            if found:
                place, similar = found
                out[record.id] = record.reject("near_duplicate", f"of {order[place].id}{similar}")
        return list(out.values())

    def of(self, record: Record) -> str:
        if self.text == "instruction":
            return record.instruction
        return f"{record.prompt}\n{record.output}" if self.text == "with_output" else record.prompt

    def best_first(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        """The records that have a value by that, then the others; equal ones as they come."""
        if self.metric is None or self.value is None:
            return records
        values = {score.id: score.named(self.value, "dedup.value") for score in self.metric(records, models)}
        if missing := sum(value is None for value in values.values()):
            log.warning("dedup: %d of %d records have no %s and come last", missing, len(records), self.value)
        sign = 1 if self.lowest else -1

        def key(record: Record) -> tuple[bool, float]:
            value = values[record.id]
            return value is None, sign * (value or 0.0)

        return sorted(records, key=key)

    def by_words(self, texts: Sequence[str]) -> list[tuple[int, str] | None]:
        """For each text the place of the one before it, itself left, that it is near to; None where there is none."""
        found: list[tuple[int, str] | None] = []
        places: dict[str, int] = {}
        for place, (text, near) in enumerate(zip(texts, self.words([], texts), strict=True)):
            found.append(None if near is None else (places[near], ""))
            if near is None:
                places[text] = place
        return found

    def by_vectors(self, texts: Sequence[str], embedder: Backend) -> list[tuple[int, str] | None]:
        """The same by their vectors, with what to say of it. A text without a vector is near to none."""
        import numpy as np

        found: list[tuple[int, str] | None] = [None] * len(texts)
        vectors = np.stack(embedder.embed(texts)) if texts else np.zeros((0, 1), np.float32)
        there = np.flatnonzero(np.all(np.isfinite(vectors), axis=1))
        for number, near in zip(there.tolist(), earlier(vectors[there], self.threshold), strict=True):
            if near:
                found[number] = int(there[near[0]]), f", cosine {near[1]:.3f}"
        return found
