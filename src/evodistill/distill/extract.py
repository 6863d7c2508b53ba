"""One instruction and its answer out of a passage of text (DistilQwen2's response extraction).

    Extract(model="teacher")(passages, {"teacher": backend})

The passage is a record's input, or its instruction where it has no input. Its record is set aside, under the reason
`passage`; the pair is its child.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.language import checked
from evodistill.distill.written import kept, unwrapped, written
from evodistill.parse import Parsed, parse_tag
from evodistill.record import Record

INSTRUCTION = re.compile(r"(?im)^[ \t>*#_]*+(?:instruction|question|指令|问题)[ \t*_]*+[:：][\s*_]*+")
RESPONSE = re.compile(r"(?im)^[ \t>*#_]*+(?:response|answer|回答|答案)[ \t*_]*+[:：][\s*_]*+")
# such an instruction cannot be followed by somebody who does not have the text
LEANS = re.compile(
    r"(?i)\b(?:the|this|that|given|following|above) (?:text|passage|article|paragraph|excerpt|document|author)\b"
    r"|(?:本文|上文|下文|文中|文章中|(?:这|该)(?:段|篇)(?:文字|文章|短文|话))"
)


@dataclass(frozen=True)
class Extract:
    """A pair for each passage, or the reason why there is none."""

    model: str  # role that reads and writes
    language: str = "en"  # of the prompt: en | zh
    prompt: str | None = None  # your own .jinja instead
    keep_passage: bool = False  # true: the passages stay usable records too
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=1024))

    def __post_init__(self) -> None:
        checked(self.language)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def template(self) -> str:
        return self.prompt or f"extract/{self.language}"

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.template: ("passage",)}

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply for the dry run."""
        return f"Instruction: {sentence()}\nResponse: {sentence()}"

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        open_ = [record for record in records if not record.fault]
        chats = [chat(prompt.render(self.template, passage=record.input or record.instruction)) for record in open_]
        replies = models[self.model].generate(chats, self.sampling)
        name = models[self.model].name
        made = [self.accept(record, reply, name) for record, reply in zip(open_, replies, strict=True)]
        aside = {record.id: record if self.keep_passage else record.reject("passage") for record in open_}
        return [*(aside.get(record.id, record) for record in records), *made]

    def accept(self, passage: Record, reply: Completion, model: str) -> Record:
        pair = parse_pair(reply.text)
        instruction, response = pair.value or ("", "")
        child = written(
            passage,
            reply,
            model,
            instruction,
            output=response,
            step="extract",
            operation="extract",
            extra=kept(passage),
            otherwise=pair.reason,
        )
        if not child.fault and (leans := LEANS.search(child.instruction)):
            return child.reject("needs_passage", leans[0], reply.text)
        return child


def parse_pair(text: str) -> Parsed[tuple[str, str]]:
    """(instruction, response), in tags or after labels; both must be there."""
    tagged = [parse_tag(text, tag).value for tag in ("instruction", "response")]
    if all(tagged):
        instruction, response = tagged
    elif (first := INSTRUCTION.search(text)) and (second := RESPONSE.search(text, first.end())):
        instruction, response = text[first.end() : second.start()], text[second.end() :]
    else:
        return Parsed(reason="no_pair")
    instruction, response = unwrapped(instruction or ""), (response or "").strip()
    return Parsed((instruction, response)) if instruction and response else Parsed(reason="half_a_pair")
