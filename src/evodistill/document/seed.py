"""Seed instructions out of each chunk, over a mix of kinds: the chunk goes with them, or they stand alone.

Per chunk, not per document: every part of a long document is asked for as many (S1). An instruction keeps the document,
pages and offsets of its chunk (S6); its judge, if there is one, sees the chunk (S5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.extract import LEANS
from evodistill.distill.near_duplicates import NearDuplicates
from evodistill.distill.written import unwrapped, written
from evodistill.evolution.eliminate import COPIED, WORD, grams, ngrams
from evodistill.parse import parse_label
from evodistill.record import Record, digest

KINDS = ("question", "summary", "explanation", "extraction", "open")
MODES = ("grounded", "standalone")
GROUNDED = "document/grounded"
SHORTEST = 4  # words
LABEL = re.compile(r"(?i)\A[\W_]*(?:the |a |one )?(?:new )?(?:task|question|instruction)(?: is)?[*_]*:[*_]*\s*")


@dataclass(frozen=True)
class Seed:
    """`per_chunk` instructions of a chunk, their kinds in turn. The chunk's own record is set aside, as `passage`."""

    model: str  # role that writes
    mode: str = "grounded"  # the instruction carries the passage as its input | standalone: it must do without
    per_chunk: int = 2
    kinds: Sequence[str] = KINDS  # prompts under document/seed_*, in turn; or your own .jinja files
    judge: str | None = None  # role that says whether the passage supports the instruction; null = not asked
    tries: int = 2  # a reply that is no instruction is drawn again
    dedup: NearDuplicates = field(default_factory=NearDuplicates)  # against all others of the run
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, top_p=0.95, max_tokens=256))

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if self.per_chunk < 1 or self.tries < 1:
            raise ValueError(f"per_chunk and tries must be ≥ 1, got {self.per_chunk} and {self.tries}")
        if not self.kinds:
            raise ValueError(f"kinds is empty; give at least one of {', '.join(KINDS)}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.judge) if self.judge else (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        asked = {template(kind): ("passage", "mode") for kind in self.kinds}
        return asked | ({GROUNDED: ("passage", "instruction")} if self.judge else {})

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        chunks = [record for record in records if not record.fault]
        # of all chunks and numbers: (chunk, kind, number)
        open_ = [(chunk, self.kind(chunk, k), k) for chunk in chunks for k in range(self.per_chunk)]
        made: list[Record] = []
        for attempt in range(self.tries if self.sampling.temperature > 0 else 1):
            sampling = replace(self.sampling, seed=self.sampling.seed + attempt)
            chats = [
                chat(prompt.render(template(kind), passage=chunk.input, mode=self.mode)) for chunk, kind, _ in open_
            ]
            replies = models[self.model].generate(chats, sampling)
            name = models[self.model].name
            tried = [self.accept(*ask, attempt, reply, name) for ask, reply in zip(open_, replies, strict=True)]
            made += tried
            open_ = [ask for ask, record in zip(open_, tried, strict=True) if record.fault]
        made = self.supported(self.unique(made), chunks, models)
        return [*(record if record.fault else record.reject("passage") for record in records), *made]

    def kind(self, chunk: Record, k: int) -> str:
        return self.kinds[(chunk.origin.index * self.per_chunk + k) % len(self.kinds)]

    def accept(self, chunk: Record, kind: str, k: int, attempt: int, reply: Completion, model: str) -> Record:
        """The instruction that the reply holds, marked if it is none; failed tries are kept too."""
        extra = {**chunk.extra, "number": k} | ({"try": attempt + 1} if attempt else {})
        passage = chunk.input.strip() if self.mode == "grounded" else ""
        words = LABEL.sub("", unwrapped(reply.text))
        child = written(chunk, reply, model, words, input=passage, step="seed", operation=f"{kind}_{k}", extra=extra)
        # the number made the id distinct: two draws may say the same
        id = digest([child.id, attempt]) if attempt else child.id
        child = replace(child, id=id, origin=replace(child.origin, operation=kind))
        text = child.instruction
        if child.fault:
            return child
        if len(text.split()) < SHORTEST and text.isascii():
            return child.reject("too_short", f"{len(text.split())} words", reply.text)
        asked = grams(prompt.render(template(kind), passage="", mode=self.mode))
        if copied := asked.intersection(ngrams(WORD.findall(text.lower()), COPIED)):
            return child.reject("leaked", min(copied), reply.text)
        if len(text) > len(chunk.input) or text in chunk.input:
            return child.reject("copied", "the passage itself, no instruction about it", reply.text)
        if self.mode == "standalone" and (leans := LEANS.search(text)):
            return child.reject("needs_passage", leans[0], reply.text)
        return child

    def unique(self, made: list[Record]) -> list[Record]:
        """With a passage, the same words about another one are another instruction: only those alone are compared."""
        left = [record for record in made if not record.fault]
        if self.mode == "grounded":
            return made
        near = self.dedup([], [record.instruction for record in left])
        known = {record.id: text for record, text in zip(left, near, strict=True) if text is not None}
        return [record.reject("duplicate", known[record.id][:200]) if record.id in known else record for record in made]

    def supported(self, made: list[Record], chunks: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        """Reject what the judge, with the chunk before it, says cannot be done with it. What cannot be read rejects
        nothing."""
        if not self.judge:
            return made
        passages = {chunk.id: chunk.input for chunk in chunks}
        asked = [record for record in made if not record.fault]
        chats = [
            chat(prompt.render(GROUNDED, passage=passages[record.origin.parent], instruction=record.instruction))
            for record in asked
        ]
        verdicts = models[self.judge].generate(chats, Sampling(max_tokens=16))
        said = {
            record.id: parse_label(reply.text, ("yes", "no")).value
            for record, reply in zip(asked, verdicts, strict=True)
        }
        return [
            record.reject("not_grounded", "the judge says that the passage does not support it")
            if said.get(record.id) == "no"
            else record
            for record in made
        ]


def template(kind: str) -> str:
    return kind if kind.endswith(prompt.SUFFIX) else f"document/seed_{kind}"
