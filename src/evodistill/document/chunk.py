"""A document → chunks: slices of its text that end with a paragraph or a sentence, each with its pages and offsets.

Without overlap the chunks, joined, are the text: nothing is lost between them (N5, S2).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from evodistill.backend import Backend
from evodistill.record import Origin, Record, digest

PARAGRAPH = re.compile(r"\n\n+")
ABBREVIATED = "".join(
    rf"(?<!{word}\.)" for word in (r"e\.g", r"i\.e", "cf", "vs", "al", "Fig", "Eq", "Sec", "Dr", r"\b[A-Z]")
)
SENTENCE = re.compile(rf"(?<=[.!?]){ABBREVIATED}['\")\]”’»]*\s+|(?<=[。！？])[”’」]*\s*|\n\n+")
WORD = re.compile(r"\s+")
KINDS = {"sentences": SENTENCE, "words": WORD}
FULL = 0.5  # a paragraph's end ends a chunk that is so full already


@dataclass(frozen=True)
class Chunk:
    """A record a chunk; the document's own record is set aside, under the reason `chunked`."""

    size: int = 1000  # characters at most; NotebookLlama's figure
    by: str = "sentences"  # sentences (and paragraphs) | words, as NotebookLlama
    overlap: int = 0  # sentences (words) of the chunk before that come again

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        if self.size < 20:
            raise ValueError(f"size must be ≥ 20 characters, got {self.size}")
        if self.by not in KINDS:
            raise ValueError(f"by must be one of {', '.join(KINDS)}, got {self.by!r}")
        if self.overlap < 0:
            raise ValueError(f"overlap must be ≥ 0, got {self.overlap}")

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        out: list[Record] = []
        for record in records:
            if record.fault:
                out.append(record)
                continue
            made = list(self.chunks(record))
            out += [record.reject("chunked", f"{len(made)} chunks"), *made]
        return out

    def chunks(self, record: Record) -> Iterator[Record]:
        text = record.input or record.instruction
        starts = list(record.extra.get("starts", [0]))
        kept = {key: record.extra[key] for key in ("document", "kind") if key in record.extra}
        for number, (start, end) in enumerate(spans(text, self.size, self.overlap, KINDS[self.by])):
            pages = [bisect_right(starts, start), bisect_right(starts, end - 1)]
            id = digest(["chunk", record.id, start, end])
            extra = {**kept, "pages": pages, "start": start, "end": end}
            # a line of its own: two evolvers are compared on the same passages
            origin = Origin(seed=id, index=number, parent=record.id, step="chunk", operation="chunk")
            yield Record(id, "", text[start:end], origin=origin, extra=extra)


def spans(text: str, size: int, overlap: int, units: re.Pattern[str]) -> list[tuple[int, int]]:
    """(start, end) of each chunk: at most `size` characters, never blank."""
    ends = unit_ends(text, size, units)
    paragraphs = {match.end() for match in PARAGRAPH.finditer(text)}
    out: list[tuple[int, int]] = []
    start = first = 0  # `first`: the unit that begins at `start`
    while start < len(text):
        last = max(bisect_right(ends, start + size) - 1, first)
        whole = [i for i in range(last, first - 1, -1) if ends[i] in paragraphs and ends[i] - start >= FULL * size]
        if ends[last] < len(text) and whole:
            last = whole[0]
        if not text[start : ends[last]].strip() and out:  # blank: belongs to the chunk before
            out[-1] = (out[-1][0], ends[last])
        else:
            out.append((start, ends[last]))
        if ends[last] >= len(text):
            break
        first = max(last + 1 - overlap, first + 1)
        start = ends[first - 1]
    return out


def unit_ends(text: str, size: int, units: re.Pattern[str]) -> list[int]:
    """Where units end, a unit that is too long cut at words, and a word that is too long at `size` (N5)."""
    ends = [match.end() for match in units.finditer(text) if match.end() > 0]
    ends = sorted({*ends, len(text)})
    out, start = [], 0
    for end in ends:
        while end - start > size:
            room = [match.end() for match in WORD.finditer(text, start, start + size)]
            start = room[-1] if room and room[-1] > start else start + size
            out.append(start)
        out.append(end)
        start = end
    return out
