"""The items of a reply that was asked for a list, one a line: no bullets, numbers, headings or preambles (AI1)."""

from __future__ import annotations

import re

# "- x", "* x", "• x", "1. x", "(2) x", "3: x"; a hyphen glued to its word is part of the text ("-ing words")
MARK = re.compile(r"^\s*(?:(?:[-*•‣–—+]|\(?\d{1,3}[.):])\s+)+")
LABEL = re.compile(
    r"^(?:\*\*|__)[^*_\n]{1,60}?(?::\s*(?:\*\*|__)|(?:\*\*|__)\s*[:–—-])\s*(?=\S)"
)  # "**Word count:** …"
EMPHASIS = re.compile(r"^(\*\*|__|\*|_|`)(?P<text>(?:(?!\1).)+)\1(?P<end>[.!?:]?)$")
HEADING = re.compile(r"^\s*(?:#{1,6}\s|-{3,}\s*$|={3,}\s*$|\*{3,}\s*$)")
FENCE = re.compile(r"^\s*```\s*(\w*)")
PROSE = ("", "text", "txt", "plaintext", "markdown", "md")  # fences that may hold a list; the first is no fence at all
QUOTES = {'"': '"', "“": "”", "'": "'", "«": "»"}


def items(reply: str) -> list[tuple[str, bool]]:
    """(text, whether it is an item) of each line that is not blank. In a reply with marked lines only those are items:
    the others introduce, continue or close the list. Without any mark each line is one. Headings and code never are."""
    lines, fence = [], ""
    for line in reply.splitlines():
        if opened := FENCE.match(line):
            fence = "" if fence else opened[1].lower() or "text"
            lines.append((line, True))
        elif line.strip():
            lines.append((line, fence not in PROSE))
    marked = any(MARK.match(line) for line, no_item in lines if not no_item)
    out = []
    for line, no_item in lines:
        is_item = not no_item and not heading(line) and (not marked or bool(MARK.match(line)))
        out.append((bare(line) if is_item else line.strip(), is_item))
    return out


def heading(line: str) -> bool:
    """A title, a rule, or a line that announces others by its colon."""
    return bool(HEADING.match(line)) or line.rstrip("*_ ").endswith(":")


def bare(line: str) -> str:
    """The line without mark, label, emphasis and quotes around the whole; what stands inside or ends it stays (AI2)."""
    text = MARK.sub("", line, count=1).strip()
    text = LABEL.sub("", text, count=1)
    if whole := EMPHASIS.match(text):
        text = (whole["text"] + whole["end"]).strip()
    inner = text[1:-1]
    if len(text) > 1 and QUOTES.get(text[0]) == text[-1] and text[0] not in inner and text[-1] not in inner:
        text = inner.strip()
    return text
