"""Which kind of task an instruction sets: one class of a closed list each (DistilQwen2's task types).

    Label({"Math": "a problem to calculate", "Writing": "a letter or a story"})(records, {"judge": backend})

The class stands in the record's `extra` under `key`. A record whose class cannot be told has none: it is no "Others",
and the reply is kept beside it (C6).
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.backend import Backend, Sampling, chat
from evodistill.distill.language import checked
from evodistill.parse import Parsed, parse_label, parse_tag, plain
from evodistill.record import Record

log = logging.getLogger(__name__)

VARIABLES = ("instruction", "input", "classes")
UNLABELLED = "unlabelled"  # key of `extra`, and the reason of a reject: why a record has no class
UNKNOWN = "unknown"  # what a judge that is held to the list may say instead of a class: none of them is forced on it
LONGEST = 12  # words of a reply that is still a label and not an essay that mentions one


@dataclass(frozen=True)
class Label:
    """Give each record its class. One that it brings along is kept, in whatever case it is spelt."""

    classes: Mapping[str, str]  # name → what belongs to it
    model: str | None = "judge"  # role that decides; null: nobody, only what records bring along counts
    # ask: the role is asked | nearest: the role is an embedder, and the class of the nearest description is taken
    by: str = "ask"
    min_similarity: float = 0.1  # nearest: cosine below which no class is near
    key: str = "category"  # of the record's extra
    overwrite: bool = False  # decide for records that bring a class along too
    language: str = "en"  # of the prompt: en | zh
    prompt: str | None = None  # your own .jinja instead
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=24))

    def __post_init__(self) -> None:
        doubled = [name for name, n in Counter(name.lower() for name in self.classes).items() if n > 1]
        if doubled or len(self.classes) < 2:
            raise ValueError(f"classes must be two or more different names, got {doubled or list(self.classes)}")
        if self.by not in ("ask", "nearest"):
            raise ValueError(f"by must be ask or nearest, got {self.by!r}")
        checked(self.language)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,) if self.model else ()

    @property
    def template(self) -> str:
        return self.prompt or f"label/{self.language}"

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.template: VARIABLES} if self.model and self.by == "ask" else {}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        """Every record, with its class under `key` or the reason why it has none under `unlabelled`."""
        done = {record.id: self.brought(record) for record in records if not record.fault}
        if foreign := Counter(str(record.extra[self.key]) for record in done.values() if self.foreign(record)):
            log.warning("%s of no known class, not used: %s", self.key, dict(foreign.most_common(5)))
        open_ = [record for record in done.values() if self.overwrite or self.of(record) is None]
        done |= {record.id: self.told(record, *found) for record, found in self.decide(open_, models)}
        return [done.get(record.id, record) for record in records]

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply for the dry run: a sentence, and the class that it is of."""
        return f"{sentence()}\nType: {next(iter(self.classes))}"

    def of(self, record: Record) -> str | None:
        """The class that the record has; None where it has none of the list."""
        value = record.extra.get(self.key)
        return value if isinstance(value, str) and value in self.classes else None

    def foreign(self, record: Record) -> bool:
        return record.extra.get(self.key) is not None and self.of(record) is None

    def brought(self, record: Record) -> Record:
        """The record with the class that it brings along in the list's own spelling."""
        value = record.extra.get(self.key)
        if not isinstance(value, str) or value in self.classes:
            return record
        name = {name.lower(): name for name in self.classes}.get(plain(value))
        return replace(record, extra={**record.extra, self.key: name}) if name else record

    def decide(
        self, records: list[Record], models: Mapping[str, Backend]
    ) -> list[tuple[Record, tuple[Parsed[str], str]]]:
        """Each record with its class or the reason why there is none, and the raw reply."""
        if not self.model:
            return [(record, (Parsed(reason="no_class"), str(record.extra.get(self.key, "")))) for record in records]
        if self.by == "nearest":
            return list(zip(records, self.nearest(records, models[self.model]), strict=True))
        chats = [
            chat(
                prompt.render(
                    self.template, instruction=record.instruction, input=record.input, classes=dict(self.classes)
                )
            )
            for record in records
        ]
        replies = models[self.model].generate(chats, self.sampling, (*self.classes, UNKNOWN))
        parsed = [
            (Parsed(reason="no_reply"), reply.error)
            if reply.error
            else (parse_class(reply.text, list(self.classes)), reply.text)
            for reply in replies
        ]
        return list(zip(records, parsed, strict=True))

    def nearest(self, records: list[Record], embedder: Backend) -> list[tuple[Parsed[str], str]]:
        import numpy as np

        if not records:
            return []
        names = list(self.classes)
        classes = np.stack(embedder.embed([f"{name}: {told}" for name, told in self.classes.items()]))
        similar = np.stack(embedder.embed([record.instruction for record in records])) @ classes.T
        out: list[tuple[Parsed[str], str]] = []
        for row in similar:
            best = int(row.argmax())
            near = row[best] >= self.min_similarity
            out.append((Parsed(names[best]) if near else Parsed(reason="none_near"), f"{names[best]} {row[best]:.3f}"))
        return out

    def told(self, record: Record, parsed: Parsed[str], raw: str) -> Record:
        extra = {name: value for name, value in record.extra.items() if name not in (self.key, UNLABELLED)}
        if parsed.value is None:
            return replace(record, extra={**extra, UNLABELLED: {"reason": parsed.reason, "raw": raw}})
        return replace(record, extra={**extra, self.key: parsed.value})


def parse_class(text: str, classes: Sequence[str]) -> Parsed[str]:
    """The class that a reply names in `<answer>` tags or in JSON, alone on a line, after a colon, or in a few words.
    None is picked out of an essay, and a reply that names several ("about Law, not Math") has none."""
    tagged = parse_tag(text, "answer").value or in_json(text)
    if tagged:
        return parse_label(tagged, classes)
    names = {name.lower(): name for name in classes}
    ends = (part for line in text.splitlines() for part in (line, re.split(r"[:：]", line)[-1]))
    if found := {names[plain(end)] for end in ends if plain(end) in names}:
        return Parsed(found.pop()) if len(found) == 1 else Parsed(reason="several_labels")
    if len(text.split()) > LONGEST:
        return Parsed(reason="no_label")
    return parse_label(text, classes)


def in_json(text: str) -> str:
    """The texts of a JSON object, {"answer": "Math"}: the form of structured output."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return ", ".join(text for text in value.values() if isinstance(text, str)) if isinstance(value, dict) else ""
