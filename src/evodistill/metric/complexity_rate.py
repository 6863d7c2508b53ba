"""Complexity rate: a judge puts each instruction into one of five classes (arXiv 2412.11231 §4, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evodistill.metric import Score
from evodistill.metric.judged import Judged
from evodistill.parse import Parsed, parse_label
from evodistill.record import Record

LABELS = ("very easy", "easy", "medium", "hard", "very hard")


@dataclass(frozen=True)
class ComplexityRate(Judged):
    """Value `complexity_rate`: 1 (very easy) to 5 (very hard); the label stands beside it."""

    prompt: str = "complexity_rate/intent"

    VALUE: ClassVar[str] = "complexity_rate"

    def parse(self, reply: str) -> Parsed[str]:
        return parse_label(reply, LABELS)

    def score(self, record: Record, found: str | None) -> Score:
        value = float(LABELS.index(found) + 1) if found else None
        return Score.of(record, {self.VALUE: value}, label=found)
