"""AutoIF (arXiv 2406.13542) after its first stage: from constraints to verified replies, one step a module.

    evolution=autoif ─▶ functions ─▶ cross_validation ─▶ back_translation ─▶     records are constraints
    queries ─▶ replies ─▶ verification ─▶ quality ─▶ pairs                       records are instructions to train on

What a stage finds out about a record stands in its `extra`:

    functions, cases   of a constraint; after the queries, the functions of each record made of it
    back_translations  what the functions check, in words
    constraint, query  the two texts that the instruction was made of
    replies            to the instruction
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NotRequired, TypedDict

from evodistill import RunError
from evodistill.record import Record


class Function(TypedDict):
    """A verification function: `evaluate(response)` says whether a text follows the constraint."""

    code: str
    replies: list[int]  # which of the K replies wrote it
    accuracy: NotRequired[float]  # share of the kept cases that it gets right


class Case(TypedDict):
    """A text to test functions with."""

    text: str
    follows: bool  # whether it follows the constraint
    replies: list[int]  # which of the K replies wrote it
    agreement: NotRequired[float]  # share of the functions that say so


class Reply(TypedDict):
    """A reply to an instruction. `fault` says why it must not be used."""

    text: str
    fault: NotRequired[str]
    pass_rate: NotRequired[float]  # share of the functions that say it follows the constraint
    unjudged: NotRequired[int]  # functions that gave no verdict on it
    passed: NotRequired[bool]  # whether the pass rate is high enough
    score: NotRequired[float]  # how well it answers the query, 0–10


def meets(value: float, bound: str | float) -> bool:
    """Whether a value lies within a bound: "> 0.5", ">= 0.8", or a number, which it must reach."""
    strict, limit = read_bound(bound)
    return value > limit if strict else value >= limit


def read_bound(bound: str | float) -> tuple[bool, float]:
    """(strict, limit). The tables of AutoIF's paper and code differ in both: > 0.5, >= 0.8."""
    found = re.fullmatch(r"(>=?)?\s*(\d+(?:\.\d+)?)", str(bound).strip())
    if not found:
        raise ValueError(f'a bound is a number, or like "> 0.5" or ">= 0.8", got {bound!r}')
    return found[1] == ">", float(found[2])


MAKERS = {
    "functions": "functions",
    "cases": "functions",
    "constraint": "queries",
    "query": "queries",
    "replies": "replies",
}


def given(record: Record, key: str) -> Any:
    """What an earlier stage found out about the record."""
    if key not in record.extra:
        raise RunError(f"a record has no {key}: the step {MAKERS[key]} must come earlier in steps ({record.id})")
    return record.extra[key]


def with_extra(record: Record, **more: Any) -> Record:
    return replace(record, extra={**record.extra, **more})


def told(reasons: Iterable[str]) -> str:
    """Reasons with their counts, the most frequent first: what a filter removed."""
    counts: Mapping[str, int] = Counter(reason for reason in reasons if reason)
    return ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
