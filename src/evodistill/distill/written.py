"""What the operators that write instructions share: from a reply to a record, and ids that differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from evodistill.backend import Completion
from evodistill.evolution.clean import clean
from evodistill.evolution.evolution import KEPT
from evodistill.parse import parse_tag
from evodistill.record import Record, digest

# the headings that Chinese replies put first; English ones are `clean`'s business
HEADING = re.compile(
    r"\A(?:好的|当然)?[，,。！!]?\s*(?:(?:以下|下面)是[^\n：:]{0,20}|(?:改写|重写|优化|润色)?后?的?新?的?(?:指令|问题|任务))[：:]\s*"
)
BORN_ANEW = ("answer", "reasoning", "student_answer", "mfd", "judged")  # keys of `extra` that speak of an answer


def unwrapped(reply: str) -> str:
    """The instruction inside a reply: what stands in `<answer>` tags, or the reply without headings and quotes."""
    text = clean(parse_tag(reply, "answer").value or reply)
    return clean(HEADING.sub("", text, count=1))


def written(
    parent: Record,
    reply: Completion,
    model: str,
    text: str | None = None,
    *,
    step: str,
    operation: str,
    input: str = "",
    output: str = "",
    extra: Mapping[str, Any] | None = None,
    rounds: int = 1,
    otherwise: str = "empty",
) -> Record:
    """The child that the reply (or the `text` out of it) makes, so many rounds after its parent; marked where the reply
    is not there, not whole, or (`otherwise` is the reason) holds no text."""
    child = parent.child(
        unwrapped(reply.text) if text is None else text,
        input,
        output,
        extra=extra,
        step=step,
        operation=operation,
        round=parent.origin.round + rounds,
        model=model,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )
    if reply.error:
        return child.reject("no_reply", reply.error)
    if reply.finish_reason == "length":
        return child.reject("truncated", f"cut at {reply.completion_tokens} tokens", reply.text)
    return child if child.instruction else child.reject(otherwise, raw=reply.text)


def stand_in(parent: Record, step: str) -> Record:
    """The parent once more, in the place of a child that failed. Without its answer: that comes from the teacher."""
    return parent.child(
        parent.instruction,
        parent.input,
        extra=kept(parent),
        step=step,
        operation=KEPT,
        round=parent.origin.round + 1,
        model="",
    )


def kept(parent: Record) -> dict[str, Any]:
    """What a rewritten record keeps of its parent's `extra`: all that is not about an answer."""
    return {name: value for name, value in parent.extra.items() if name not in BORN_ANEW}


def distinct(records: Iterable[Record]) -> list[Record]:
    """The records, a later one of an id that is taken under digest([id, k]) for the next free k: a writer may say the
    same thing twice."""
    uses: Counter[str] = Counter()
    out: dict[str, Record] = {}
    for record in records:
        id = record.id
        while id in out:
            uses[record.id] += 1
            id = digest([record.id, uses[record.id] + 1])
        out[id] = record if id == record.id else replace(record, id=id)
    return list(out.values())
