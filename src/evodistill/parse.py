"""Parsers of model replies. Each is total: it gives a value or a reason, never a guess and never a default."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MARKUP = re.compile(r"[*_`\"'“”‘’#\[\]()<>{}]|\\boxed")
MAXIMUM = re.compile(r"\b(?:max(?:imum)?|possible|highest|perfect)\W*\Z", re.I)
NUMBER = r"[-+]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """A value, or the reason why there is none."""

    value: T | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (not self.reason):
            raise ValueError("a parsed reply has a value or a reason, exactly one")


def parse_label(text: str, labels: Sequence[str]) -> Parsed[str]:
    """The one label of a closed list that a rating reply gives, whatever its case, markup, punctuation or JSON (CR1);
    "very-hard" is very hard.

    A reply that is a label is taken as it is, and so is a line that is one, alone or behind a colon ("Rating: hard").
    Where no line is, the last one that names any decides if it names one only and ends with it ("So I call it hard."),
    else all lines together must name one only: a reply that quotes the options or wavers has no label."""
    if text.strip() in labels:
        return Parsed(text.strip())
    known: dict[str, str] = {}
    for label in labels:
        known.setdefault(spaced(label), label)  # C and C# are one without their marks
    known.pop("", None)
    flat = spaced(text)
    if not flat:
        return Parsed(reason="empty")
    if flat in known:
        return Parsed(known[flat])
    # longest first, so that "very easy" is not read as "easy"
    ordered = sorted(known, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, ordered)) + r")(?!\w)")
    named, alone, last = set[str](), set[str](), set[str]()
    for line in text.splitlines() if known else ():
        told = spaced(line)
        if not (here := set(pattern.findall(told))):
            continue
        named |= here
        last = here if len(here) == 1 and told.endswith(tuple(here)) else set()
        if here == {spaced(re.split("[:：]", line)[-1])}:
            alone |= here
    found = alone or last or named
    if len(found) == 1:
        return Parsed(known[found.pop()])
    return Parsed(reason="several_labels" if found else "no_label")


def parse_score(text: str, low: float, high: float) -> Parsed[float]:
    """The number of a scoring reply: alone, after a `score:` label, or out of the scale ("85/100") (CS1).

    Out of range, nan and inf have a reason. In a longer reply only a labelled number or an "n/high" counts, the last
    one: "Step 1 … Score: 8" is 8, and a sentence with a stray number has no score. "A score of 10 would need …" is a
    remark where a `score:` stands, and a maximum is no score."""
    flat = re.sub(r"[*_`\"'#]", "", text).strip()
    if not flat:
        return Parsed(reason="empty")
    alone = re.fullmatch(
        rf"\{{?\s*+(?:score|rating)?\s*+[:=]?\s*+\[?((?>{NUMBER}))\]?"
        rf"\s*+(?:/|out of)?\s*+((?>{NUMBER}))?\s*+(?:points?|%)?\s*+\.?\s*+\}}?",
        flat,
        re.I,
    )
    if alone:
        return scaled(alone[1], alone[2], low, high)
    labelled = scores(r"is|[:=]", flat) or scores("of", flat)
    found = labelled or list(
        re.finditer(rf"(?<![\w.])((?>{NUMBER}))\s*+(?:/|out of)\s*+({re.escape(f'{high:g}')})(?![\w])", flat, re.I)
    )
    if not found:
        return Parsed(reason="no_score")
    last = found[-1]
    if len({match[1] for match in found}) > 1 and not (labelled and "\n" not in flat[last.end(1) :]):
        return Parsed(reason="several_scores")
    if re.match(r"\s*+(?:[-–—]|to\b|or\b)\s*+\d", flat[last.end() :]):
        return Parsed(reason="several_scores")
    return scaled(last[1], last[2], low, high)


def scores(link: str, flat: str) -> list[re.Match[str]]:
    """The labelled numbers of a reply, each with its scale if it has one, without those that are called a maximum."""
    label = rf"(?:score|rating|grade)\w{{0,20}}+\s*+(?:{link})++\s*+\[*+\s*+"
    found = re.finditer(rf"{label}((?>{NUMBER}))\]*+(?:\s*+(?:/|out of)\s*+((?>{NUMBER})))?", flat, re.I)
    return [match for match in found if not MAXIMUM.search(flat[max(0, match.start() - 20) : match.start()])]


def scaled(number: str, scale: str | None, low: float, high: float) -> Parsed[float]:
    """The number, if it lies on the scale that was asked for."""
    value = decimal(number)
    if scale and decimal(scale) != high:
        return Parsed(reason="other_scale")
    if not low <= value <= high:
        return Parsed(reason="out_of_range")
    return Parsed(value)


def decimal(number: str) -> float:
    """A comma stands before thousands, or as a point."""
    return float(number.replace(",", "" if re.fullmatch(r"[-+]?\d{1,3},\d{3}", number) else "."))


def parse_tag(text: str, tag: str) -> Parsed[str]:
    """What stands in the last complete `<tag>…</tag>`, stripped."""
    value = start = None
    for mark in re.finditer(rf"<(/?){re.escape(tag)}>", text, re.I):
        if not mark[1]:
            start = mark.end() if start is None else start
        elif start is not None:
            value, start = text[start : mark.start()].strip(), None
    if value is None:
        return Parsed(reason="no_tag" if f"<{tag}" not in text.lower() else "tag_not_closed")
    return Parsed(value) if value else Parsed(reason="empty")


def plain(text: str) -> str:
    """Lower case, no markup, single spaces, no punctuation at the ends."""
    return " ".join(MARKUP.sub(" ", text).split()).strip(" .,:;!?-").lower()


def spaced(text: str) -> str:
    """As `plain`, with a space in the place of hyphens."""
    return " ".join(plain(text).replace("-", " ").split())
