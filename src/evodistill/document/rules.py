"""Rules that undo a layout: each takes the pages and gives them back with the number of changes it made.

They run in the order of RULES. All are deterministic, none needs a model; N5, N6.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

from evodistill.document.paragraphs import Pages, figures, paragraphs

LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
CONTROL = re.compile(r"[\x00\x01\x03-\x08\x0b\x0e-\x1f\x7f\xad​‎‏⁠﻿�]")
# from a word's start, and so many parts: else a long line without a break takes time in its square
HYPHEN = re.compile(r"(?<!\w)(\w++(?:-\w++){0,9}+)(?:\x02|[-‐]\n)\s*+(\w+)")
WORDS = re.compile(r"\w+(?:-\w+)*")
NUMBER = re.compile(
    r"(?im)^[ \t]*+(?:page[ \t]++)?[-–—|]?[ \t]*+\d{1,4}[ \t]*+[-–—|]?(?:[ \t]*+(?:of|/)[ \t]*+\d{1,4})?[ \t]*+$\n?"
)
STAMP = re.compile(r"(?m)arXiv:\d{4}\.\d{4,5}v\d+\s*\[[\w.-]+\]\s*\d{1,2} \w{3} \d{4}[ \t]*\n?")
REFERENCES = re.compile(
    r"(?im)^[ \t]*+(?:\d++\.?[ \t]++)?(?:references|bibliography|works cited|literaturverzeichnis)[ \t]*+:?[ \t]*+$"
)
AT_EDGE = 2  # lines from the top and from the bottom in which a running head or foot stands
REPEATED = 0.5  # share of the pages on which it does
WHOLE = 4  # letters of a part that may be a word of its own: "user-supplied", not "in-formation"


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
    """Words cut at a line's end. The hyphen stays where the document writes the word with it elsewhere, goes where it
    writes it without. Attested neither way, it stays before a digit, between capitals, where another hyphen follows,
    and between two words that both stand alone elsewhere; it goes otherwise."""
    text = "\n".join(pages)
    attested = Counter(word.lower() for word in WORDS.findall(HYPHEN.sub(" ", text)))
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
        capitals = right[0].isdigit() or (right[0].isupper() and left.isupper())
        more = match.string[match.end() : match.end() + 1] == "-"
        words = all(len(part) >= WHOLE and attested[part.lower()] for part in (left, right))
        return hyphenated if capitals or more or words else joined

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
