"""Strip what a model wraps around the instruction it was asked for: heading, preamble, quotes, fence, notes (EV2)."""

from __future__ import annotations

import re

HEADING = re.compile(
    r"(?im)^[ \t>*_#]*+(?:the |your |my |a )?(?:final(?:ly)? |newly |new )?"
    r"(?:rewritten|re-written|created|evolved|new|revised|improved|harder)"
    r"(?: version of the)?(?: given)? (?:prompt|instruction|question|version)"
    r"[ \t*_#]*+(?:\([^)\n]*+\))?[ \t*_#]*+[:：][ \t*_#]*+"
)
PREAMBLE = re.compile(
    r"(?is)\A(?:(?:(?:sure|certainly|of course|absolutely|okay|ok|great|got it)\b[^\n:]{0,40}[,.!:]\s*+)?"
    r"(?:here(?:'s| is| are)|below is|this is|i(?:'ve| have) (?:rewritten|created|made))\b[^\n:]{0,120}"
    r"(?:prompt|instruction|version|question|rewrit|one)[^\n:]{0,80}:\s*+)++"
)
OPENER = re.compile(r"(?i)\A(?:(?:sure|certainly|of course|absolutely)(?: thing)?[,.!:]\s++)++")
NOTES = re.compile(
    r"(?ims)\n[^\S\n]*+[*_(\[#]*+(?:note|notes|explanation|rationale|reasoning|changes(?: made)?|comment|why this)\b"
    r"[^\n]{0,40}[:：].*\Z"
    r"|\n[^\S\n]*+(?:i (?:have |'ve )?(?:added|rewritten|rewrote|changed|made|kept)"
    r"|this (?:rewritten|new|created|revised) (?:prompt|version))\b.*\Z"
)
INPUT = re.compile(r"(?im)\n[^\S\n]*+[#*_ \t]*+(?:the )?given (?:input|prompt)[#*_ \t]*+[:：].*\Z", re.S)
FENCE = re.compile(r"\A```[\w-]*[ \t]*\n(.*?)\n?```\Z", re.S)
QUOTES = {'"': '"', "“": "”", "'": "'", "«": "»", "「": "」", "`": "`"}


def clean(reply: str) -> str:
    """The instruction inside a reply. Idempotent; text that carries no wrapping is only stripped."""
    text = reply.strip()
    while (shorter := once(text)) != text:
        text = shorter
    return text


def once(text: str) -> str:
    headings = list(HEADING.finditer(text))
    if headings:  # an echoed prompt comes before the last heading that has something below it
        ends = [*(later.start() for later in headings[1:]), len(text)]
        below = (text[found.end() : end].strip() for found, end in zip(reversed(headings), reversed(ends), strict=True))
        text = next(filter(None, below), text[: headings[0].start()].strip())
    text = PREAMBLE.sub("", text, count=1).strip() or text
    text = OPENER.sub("", text, count=1).strip()
    text = INPUT.sub("", text).strip() or text
    text = NOTES.sub("", text).strip() or text
    if (fenced := FENCE.match(text)) and "```" not in fenced[1]:
        text = fenced[1].strip()
    for opening, closing in QUOTES.items():
        inner = text[1:-1]
        # only quotes around the whole: 'Define "x" and "y"' keeps its own
        if (
            len(text) > 1
            and text[0] == opening
            and text[-1] == closing
            and opening not in inner
            and closing not in inner
        ):
            text = inner.strip()
    return text
