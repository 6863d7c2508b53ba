"""Log-probability: how sure the evolver was of its evolution (arXiv 2412.11231 §5, figure 5).

Read from what the evolution kept with each record (`sampling.logprobs=1`), before temperature and top_p under
transformers and vLLM; a server behind `api` may give others (LP3). Rejected evolutions are no records and have none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from evodistill.backend import Backend
from evodistill.evolution.evolution import KEPT
from evodistill.metric import Score
from evodistill.record import Record
from evodistill.results import summary

VALUES = ("top_probability", "top_probability_first", "chosen_probability", "top_chosen")
# first and last position, from 1: the curve over positions in few numbers
BINS: tuple[tuple[int, int | None], ...] = ((1, 1), (2, 5), (6, 20), (21, 100), (101, None))


@dataclass(frozen=True)
class Logprob:
    """Means over the output positions of a record: `top_probability` of the most probable token and
    `chosen_probability` of the drawn one; `top_probability_first` over the first positions alone; `top_chosen`, the
    share of positions where the most probable token was drawn. And, over all records of a round, the mean
    `top_probability@FROM-TO` by position."""

    records: str | None = None  # step whose records are measured; null = the last
    first: int = 5  # positions of top_probability_first; the paper's script looked at five (LP1)
    asked: int = 1  # what the evolution's sampling.logprobs says: at least 1

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.first < 1:
            raise ValueError(f"first must be ≥ 1, got {self.first}")
        if self.asked < 1:
            raise ValueError("the evolution keeps no log-probabilities: set evolution.sampling.logprobs=1")

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        return [self.score(record) for record in records]

    def score(self, record: Record) -> Score:
        if not record.origin.parent:
            return Score.of(record, {}, reason="seed")  # nothing was evolved: no value that is missing
        if record.origin.operation == KEPT:
            return Score.of(record, dict.fromkeys(VALUES), reason="not_evolved")
        kept = record.extra.get("logprobs") or {}
        top, chosen = kept.get("top", ()), kept.get("chosen", ())
        if not top or any(map(math.isnan, (*top, *chosen))):
            return Score.of(record, dict.fromkeys(VALUES), reason="no_logprobs")
        best, drawn = [math.exp(value) for value in top], [math.exp(value) for value in chosen]
        values = (
            mean(best),
            mean(best[: self.first]),
            mean(drawn),
            mean([float(one >= other) for one, other in zip(chosen, top, strict=True)]),
        )
        extra = {"top": [round(value, 4) for value in best]}
        return Score.of(record, dict(zip(VALUES, values, strict=True)), extra=extra)

    def whole(self, records: Collection[Record], scores: Collection[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        """Records that end before a bin begins have no part in it: later bins are means over fewer, longer ones."""
        rounds: dict[int, list[list[float]]] = {}
        for score in scores:
            if "top" in score.extra:
                rounds.setdefault(score.round, []).append(score.extra["top"])
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for low, high in BINS:
            name = f"top_probability@{low}" + ("" if high == low else f"-{high or ''}")
            for number, curves in sorted(rounds.items()):
                values = [mean(curve[low - 1 : high]) for curve in curves if len(curve) >= low]
                if values:
                    found.setdefault(name, {})[number] = summary(values, f"{name}:{number}")
        return found


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
