"""Rules that undo a layout: each takes the pages and gives them back with the number of changes it made.

They run in the order of RULES. All are deterministic, none needs a model; N5, N6.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from statistics import median

Pages = list[str]
LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
CONTROL = re.compile(r"[\x00\x01\x03-\x08\x0b\x0e-\x1f\x7f\xad​‎‏⁠﻿�]")
HYPHEN = re.compile(r"(\w+(?:-\w+)*)(?:\x02|[-‐]\n)\s*(\w+)")
WORDS = re.compile(r"\w+(?:-\w+)*")
NUMBER = re.compile(
    r"(?im)^[ \t]*(?:page[ \t]+)?[-–—|]?[ \t]*\d{1,4}[ \t]*[-–—|]?(?:[ \t]*(?:of|/)[ \t]*\d{1,4})?[ \t]*$\n?"
)
STAMP = re.compile(r"(?m)arXiv:\d{4}\.\d{4,5}v\d+\s*\[[\w.-]+\]\s*\d{1,2} \w{3} \d{4}[ \t]*\n?")
REFERENCES = re.compile(
    r"(?im)^[ \t]*(?:\d+\.?[ \t]+)?(?:references|bibliography|works cited|literaturverzeichnis)[ \t]*:?[ \t]*$"
)
ENDS = re.compile(r"[.!?:;。！？]['\")\]”’»]*\s*\Z")
STARTS = re.compile(r"\s*(?:[•●▪■*–—-]\s|\(?[0-9a-zA-Z]{1,3}[.)]\s|#{1,6}\s|\d+(?:\.\d+)+\s)")
AT_EDGE = 2  # lines from the top and from the bottom in which a running head or foot stands
REPEATED = 0.5  # share of the pages on which it does


def unicode(pages: Pages) -> tuple[Pages, int]:
    """NFC, ligatures apart."""
    done = [
        "".join(LIGATURES.get(character, character) for character in unicodedata.normalize("NFC", p)) for p in pages
    ]
    return done, sum(character in LIGATURES for page in pages for character in page)


def control(pages: Pages) -> tuple[Pages, int]:
    """Control and zero-width characters out; PDFium's hyphen mark U+0002 stays for `hyphens`."""
    found = [CONTROL.subn("", page.replace(" ", " ")) for page in pages]
    return [page for page, _ in found], sum(count for _, count in found)


def heads(pages: Pages) -> tuple[Pages, int]:
    """Lines repeated at the same place of at least half the pages, digits masked, or of three where the number in them
    goes up with the pages. A line without a number stays where it comes first: it may be the title."""
    if len(pages) < 3:
        return pages, 0
    split = [page.split("\n") for page in pages]
    places = [edges(lines) for lines in split]
    counts = Counter(key for edge in places for key in edge)
    counting = Counter(
        (key, last_number(split[page][number]) - page)
        for page, edge in enumerate(places)
        for key, number in edge.items()
        if "0" in key[1]
    )
    often = {key for key, count in counts.items() if count >= max(2, REPEATED * len(pages))}
    often |= {key for (key, _), count in counting.items() if count >= 3}
    gone, seen = 0, set()
    for lines, edge in zip(split, places, strict=True):
        numbers = [number for key, number in edge.items() if key in often and ("0" in key[1] or key in seen)]
        numbers.sort(reverse=True)
        seen |= often & set(edge)
        for number in numbers:
            del lines[number]
        gone += len(numbers)
    return ["\n".join(lines) for lines in split], gone


def last_number(line: str) -> int:
    return int(re.findall(r"\d+", line)[-1])


def edges(lines: list[str]) -> dict[tuple[int, str], int]:
    """(place, masked text) → line number, of the first and last lines that are not blank."""
    there = [number for number, line in enumerate(lines) if line.strip()]
    first, last = there[:AT_EDGE], there[-AT_EDGE:]
    named = [(place, number) for place, number in enumerate(first)]
    named += [(place - len(last), number) for place, number in enumerate(last) if number not in first]
    return {(place, re.sub(r"\d+", "0", lines[number].strip())): number for place, number in named}


