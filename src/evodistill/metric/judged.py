"""What metrics that ask a judge share: render, ask, parse; a reply that cannot be parsed is a reason, not a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from evodistill import prompt
from evodistill.backend import Backend, Sampling, chat
from evodistill.metric import Score
from evodistill.parse import Parsed
from evodistill.record import Record

T = TypeVar("T")

VARIABLES = ("instruction", "input")  # the input is part of what is judged (CR3)


def judged(
    records: Sequence[Record],
    judge: Backend,
    sampling: Sampling,
    template: str,
    parse: Callable[[str], Parsed[T]],
    score: Callable[[Record, T | None], Score],
) -> list[Score]:
    """One score per record, in order; the raw reply is kept where there is no value."""
    chats = [chat(prompt.render(template, instruction=record.instruction, input=record.input)) for record in records]
    out = []
    for record, reply in zip(records, judge.generate(chats, sampling), strict=True):
        parsed: Parsed[T] = Parsed(reason="no_reply") if reply.error else parse(reply.text)
        made = score(record, parsed.value)
        if parsed.reason:
            made = replace(made, label=None, reason=parsed.reason, raw=reply.error or reply.text)
        out.append(made)
    return out


def beside(scores: Sequence[Score], others: Sequence[Score], name: str) -> list[Score]:
    """The scores of one judge, with those of a second one as the value `name`_second; its label, where judges give
    labels, is in `extra["labels"]`."""
    second = f"{name}_second"
    return [
        replace(
            score,
            values={**score.values, second: other.values[name]},
            reason=score.reason or (f"second_{other.reason}" if other.reason else ""),
            raw=score.raw if score.reason else other.raw,
            extra=dict(score.extra) | ({"labels": {second: other.label}} if score.label or other.label else {}),
        )
        for score, other in zip(scores, others, strict=True)
    ]
