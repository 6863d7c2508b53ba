"""Complexity rate: a judge puts each instruction into one of five classes (arXiv 2412.11231 §4, figure 2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from evodistill.backend import Backend, Sampling
from evodistill.metric import Score
from evodistill.metric.agreement import agreement
from evodistill.metric.judged import VARIABLES, beside, judged
from evodistill.parse import parse_label
from evodistill.record import Record

LABELS = ("very easy", "easy", "medium", "hard", "very hard")


@dataclass(frozen=True)
class ComplexityRate:
    """Value `complexity_rate`: 1 (very easy) to 5 (very hard); the label stands beside it.

    With a `second` judge also `complexity_rate_second`, and for each round `complexity_rate_kappa`, how far the two
    agree."""

    model: str  # role that judges
    second: str | None = None  # role that judges as well
    records: str | None = None  # step whose records are measured; null = the last
    prompt: str = "complexity_rate/intent"
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=16))

    streams: ClassVar[bool] = True

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.second) if self.second else (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: VARIABLES}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        parse = partial(parse_label, labels=LABELS)
        scores = judged(records, models[self.model], self.sampling, self.prompt, parse, score)
        if not self.second:
            return scores
        others = judged(records, models[self.second], self.sampling, self.prompt, parse, score)
        return beside(scores, others, "complexity_rate")

    def whole(self, records: Collection[Record], scores: Collection[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        if not self.second:
            return {}
        return {"complexity_rate_kappa": agreement(scores, "complexity_rate", "complexity_rate_second")}


def score(record: Record, label: str | None) -> Score:
    value = float(LABELS.index(label) + 1) if label else None
    return Score.of(record, {"complexity_rate": value}, label=label)
