"""AutoIF, stage 6: several replies to each instruction (arXiv 2406.13542 §3.2).

The prompt is the instruction as the student will see it, nothing around it (AI20).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evodistill import prompt
from evodistill.autoif import Reply, told, with_extra
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.record import Record


@dataclass(frozen=True)
class Replies:
    """`samples` replies in `extra["replies"]`; those that are cut off, empty or repeated have a fault."""

    model: str  # role that answers
    samples: int = 8
    prompt: str = "respond/plain"
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.8, top_p=0.95, max_tokens=2048))

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be ≥ 1, got {self.samples}")
        if self.samples > 1 and self.sampling.temperature == 0:
            raise ValueError(f"samples={self.samples} greedy replies are all the same; set sampling.temperature")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: ("instruction", "input")}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        chats = [
            chat(prompt.render(self.prompt, instruction=record.instruction, input=record.input))
            for record in records
            if not record.fault
            for _ in range(self.samples)  # equal chats in one call are successive draws
        ]
        model = models[self.model]
        replies = iter(model.generate(chats, self.sampling))
        return [
            record if record.fault else answered(record, [next(replies) for _ in range(self.samples)], model.name)
            for record in records
        ]


def answered(record: Record, completions: Sequence[Completion], model: str) -> Record:
    replies: list[Reply] = []
    seen: set[str] = set()
    for completion in completions:
        text = completion.text.strip()
        fault = "no_reply" if completion.error else "truncated" if completion.finish_reason == "length" else ""
        fault = fault or ("" if text else "empty") or ("repeated" if text in seen else "")
        seen.add(text)
        replies.append(Reply(text=text, fault=fault) if fault else Reply(text=text))
    done = with_extra(record, replies=replies, answer={"model": model})
    if all("fault" in reply for reply in replies):
        return done.reject("no_usable_reply", told(reply.get("fault", "") for reply in replies), replies[0]["text"])
    return done
