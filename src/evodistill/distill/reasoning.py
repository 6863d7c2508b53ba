"""Reasoning and answer of a reply, kept apart."""

from __future__ import annotations

import re

from evodistill.parse import Parsed

# <|begin_of_thought|> … <|end_of_thought|> is the older form of the same
OPENS = re.compile(r"<(?:think|thinking|thought)>|<\|begin_of_thought\|>", re.I)
CLOSES = re.compile(r"</(?:think|thinking|thought)>|<\|end_of_thought\|>", re.I)
SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>|</?answer>", re.I)


def parse_reasoning(text: str) -> Parsed[tuple[str, str]]:
    """(reasoning, answer). A reply that only closes the tag has its opening in the model's chat template; one without
    any tag is all answer. Reasoning that does not end, or nothing after it, has a reason."""
    opens, closes = OPENS.search(text), CLOSES.search(text)
    if not closes:
        return Parsed(reason="reasoning_not_closed") if opens else Parsed(("", text.strip()))
    if OPENS.search(text, closes.end()):
        return Parsed(reason="several_reasonings")
    before, thought = ("", text[: closes.start()])
    if opens and opens.start() < closes.start():
        before, thought = text[: opens.start()], text[opens.end() : closes.start()]
    answer = SOLUTION.sub("", before + text[closes.end() :]).strip()
    return Parsed((thought.strip(), answer)) if answer else Parsed(reason="answer_empty")
