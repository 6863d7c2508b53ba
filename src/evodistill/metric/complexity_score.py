"""Complexity score: a judge scores each instruction from 0 to 100 (arXiv 2412.11231 §4, table 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evodistill.metric import Score
from evodistill.metric.judged import Judged
from evodistill.parse import Parsed, parse_score
from evodistill.record import Record

LOW, HIGH = 0, 100


@dataclass(frozen=True)
class ComplexityScore(Judged):
    """Value `complexity_score`: 0 (trivial) to 100 (extremely difficult)."""

    # wording printed in the paper's figure 19; the public script's is complexity_score/short (CS3)
    prompt: str = "complexity_score/intent"

    VALUE: ClassVar[str] = "complexity_score"

    def parse(self, reply: str) -> Parsed[float]:
        return parse_score(reply, low=LOW, high=HIGH)

    def score(self, record: Record, found: float | None) -> Score:
        return Score.of(record, {self.VALUE: found})
