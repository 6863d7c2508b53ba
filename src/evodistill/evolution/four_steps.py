"""What a reply of the four-step method holds: the methods of step 1 and the final instruction (Auto Evol-Instruct).

Models write the headings as they like: `#Finally Rewritten Instruction#:`, `**Step 4: Final Rewritten Instruction**`,
the text on the same line or on the next, after an echo of the whole prompt (AE2).
"""

from __future__ import annotations

import re

from evodistill.evolution.clean import clean
from evodistill.evolution.eliminate import WORD
from evodistill.evolution.items import MARK
from evodistill.parse import Parsed

STEP = r"""^[ \t>*_#"'\d.)(\[]*+(?:step[ \t]*+{number}[ \t.:)*_#\-–—(\["]*+)?(?:the |your )?"""
END = (
    r"""(?:[ \t]*+\([^)\n]*+\))?(?:[ \t*_#\])"]*+[:：]|[ \t]++[-–—][ \t]|[ \t]*+[*_#\])"]++(?=[ \t]|$)|[ \t]*+$)"""
    r"""[*_#]*+(?:"(?=\s))?[ \t]*+"""
)
FINAL_WORDS = r"final(?:ly|ized)?[ \t-]+re-?written[ \t]+(?:instruction|prompt)"


def heading(words: str, number: str = r"\d+") -> re.Pattern[str]:
    """A line that begins with these words: in markup, after "Step 4", alone or followed by its text."""
    return re.compile(STEP.format(number=number) + f"(?:{words})" + END, re.I | re.M)


FINAL = heading(FINAL_WORDS)
METHODS = heading(r"(?:possible )?methods?(?: list)?|list of (?:possible )?methods")
COPIED = 4  # words
# what may follow the methods: a heading of step 2 or 3, by name or by number
AFTER = re.compile(
    rf"{heading(r'(?:comprehensive )?plan|(?:re-?written|new) (?:instruction|prompt)').pattern}"
    r"|^[ \t>*_#]*+step[ \t]*+[2-9]\b",
    re.I | re.M,
)
BEYOND = re.compile(r"^[ \t>*_#]*+step[ \t]*+[5-9][ \t*_#]*+(?:[:.)\-–—]|$)", re.I | re.M)  # one that nobody asked for
OWN_STEP = re.compile(r"\bstep[ \t]*+\d", re.I)


def parse_final(reply: str) -> Parsed[str]:
    """The instruction under the last final heading: an echoed prompt comes before it. Without the heading there is no
    instruction: what the last lines of a reply are is not guessed."""
    headings = list(FINAL.finditer(reply))
    if not headings:
        return Parsed(reason="no_final_heading")
    text = reply[headings[-1].end() :]
    beyond = BEYOND.search(text)
    if beyond and not OWN_STEP.search(text, 0, beyond.start()):  # an instruction may have steps of its own
        text = text[: beyond.start()]
    return Parsed(cleaned) if (cleaned := clean(text)) else Parsed(reason="nothing_under_heading")


def parse_methods(reply: str, asked: str = "") -> list[str]:
    """The bullets of step 1, without marks and markup, each once (AE9), but for those that were copied from the prompt
    `asked`. None where the reply has no such section."""
    headings = list(FINAL.finditer(reply))
    before = reply[: headings[-1].start()] if headings else reply
    starts = list(METHODS.finditer(before))
    section = before[starts[-1].end() :] if starts else before
    after = AFTER.search(section)
    if not starts and not after:
        return []
    found = bullets(section[: after.start()] if after else section)
    return [text for text in found if not copied(text, asked)]


def bullets(text: str) -> list[str]:
    """One text per bullet of the first level: wrapped lines and bullets below it belong to it. Where no line has a
    mark, each line is one."""
    lines = text.splitlines()
    marked = [line for line in lines if MARK.match(line)]
    if not marked:
        return distinct(lines)
    level = min(indent(line) for line in marked)
    found: list[str] = []
    joined = False  # whether the next line may go on with the last bullet: a blank line ends it
    for line in lines:
        mark = MARK.match(line)
        if mark and (indent(line) <= level or not found):
            found.append(line[mark.end() :])
        elif line.strip() and found and (joined or mark):
            found[-1] += " " + MARK.sub("", line).strip()
        joined = bool(line.strip())
    return distinct(found)


def distinct(texts: list[str]) -> list[str]:
    """Without markup, in order, each once: a small model may write the same line many times."""
    cleaned = (" ".join(re.sub(r"\*\*|__|`", "", text).split()).strip(" *_#") for text in texts)
    kept = {text.casefold(): text for text in reversed(list(cleaned)) if re.search(r"\w", text)}
    return list(reversed(kept.values()))


def indent(line: str) -> int:
    return len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())


def copied(text: str, asked: str) -> bool:
    """Whether the prompt says the same, in words too many to be chance."""
    words = WORD.findall(text.lower())
    return len(words) >= COPIED and f" {' '.join(words)} " in f" {' '.join(WORD.findall(asked.lower()))} "
