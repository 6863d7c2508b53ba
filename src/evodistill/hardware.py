"""A machine, as far as a plan needs it: from parameters and tokens to hours.

An estimate: 2 operations a parameter and token forward, 6 in training (Kaplan et al., arXiv 2001.08361, §2.1), divided
by what a machine reaches of its peak. Attention, loading and waiting are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """`reading`, `writing` and `training` are shares of `flops` that are reached on prompts, completions, training."""

    name: str
    flops: float  # a second, of the whole machine
    reading: float
    writing: float
    training: float

    def __post_init__(self) -> None:
        for key in ("reading", "writing", "training"):
            if not 0 < getattr(self, key) <= 1:
                raise ValueError(f"{key} must be in (0, 1], a share of flops, got {getattr(self, key)}")
        if self.flops <= 0:
            raise ValueError(f"flops must be above 0, got {self.flops}")

    def hours(self, billions: float, read: float = 0.0, written: float = 0.0, learned: float = 0.0) -> float:
        """Of a model of so many billion parameters: tokens read, written, and learned (over all epochs)."""
        operations = 2 * read / self.reading + 2 * written / self.writing + 6 * learned / self.training
        return billions * 1e9 * operations / self.flops / 3600
