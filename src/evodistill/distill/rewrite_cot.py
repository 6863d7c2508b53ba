"""Rewrite long reasoning into short, or short into long, for a small reader (DistilQwen2's long-to-short and back).

    RewriteCot(model="teacher", direction="shorten")(answered, {"teacher": backend})

Only the reasoning changes, `extra["reasoning"]`; the answer stays. Steps stand in paragraphs before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.language import checked
from evodistill.distill.written import kept
from evodistill.evolution.clean import clean
from evodistill.evolution.eliminate import REFUSAL, REFUSAL_WORDS, WORD
from evodistill.parse import parse_tag
from evodistill.record import Record

DIRECTIONS = ("shorten", "extend")


@dataclass(frozen=True)
class RewriteCot:
    """The records with their reasoning rewritten; what it was stands in `extra["reasoning_before"]`. Where a rewrite
    fails, the record keeps the reasoning it had, and the attempt is a reject of its own."""

    model: str  # role that rewrites
    direction: str = "shorten"  # shorten | extend
    max_ratio: float = 0.8  # shorten: of the words after to those before
    min_ratio: float = 1.25  # extend: the same
    language: str = "en"  # of the prompt: en | zh
    prompt: str | None = None  # your own .jinja instead
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=2048))

    alone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be {' or '.join(DIRECTIONS)}, got {self.direction!r}")
        if not 0 < self.max_ratio < 1 < self.min_ratio:
            raise ValueError(f"0 < max_ratio < 1 < min_ratio must hold, got {self.max_ratio} and {self.min_ratio}")
        checked(self.language)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def template(self) -> str:
        return self.prompt or f"rewrite_cot/{self.direction}_{self.language}"

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.template: ("instruction", "input", "output", "reasoning")}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        open_ = [record for record in records if not record.fault and record.extra.get("reasoning")]
        chats = [
            chat(
                prompt.render(
                    self.template,
                    instruction=record.instruction,
                    input=record.input,
                    output=record.output,
                    reasoning=record.extra["reasoning"],
                )
            )
            for record in open_
        ]
        writer = models[self.model]
        done, failed = {}, []
        for record, reply in zip(open_, writer.generate(chats, self.sampling), strict=True):
            text = clean(parse_tag(reply.text, "think").value or reply.text)
            if fault := self.fault(record, reply, text):
                failed.append(self.attempt(record, reply, writer.name).reject(*fault, reply.text))
            else:
                extra = {"reasoning": text, "reasoning_before": record.extra["reasoning"]}
                done[record.id] = replace(record, extra={**record.extra, **extra})
        return [*(done.get(record.id, record) for record in records), *failed]

    def attempt(self, record: Record, reply: Completion, model: str) -> Record:
        return record.child(
            record.instruction,
            record.input,
            step="rewrite_cot",
            operation=self.direction,
            model=model,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            extra=kept(record),
        )

    def fault(self, record: Record, reply: Completion, text: str) -> tuple[str, str] | None:
        """(reason, detail) of a rewrite that is of no use."""
        before, after = (len(WORD.findall(part)) for part in (record.extra["reasoning"], text))
        if reply.error:
            return "no_reply", reply.error
        if reply.finish_reason == "length":
            return "truncated", f"cut at {reply.completion_tokens} tokens"
        if not after:
            return "empty", ""
        if after < REFUSAL_WORDS and (match := REFUSAL.search(text)):
            return "refusal", match[0]
        kept_out = after > self.max_ratio * before if self.direction == "shorten" else after < self.min_ratio * before
        return ("length_ratio", f"{after} words, before {before}") if kept_out else None
