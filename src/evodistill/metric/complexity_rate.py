"""Complexity rate: a judge puts each instruction into one of five classes (arXiv 2412.11231 §4, figure 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from evodistill.backend import Backend, Sampling
from evodistill.metric import Score
from evodistill.metric.judged import VARIABLES, judged
from evodistill.parse import parse_label
from evodistill.record import Record

LABELS = ("very easy", "easy", "medium", "hard", "very hard")


@dataclass(frozen=True)
class ComplexityRate:
    """Value `complexity_rate`: 1 (very easy) to 5 (very hard); the label stands beside it."""

    model: str  # role that judges
    records: str | None = None  # step whose records are measured; null = the last
    prompt: str = "complexity_rate/intent"
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=16))

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: VARIABLES}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        return judged(
            records, models[self.model], self.sampling, self.prompt, partial(parse_label, labels=LABELS), score
        )


def score(record: Record, label: str | None) -> Score:
    value = float(LABELS.index(label) + 1) if label else None
    return Score.of(record, {"complexity_rate": value}, label=label)
