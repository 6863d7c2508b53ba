"""A round of TAPIR's curriculum (arXiv 2405.13448): more and more of what the student finds hard, in balanced tasks.

    Tapir(fit=MFD(), balance=Resample(…), answers=Respond("teacher"), round=1)(answered, models)

The pool are the answered records. The student answers them too, and a judge says which are hard for it. The hard ones
are drawn to given task shares; where a class has too few, new ones are written after them and join the pool. The
training set of round r are children of all these, with `origin.round` r and `origin.step` "tapir": a share α_r of hard
ones, which grows by the round, and the rest of the others. A trainer learns from them with `only: round<r>`; the next
round's `fit.student` is the role that came out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from evodistill.backend import Backend
from evodistill.distill.mfd import MFD, hard
from evodistill.distill.mix import pretty
from evodistill.distill.resample import Resample
from evodistill.distill.respond import Respond
from evodistill.distill.written import distinct, kept
from evodistill.record import Made, Record, digest, split

log = logging.getLogger(__name__)

STEP = "tapir"


@dataclass(frozen=True)
class Tapir:
    """The pool as it was, what joins it, and the training set of this round."""

    fit: MFD
    balance: Resample  # of the hard ones; its deficit says what a class with too few does
    answers: Respond  # to the hard ones, new and old, with prompts of their task classes
    round: int = 1
    share: float = 0.3  # of hard records in round 1
    growth: float = 0.2  # of that share from one round to the next, up to 1
    size: int | None = None  # of the training set; null = that of the pool
    min_hard: float = 0.0  # share of the pool; below it the student has learned it, and no set is made
    seed: int = 0  # of the draw of others

    def __post_init__(self) -> None:
        if self.round < 1:
            raise ValueError(f"round must be ≥ 1, got {self.round}")
        if not 0 < self.share <= 1 or self.growth < 0:
            raise ValueError(f"share must be in (0, 1] and growth ≥ 0, got {self.share} and {self.growth}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be ≥ 1, or null, got {self.size}")

    @property
    def alpha(self) -> float:
        return min(1.0, self.share + (self.round - 1) * self.growth)

    @property
    def mark(self) -> str:
        """Key of `extra` that is true in this round's training set, for a trainer's `only`."""
        return f"round{self.round}"

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.fit.roles, *self.balance.roles, *self.answers.roles)))

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {**self.fit.prompts, **self.balance.prompts, **self.answers.prompts}

    def stand_in(self, sentence: Callable[[], str]) -> str:
        return self.fit.stand_in(lambda: self.balance.stand_in(sentence))

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> Made:
        pool = [record for record in records if not record.fault and record.output and record.origin.step != STEP]
        pool = self.fit(pool, models)
        pool = [*self.balance.labels([r for r in pool if hard(r)], models), *(r for r in pool if not hard(r))]
        hard_ones, others = [r for r in pool if hard(r)], [r for r in pool if not hard(r)]
        known = {record.id: record for record in pool}
        given = [known.get(record.id, record) for record in records]
        if len(hard_ones) < max(1, self.min_hard * len(pool)):
            told = "round %d: %d of %d records are hard: no training set; leave it and its trainer out of steps"
            log.warning(told, self.round, len(hard_ones), len(pool))
            return Made(given, self.report(hard_ones, others, []))
        size = self.size or len(pool)
        n = max(1, round(self.alpha * size))
        balance = replace(self.balance, size=n, seed=self.balance.seed + self.round)
        balanced = balance.mix(hard_ones, models, known=pool)
        drawn, left = split(balanced.records)
        # one that is drawn twice is twice a child of the one in the pool
        old = [known.get(record.id) or known[record.origin.parent] for record in drawn if record.output]
        answered, failed = split(self.answers([record for record in drawn if not record.output], models))
        training = [
            *self.answers(distinct(self.taken(record, "hard", "") for record in old), models),
            *(self.taken(record, "expand", record.output) for record in answered),
            *(self.taken(record, "base", record.output) for record in self.draw(others, size - n)),
        ]
        lost = [record for record in left if record.id not in known]  # attempts that were no good
        files = self.report(hard_ones, others, training) | dict(balanced.files)
        return Made([*given, *answered, *failed, *lost, *training], files)

    def taken(self, record: Record, operation: str, output: str) -> Record:
        """The record as one of this round's training set."""
        extra = (dict(record.extra) if output else kept(record)) | {self.mark: True}
        origin = {"step": STEP, "operation": operation, "round": self.round, "model": ""}
        return record.child(record.instruction, record.input, output, extra=extra, **origin)

    def draw(self, others: Iterable[Record], n: int) -> list[Record]:
        return sorted(others, key=lambda record: digest([self.seed, self.round, record.id]))[: max(n, 0)]

    def report(self, hard_ones: list[Record], others: list[Record], training: list[Record]) -> dict[str, list[str]]:
        """curriculum.json: what the round had to draw from, and what it drew."""
        usable, _ = split(training)
        by = {name: sum(r.origin.operation == name for r in usable) for name in ("hard", "expand", "base")}
        told = {"round": self.round, "alpha": self.alpha, "hard": len(hard_ones), "others": len(others), "drawn": by}
        told |= {"share_of_hard": 1 - by["base"] / len(usable) if usable else None}
        log.info("round %d: alpha %.2f, %d hard, drawn %s", self.round, self.alpha, len(hard_ones), by)
        return {"curriculum.json": [pretty(told)]}
