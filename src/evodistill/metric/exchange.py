"""What is rewarded: a request and the reply to it.

For the target `instruction` the request is the prompt that the evolver was given, rendered of the *parent* with the
operation that was really used, and the reply is the evolved instruction. A prompt rendered of the evolved instruction
itself would ask for something that was done already (RW1). For `response` they are instruction and output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evodistill.backend import Chat, chat
from evodistill.evolution.evolution import KEPT
from evodistill.record import Record

TARGETS = ("instruction", "response")


class Evolution(Protocol):
    """An evolution that can say what it asked."""

    def asked(self, parent: Record, child: Record) -> Chat | None:
        """The chat whose reply made the child of its parent; None where the child is not of this evolution."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """A chat of the request and the reply, or the reason why there is none."""

    request: Chat = ()
    reply: str = ""
    reason: str = ""

    @property
    def chat(self) -> Chat:
        return [*self.request, {"role": "assistant", "content": self.reply}]


def exchanges(records: Sequence[Record], target: str, evolution: Evolution | None) -> list[Exchange]:
    """One per record, in order. Parents are looked up by id among the records: a step that evolves gives its seeds and
    all its rounds."""
    parents = {record.id: record for record in records}
    made = answered if target == "response" else evolved
    return [made(record, parents, evolution) for record in records]


def answered(record: Record, parents: dict[str, Record], evolution: Evolution | None) -> Exchange:
    if not record.output.strip():
        return Exchange(reason="no_answer")
    return Exchange(chat(record.prompt), record.output)


def evolved(record: Record, parents: dict[str, Record], evolution: Evolution | None) -> Exchange:
    if not record.origin.parent:
        return Exchange(reason="seed")
    if record.origin.operation == KEPT:
        return Exchange(reason="not_evolved")
    if record.origin.parent not in parents:
        return Exchange(reason="no_parent")
    request = evolution.asked(parents[record.origin.parent], record) if evolution else None
    return Exchange(request, record.instruction) if request else Exchange(reason="no_prompt")


def check(target: str, evolution: Evolution | None) -> None:
    """ValueError where a target cannot be had."""
    if target not in TARGETS:
        raise ValueError(f"target must be {' or '.join(TARGETS)}, got {target!r}")
    if target == "instruction" and not hasattr(evolution, "asked"):
        named = type(evolution).__name__ if evolution else "null"
        raise ValueError(
            f"evolution {named} cannot say what it asked, so its instructions cannot be rewarded as replies; "
            "choose evolution=evol_instruct, or target=response"
        )
