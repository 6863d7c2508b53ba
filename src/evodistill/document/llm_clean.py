"""A model mends what rules cannot see: words torn apart, lines in the wrong order. It may repair, nothing else.

A reply is taken only if it is the same text: NotebookLlama's 1B model summarised, invented and formatted unseen (N7).
What it spoils falls back to the text of the rules; nothing is dropped here.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.record import Made, Record

log = logging.getLogger(__name__)
PROMPT = "document/llm_clean"
WORDS = re.compile(r"\w+")
NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
MARKDOWN = re.compile(r"(?m)^[^\S\n]*+(?:#{1,6}\s|[*+-]\s|```)|\*\*\w")
PREAMBLE = re.compile(
    r"(?is)\A\s*(?:sure|certainly|of course|okay|here(?:'s| is| are)|below is|the (?:cleaned|repaired) text)\b"
)
SHORTEST = 4  # letters of a word that carries content


@dataclass(frozen=True)
class LLMClean:
    """Bounds of a reply that is taken; shares are of distinct words of four letters or more."""

    model: str  # role that repairs
    min_ratio: float = 0.6  # of the reply's length to the chunk's
    max_ratio: float = 1.15
    from_source: float = 0.9  # of the reply's words that stand in the chunk too
    of_source: float = 0.7  # of the chunk's words that stand in the reply
    tries: int = 2  # draws; with temperature 0 a second one would be the same and is not made
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=1024))

    def __post_init__(self) -> None:
        if not 0 < self.min_ratio <= 1 <= self.max_ratio:
            raise ValueError(f"0 < min_ratio ≤ 1 ≤ max_ratio, got {self.min_ratio} and {self.max_ratio}")
        if self.tries < 1:
            raise ValueError(f"tries must be ≥ 1, got {self.tries}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {PROMPT: ("passage",)}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> Made:
        done: dict[str, Record] = {}
        failed: dict[str, str] = {}
        open_ = [record for record in records if not record.fault]
        for attempt in range(self.tries if self.sampling.temperature > 0 else 1):
            sampling = replace(self.sampling, seed=self.sampling.seed + attempt)
            chats = [chat(prompt.render(PROMPT, passage=record.input)) for record in open_]
            for record, reply in zip(open_, models[self.model].generate(chats, sampling), strict=True):
                if reason := self.spoiled(record.input, reply):
                    failed[record.id] = reason
                else:
                    done[record.id] = with_text(record, reply.text, "llm", "")
            open_ = [record for record in open_ if record.id not in done]
        done |= {record.id: with_text(record, record.input, "fallback", failed[record.id]) for record in open_}
        counts = Counter(failed[record.id] for record in open_)
        log.info(
            "%d of %d chunks repaired, the others stay as the rules left them: %s",
            len(done) - len(open_),
            len(done),
            dict(counts),
        )
        out = [done.get(record.id, record) for record in records]
        return Made(
            out,
            {**texts(out), "cleaning.json": [json.dumps({"llm": len(done) - len(open_), "fallback": counts}) + "\n"]},
        )

    def spoiled(self, source: str, reply: Completion) -> str:
        """Why the reply is not the chunk's text; empty where it is."""
        text = reply.text.strip()
        if reply.error or reply.finish_reason == "length":
            return "no_reply" if reply.error else "truncated"
        if not text:
            return "empty"
        if PREAMBLE.match(text) and not PREAMBLE.match(source):
            return "preamble"
        if len(MARKDOWN.findall(text)) > len(MARKDOWN.findall(source)):
            return "markdown"
        ratio = len(text) / max(1, len(source.strip()))
        if not self.min_ratio <= ratio <= self.max_ratio:
            return "shortened" if ratio < 1 else "lengthened"
        if set(NUMBERS.findall(text)) - set(NUMBERS.findall(source)):
            return "new_number"
        if set(NUMBERS.findall(source)) - set(NUMBERS.findall(text)):
            return "lost_number"
        mine, theirs = content(text), content(source)
        if mine and len(mine & theirs) < self.from_source * len(mine):
            return "invented"
        return "summarised" if theirs and len(mine & theirs) < self.of_source * len(theirs) else ""


def content(text: str) -> set[str]:
    """Distinct words that carry content; characters of a script without spaces one by one."""
    words = {word.lower() for word in WORDS.findall(text) if len(word) >= SHORTEST or not word.isascii()}
    return {part for word in words for part in (word if word > "\u2e80" else [word])}


def with_text(record: Record, text: str, method: str, reason: str) -> Record:
    told = {"clean_method": method} | ({"clean_reason": reason} if reason else {})
    return replace(record, input=text.strip() if method == "llm" else text, extra={**record.extra, **told})


def texts(records: list[Record]) -> dict[str, list[str]]:
    """The clean text of each document, one file each: what NotebookLlama's walk-through ends with."""
    files: dict[str, list[str]] = {}
    for record in records:
        if not record.fault:
            stem = re.sub(r"[^\w.-]+", "_", str(record.extra.get("document", "text"))).strip("._") or "text"
            files.setdefault(f"{stem}.clean.txt", []).append(record.input.strip() + "\n\n")
    return files