def numbers(pages: Pages) -> tuple[Pages, int]:
    """Bare page numbers: a line that is nothing else, first or last of its page."""
    gone, out = 0, []
    for page in pages:
        lines = page.split("\n")
        there = [number for number, line in enumerate(lines) if line.strip()]
        for number in sorted({*there[:1], *there[-1:]}, reverse=True):
            if len(there) > 1 and NUMBER.fullmatch(lines[number]):
                del lines[number]
                gone += 1
        out.append("\n".join(lines))
    return out, gone


def stamps(pages: Pages) -> tuple[Pages, int]:
    """The stamp that arXiv prints into the margin, even where it is glued to a line."""
    found = [STAMP.subn("", page) for page in pages]
    return [page for page, _ in found], sum(count for _, count in found)


def hyphens(pages: Pages) -> tuple[Pages, int]:
    """Words cut at a line's end: the hyphen stays where the hyphenated form is attested in the document, goes where the
    joined one is; attested nowhere, it stays before a digit or between capitals, and goes otherwise."""
    text = "\n".join(pages)
    cut = {match.span() for match in HYPHEN.finditer(text)}
    plain = HYPHEN.sub(" ", text) if cut else text
    attested = Counter(word.lower() for word in WORDS.findall(plain))
    count = 0

    def mend(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        left, right = match[1], match[2]
        hyphenated, joined = f"{left}-{right}", left + right
        if attested[hyphenated.lower()]:
            return hyphenated
        if attested[joined.lower()]:
            return joined
        keep = right[0].isdigit() or (right[0].isupper() and left.isupper())
        return hyphenated if keep else joined

    done = [HYPHEN.sub(mend, page) for page in pages]
    return [page.replace("\x02", "-") for page in done], count


def references(pages: Pages) -> tuple[Pages, int]:
    """Everything from the last heading "References" on, where it stands in the second half; counts characters."""
    before = 0
    half = sum(map(len, pages)) / 2
    found: tuple[int, int] | None = None
    for number, page in enumerate(pages):
        for match in REFERENCES.finditer(page):
            if before + match.start() >= half:
                found = number, match.start()
        before += len(page)
    if found is None:
        return pages, 0
    number, start = found
    kept = [*pages[:number], pages[number][:start], *[""] * (len(pages) - number - 1)]
    return kept, sum(map(len, pages)) - sum(map(len, kept))


def paragraphs(pages: Pages) -> tuple[Pages, int]:
    """Lines joined to paragraphs: a paragraph ends at a blank line, before a bullet or numbered item, after a short
    line that ends a sentence. Counts the joined lines. Code fences of Markdown stay as they are."""
    joined, out = 0, []
    for page in pages:
        if "```" in page:
            out.append(page)
            continue
        lines = [line.rstrip() for line in page.split("\n")]
        full = median([len(line) for line in lines if line.strip()] or [0])
        text = lines[0] if lines else ""
        for before, line in pairwise(lines):
            if not line.strip():
                text += "\n"
            elif not before.strip():
                text += "\n" + line
            elif STARTS.match(line) or (ENDS.search(before) and len(before) < 0.85 * full):
                text += "\n\n" + line.strip()
            else:
                # scripts without spaces join without one
                glue = "" if wide(before[-1]) and wide(line.lstrip()[0]) else " "
                text += glue + line.strip()
                joined += 1
        out.append(re.sub(r"\n{3,}", "\n\n", text).strip())
    return out, joined


def figures(pages: Pages) -> tuple[Pages, int]:
    """Paragraphs that are no prose (labels of figures, tables torn apart): fewer than 60 % letters, or mostly tokens of
    one or two characters. Counts them."""
    gone, out = 0, []
    for page in pages:
        kept = []
        for block in page.split("\n\n"):
            if torn(block):
                gone += 1
            else:
                kept.append(block)
        out.append("\n\n".join(kept))
    return out, gone


def torn(block: str) -> bool:
    text = "".join(block.split())
    tokens = block.split()
    if len(tokens) < 8 or "```" in block:
        return False
    letters = sum(character.isalpha() for character in text) / len(text)
    if any(wide(character) for character in text):
        return letters < 0.6
    return letters < 0.6 or sum(len(token) <= 2 for token in tokens) > 0.6 * len(tokens)


def wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


RULES: dict[str, Callable[[Pages], tuple[Pages, int]]] = {
    "unicode": unicode,
    "control": control,
    "stamps": stamps,
    "heads": heads,
    "numbers": numbers,
    "hyphens": hyphens,
    "references": references,
    "paragraphs": paragraphs,
    "figures": figures,
}
