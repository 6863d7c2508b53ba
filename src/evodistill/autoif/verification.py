"""AutoIF, stage 7: the kept functions check the replies (arXiv 2406.13542 §3.2; AI17).

The best reply that passes becomes the output. All keep their pass rate: preference pairs are made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from evodistill.autoif import Reply, given, meets, read_bound, told, with_extra
from evodistill.autoif.cross_validation import NAME
from evodistill.backend import Backend
from evodistill.record import Record
from evodistill.sandbox import Outcome, Program, Sandbox


@dataclass(frozen=True)
class Verification:
    """`pass_rate` bounds the share of functions that must say yes; null: any reply will do, the best first."""

    sandbox: Sandbox
    pass_rate: str | float | None = "> 0.5"

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        if self.pass_rate is not None:
            read_bound(self.pass_rate)

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        # a program for each function and record: a reply on which one hangs costs no other record its verdict
        outcomes = self.sandbox.run(
            Program(function["code"], NAME, [[reply["text"]] for reply in sound(record)])
            for record in records
            if not record.fault
            for function in given(record, "functions")
        )
        return [
            record if record.fault else self.verified(record, [next(outcomes) for _ in given(record, "functions")])
            for record in records
        ]

    def verified(self, record: Record, outcomes: list[list[Outcome]]) -> Record:
        """The record with the pass rates of its replies, and the best of those that pass as its output. `outcomes`
        holds a list per function, with an outcome per sound reply."""
        rated = zip(*outcomes, strict=True)
        replies = [reply if "fault" in reply else self.rate(reply, next(rated)) for reply in given(record, "replies")]
        passing = [reply for reply in replies if reply.get("passed")]
        done = with_extra(record, replies=replies)
        if not passing:
            rates = sorted((value for reply in replies if (value := reply.get("pass_rate")) is not None), reverse=True)
            errors = told(outcome.reason for row in outcomes for outcome in row)
            detail = "pass rates " + ", ".join(f"{value:.2f}" for value in rates)
            return done.reject("not_verified", detail + (f"; calls without a value: {errors}" if errors else ""))
        return replace(done, output=best(passing)["text"])

    def rate(self, reply: Reply, outcomes: tuple[Outcome, ...]) -> Reply:
        """A function without a verdict (an error, or no truth value) is no vote for the reply."""
        yes = sum(outcome.value is True and not outcome.reason for outcome in outcomes)
        unjudged = sum(bool(outcome.reason) or not isinstance(outcome.value, bool) for outcome in outcomes)
        share = yes / len(outcomes)
        passed = self.pass_rate is None or meets(share, self.pass_rate)
        return {**reply, "pass_rate": share, "unjudged": unjudged, "passed": passed}


def sound(record: Record) -> list[Reply]:
    return [reply for reply in given(record, "replies") if "fault" not in reply]


def best(replies: list[Reply]) -> Reply:
    """By quality where it has been judged, then by pass rate; the first of equals."""
    return max(replies, key=lambda reply: (reply.get("score", 0.0), reply.get("pass_rate", 0.0)))
