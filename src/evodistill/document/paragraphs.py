"""Lines → paragraphs, tables, listings and labels; out with those nobody can read any more. Two of the rules."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby, pairwise
from statistics import median

Pages = list[str]
ENDS = re.compile(r"[.!?:;。！？]['\")\]”’»]*\s*\Z")
STARTS = re.compile(r"\A\s*+(?:[•●▪■*–—-]\s|\(?[0-9a-zA-Z]{1,3}[.)]\s|#{1,6}\s|\d+(?:\.\d+)+\s)")
CODE = re.compile(r"[;{}]\s*\Z|\A\s*(?:[{}]|</?\w|\$ |\d+: )")
RUNS = {"code": 2, "numbers": 3, "labels": 3}  # lines one after the other that make such a block
SHORT = 0.6  # of the usual line: a heading
LABEL = 0.4
MANY = 8  # labels or tokens that tell a figure


def paragraphs(pages: Pages) -> tuple[Pages, int]:
    """Lines joined to paragraphs: a paragraph ends at a blank line, before a bullet or numbered item, after a short
    line that ends a sentence or is a heading, and where a listing, a table or the labels of a figure begin or end:
    those keep their lines. Counts the joined lines. Code fences of Markdown stay as they are."""
    full = median([len(line.rstrip()) for page in pages for line in page.split("\n") if line.strip()] or [0])
    joined, out = 0, []
    for page in pages:
        if "```" in page:
            out.append(page)
            continue
        lines = [line.rstrip() for line in page.split("\n")]
        text = lines[0]
        for (before, was), (line, kind) in pairwise(zip(lines, kinds(lines, full), strict=True)):
            if not line.strip():
                text += "\n"
            elif not before.strip():
                text += "\n" + line
            elif kind and kind == was:
                text += "\n" + (line if kind == "code" else line.strip())
            elif kind or was or parts(before, line, full):
                text += "\n\n" + line.strip()
            else:
                # scripts without spaces join without one
                text += ("" if wide(before[-1]) and wide(line.lstrip()[0]) else " ") + line.strip()
                joined += 1
        out.append(re.sub(r"\n{3,}", "\n\n", text).strip())
    return out, joined


def parts(before: str, line: str, full: float) -> bool:
    """A paragraph ends between two lines of prose."""
    if STARTS.match(line):
        return True
    if ENDS.search(before):
        return len(before) < 0.85 * full
    return len(before) < SHORT * full and line.lstrip()[0].isupper()


def kinds(lines: list[str], full: float) -> list[str]:
    """Of each line: code, numbers (a row of a table), labels (of a figure), or nothing, which is prose."""
    out: list[str] = []
    for kind, run in groupby(kind_of(line, full) for line in lines):
        length = len(list(run))
        out += [kind if length >= RUNS.get(kind, 1) else ""] * length
    return out


def kind_of(line: str, full: float) -> str:
    if CODE.search(line):
        return "code"
    words = line.split()
    if len(words) > 1 and letters(line) < 0.5:
        return "numbers"
    label = 0 < len(words) <= 2 and len(line) < LABEL * full and not ENDS.search(line) and not STARTS.match(line)
    return "labels" if label and not any(map(wide, line)) else ""


def figures(pages: Pages) -> tuple[Pages, int]:
    """Blocks that nobody can read any more: labels of figures, tables of numbers, formulas torn apart. Counts them."""
    gone, out = 0, []
    for page in pages:
        blocks = page.split("\n\n")
        kept = [block for block in blocks if not torn(block)]
        gone += len(blocks) - len(kept)
        out.append("\n\n".join(kept))
    return out, gone


def torn(block: str) -> bool:
    """Fewer than 60 % letters, mostly tokens of one or two characters, or many lines of one or two words; no code."""
    tokens, lines = block.split(), block.split("\n")
    if len(tokens) < MANY or "```" in block or 2 * sum(bool(CODE.search(line)) for line in lines) > len(lines):
        return False
    if any(map(wide, block)):
        return letters(block) < 0.6
    short = sum(len(token) <= 2 for token in tokens) > 0.6 * len(tokens)
    labels = len(lines) >= MANY and all(kind_of(line, 1000) == "labels" for line in lines)
    return letters(block) < 0.6 or short or labels


def letters(text: str) -> float:
    """Their share of what is no white space."""
    dense = "".join(text.split())
    return sum(character.isalpha() for character in dense) / max(1, len(dense))


def wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
