"""The teacher answers the instructions, one teacher for every evolver (arXiv 2412.11231 §3: greedy, 2,048 tokens).

By default the prompt is what the student will be trained on, instruction and input without a wrapper (RG4). `tasks`
gives task classes prompts of their own (DistilQwen2, TAPIR: step by step for maths, comments for code); with
`reasoning` the thoughts of a reasoning model, or of one that was asked for them, do not stand in the answer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.reasoning import parse_reasoning
from evodistill.record import Record

log = logging.getLogger(__name__)
REASONING = ("inline", "apart", "required")


@dataclass(frozen=True)
class Respond:
    """Write the output of each record that has none; the records keep their ids."""

    model: str  # role that answers
    prompt: str = "respond/plain"
    overwrite: bool = False  # answer records that have an output too
    tasks: Mapping[str, str] = field(default_factory=dict)  # task class → its prompt instead of `prompt`
    key: str = "category"  # of the record's extra: its task class
    # inline: a reply is the answer as it stands | apart: its thoughts go to extra["reasoning"] | required: the same,
    # and a reply without them is rejected
    reasoning: str = "inline"
    sampling: Sampling = field(default_factory=Sampling)

    alone: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.reasoning not in REASONING:
            raise ValueError(f"reasoning must be one of {', '.join(REASONING)}, got {self.reasoning!r}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {name: ("instruction", "input") for name in (self.prompt, *self.tasks.values())}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        teacher = models[self.model]
        open_ = [record for record in records if not record.fault and (self.overwrite or not record.output)]
        if self.tasks:  # a misspelt class answers nothing, and a class may as well have no records
            found = Counter(str(record.extra.get(self.key)) for record in open_)
            log.info("answers by task: %s", ", ".join(f"{name} {found[name]}" for name in self.tasks))
        chats = [
            chat(prompt.render(self.template(record), instruction=record.instruction, input=record.input))
            for record in open_
        ]
        replies = teacher.generate(chats, self.sampling)
        answered = {
            record.id: answer(record, reply, teacher.name, self.reasoning)
            for record, reply in zip(open_, replies, strict=True)
        }
        return [answered.get(record.id, record) for record in records]

    def template(self, record: Record) -> str:
        return self.tasks.get(str(record.extra.get(self.key)), self.prompt)


def answer(record: Record, reply: Completion, model: str, reasoning: str = "inline") -> Record:
    """The record with its answer; an answer that was cut off or is empty must not become a training target (RG2)."""
    facts = {
        "model": model,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
    }
    done = replace(record, output=reply.text.strip(), extra={**record.extra, "answer": facts})
    if reply.error:
        return done.reject("no_reply", reply.error)
    if reply.finish_reason == "length":
        return done.reject("answer_truncated", f"cut at {reply.completion_tokens} tokens", reply.text)
    if not done.output:
        return done.reject("answer_empty", raw=reply.text)
    return done if reasoning == "inline" else apart(done, reasoning == "required")


def apart(record: Record, required: bool) -> Record:
    """The record with the reasoning out of its answer and in its extra."""
    parsed = parse_reasoning(record.output)
    if parsed.value is None:
        return record.reject(parsed.reason, raw=record.output)
    thought, said = parsed.value
    if not thought:
        return record.reject("no_reasoning", raw=record.output) if required else replace(record, output=said)
    return replace(record, output=said, extra={**record.extra, "reasoning": thought})
