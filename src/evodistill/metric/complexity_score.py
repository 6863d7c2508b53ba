"""Complexity score: a judge scores each instruction from 0 to 100 (arXiv 2412.11231 §4, table 13)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from evodistill.backend import Backend, Sampling
from evodistill.metric import Score
from evodistill.metric.agreement import agreement
from evodistill.metric.judged import VARIABLES, beside, judged
from evodistill.parse import parse_score
from evodistill.record import Record

LOW, HIGH = 0, 100


@dataclass(frozen=True)
class ComplexityScore:
    """Value `complexity_score`: 0 (trivial) to 100 (extremely difficult).

    With a `second` judge also `complexity_score_second`, and for each round `complexity_score_kappa`, how far the two
    agree."""

    model: str  # role that judges
    second: str | None = None  # role that judges as well
    records: str | None = None  # step whose records are measured; null = the last
    # wording printed in the paper's figure 19; the public script's is complexity_score/short (CS3)
    prompt: str = "complexity_score/intent"
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=16))

    streams: ClassVar[bool] = True

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.second) if self.second else (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: VARIABLES}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        parse = partial(parse_score, low=LOW, high=HIGH)
        scores = judged(records, models[self.model], self.sampling, self.prompt, parse, score)
        if not self.second:
            return scores
        others = judged(records, models[self.second], self.sampling, self.prompt, parse, score)
        return beside(scores, others, "complexity_score")

    def whole(self, records: Collection[Record], scores: Collection[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        if not self.second:
            return {}
        return {"complexity_score_kappa": agreement(scores, "complexity_score", "complexity_score_second")}


def score(record: Record, value: float | None) -> Score:
    return Score.of(record, {"complexity_score": value})
