"""Expansion from an anchor: rounds of n new instructions, each with a topic, and the topics seen are fed back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from evodistill.backend import Backend, Completion, chat
from evodistill.distill.written import distinct, unwrapped, written
from evodistill.parse import plain
from evodistill.record import Record

if TYPE_CHECKING:
    from evodistill.distill.expand import Expand

TOPIC = re.compile(r"(?im)^[ \t>*#_\-\d.)、]*+(?:topic|主题|话题)[ \t*_\d]*+[:：]")
INSTRUCTION = re.compile(r"(?im)^[ \t>*#_\-\d.)、]*+(?:instruction|prompt|指令)[ \t*_\d]*+[:：][ \t*_]*+")


class Item(NamedTuple):
    topic: str
    instruction: str


def anchored(step: Expand, anchors: list[Record], models: Mapping[str, Backend]) -> list[Record]:
    """All rounds' children. An anchor whose reply holds no item is asked again, `retries` times."""
    made: list[Record] = []
    topics: dict[str, list[str]] = {anchor.id: [] for anchor in anchors}
    writer = models[step.model]
    attempts = step.retries + 1 if step.sampling.temperature > 0 else 1  # a greedy reply comes again as it was
    for number in range(step.rounds):
        new: list[Record] = []
        open_ = anchors
        for attempt in range(attempts):
            chats = [chat(ask(step, anchor, topics[anchor.id])) for anchor in open_]
            replies = writer.generate(chats, step.again(number * attempts + attempt))
            found = [
                children(step, anchor, reply, writer.name, number + 1)
                for anchor, reply in zip(open_, replies, strict=True)
            ]
            new += [child for several in found for child in several]
            open_ = [anchor for anchor, several in zip(open_, found, strict=True) if not several[0].instruction]
        new = [seen(child, topics[child.origin.parent]) for child in new]
        classes = {anchor.id: step.category(anchor) for anchor in anchors}
        new = step.of_class([classes[child.origin.parent] for child in new], distinct(new), models)
        made += step.unlike([*anchors, *(child for child in made if not child.fault)], new)
    return made


def ask(step: Expand, anchor: Record, topics: list[str]) -> str:
    return step.render(
        step.category(anchor), instruction=anchor.instruction, input=anchor.input, topics=topics, n=step.n
    )


def children(step: Expand, anchor: Record, reply: Completion, model: str, rounds: int) -> list[Record]:
    """A record for each item of the reply; of a reply that was cut off, the last item is the one that was."""
    items = parse_items(reply.text)
    made = []
    for number, item in enumerate(items or [Item("", "")], 1):
        part = reply if number >= len(items) else replace(reply, finish_reason="stop")
        child = written(
            anchor,
            part if number == 1 else replace(part, prompt_tokens=0, completion_tokens=0),  # told once
            model,
            item.instruction,
            step="expand",
            operation="anchored",
            extra=({"topic": item.topic} if item.topic else {}),
            rounds=rounds,
            otherwise="no_item",
        )
        made.append(step.sound(child, anchor, reply))
    return made


def seen(child: Record, topics: list[str]) -> Record:
    """The child, rejected where its topic came up before; its topic joins the list."""
    topic = child.extra.get("topic", "")
    if not topic:
        return child
    if plain(topic) in map(plain, topics):
        return child.reject("topic_seen", topic, child.instruction)
    topics.append(topic)
    return child


def parse_items(text: str) -> list[Item]:
    """The topics and instructions of a reply, in order: `Topic: …`, then `Instruction: …`, in whatever markup."""
    items = []
    for part in TOPIC.split(text)[1:]:
        topic, *rest = INSTRUCTION.split(part, maxsplit=1)
        instruction = unwrapped(rest[0]) if rest else ""
        if instruction:
            items.append(Item(" ".join(topic.split()).strip("*_ "), instruction))
    return items
