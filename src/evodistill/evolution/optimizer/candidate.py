"""The methods that an optimisation has tried, each with parent and failure rate, so that they read as a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evodistill.evolution.method import Method


@dataclass(frozen=True)
class Candidate:
    """One method, or a reply of the optimizer that was none. `id` is "0" for the initial method, "step.draw" else."""

    id: str
    parent: str = ""  # id of the method that it was made of
    step: int = 0
    method: Method | None = None
    refused: str = ""  # why it cannot be used; `raw` is then the reply
    raw: str = ""
    feedback: str = ""  # what the optimizer said of the parent's failures
    failures: Mapping[str, str] = field(default_factory=dict)  # id of the dev row → why it counts as failed
    rate: float | None = None  # share of the dev rows that failed
    gain: float | None = None  # judged complexity of the evolved dev rows less that of the rows; where ties are judged
    kept: bool = False  # became the method of the next step

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "parent": self.parent,
            "step": self.step,
            "kept": self.kept,
            "rate": self.rate,
            "gain": self.gain,
            "refused": self.refused,
            "reasons": dict(Counter(self.failures.values()).most_common()),
            "method": self.method.text if self.method else "",
            "feedback": self.feedback,
            "failures": dict(self.failures),
            "raw": self.raw,
        }


def tree(candidates: Sequence[Candidate]) -> str:
    """One line a candidate, below its parent; a star marks what was kept."""
    return "\n".join(branch(candidates, candidates[0], 0))


def branch(candidates: Sequence[Candidate], top: Candidate, depth: int) -> Iterator[str]:
    told = f"refused: {top.refused}" if top.rate is None else f"{top.rate:.3f}{' *' if top.kept else ''}"
    yield f"{'  ' * depth}{top.id:<6} {told}"
    for child in candidates:
        if child.parent == top.id:
            yield from branch(candidates, child, depth + 1)
