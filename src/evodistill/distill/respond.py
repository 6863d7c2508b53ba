"""The teacher answers the instructions, one teacher for every evolver (arXiv 2412.11231 §3: greedy, 2,048 tokens).

By default the prompt is what the student will be trained on, instruction and input without a wrapper (RG4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.record import Record


@dataclass(frozen=True)
class Respond:
    """Write the output of each record that has none; the records keep their ids."""

    model: str  # role that answers
    prompt: str = "respond/plain"
    overwrite: bool = False  # answer records that have an output too
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: ("instruction", "input")}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        teacher = models[self.model]
        open_ = [record for record in records if not record.fault and (self.overwrite or not record.output)]
        chats = [
            chat(prompt.render(self.prompt, instruction=record.instruction, input=record.input)) for record in open_
        ]
        replies = teacher.generate(chats, self.sampling)
        answered = {
            record.id: answer(record, reply, teacher.name) for record, reply in zip(open_, replies, strict=True)
        }
        return [answered.get(record.id, record) for record in records]


def answer(record: Record, reply: Completion, model: str) -> Record:
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
    return done
