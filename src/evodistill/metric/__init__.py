"""Metrics: records in, one score per record out; `results.summarize` makes the means with their error bars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evodistill import RunError
from evodistill.record import Record


@dataclass(frozen=True, slots=True)
class Score:
    """What a metric says of one record. A value is None where there is none, and `reason` says why; NaN or an infinity
    is none (`not_finite`)."""

    id: str
    seed: str  # root of the record's line: what results are paired by
    round: int
    operation: str
    values: Mapping[str, float | None] = field(default_factory=dict)
    label: str | None = None
    reason: str = ""
    raw: str = ""  # the reply that could not be parsed
    extra: Mapping[str, Any] = field(default_factory=dict)  # JSON-able, what a figure needs beside the values

    def __post_init__(self) -> None:
        odd = [name for name, value in self.values.items() if value is not None and not math.isfinite(value)]
        if odd:  # one of them would be the mean of all
            object.__setattr__(self, "values", {**self.values, **dict.fromkeys(odd)})
            object.__setattr__(self, "reason", self.reason or "not_finite")

    @classmethod
    def of(cls, record: Record, values: Mapping[str, float | None], **more: Any) -> Score:
        return cls(record.id, record.origin.seed, record.origin.round, record.origin.operation, values, **more)

    def named(self, value: str, key: str) -> float | None:
        """The value of that name, None where the record was never asked; `key` is where the config says it."""
        if self.values and value not in self.values:
            raise RunError(f"{key}={value} is no value of this metric; it gives {', '.join(self.values)}")
        return self.values.get(value)

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> Score:
        """The inverse of `to_dict`."""
        return cls(**flat)

    def to_dict(self) -> dict[str, Any]:
        flat = {
            "id": self.id,
            "seed": self.seed,
            "round": self.round,
            "operation": self.operation,
            "values": dict(self.values),
            "label": self.label,
            "reason": self.reason,
            "raw": self.raw,
        }
        return flat | ({"extra": dict(self.extra)} if self.extra else {})
