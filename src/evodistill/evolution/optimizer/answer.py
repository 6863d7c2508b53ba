"""When an answer shows that the instruction it answers has not evolved (arXiv 2406.00770 §3.3 and its appendix).

Three classes: stagnant complexity (the model takes the instruction for small talk and asks back), insufficient
qualification (it agrees, and asks for what is missing), loss of key information (it asks for what was left out).

Searched anywhere, the first two would catch every good answer that closes with a polite question and says "sure" or
"great" somewhere; so in the strict form the answer must *begin* with the phrase. The loose form is the paper's main
text, which lets the first class stand anywhere.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Form = Literal["strict", "loose"]
FORMS = get_args(Form)

SMALL_TALK = r"(?:understood|thank you|what|that(?: is|'s|’s) correct|great)\b"
BEGINS_STAGNANT = re.compile(rf"\A\W*{SMALL_TALK}", re.I)
HOLDS_STAGNANT = re.compile(rf"\b{SMALL_TALK}", re.I)
BEGINS_AGREEING = re.compile(r"\A\W*sure\b", re.I)
ASKS_FOR_MORE = re.compile(r"\bplease provide\b", re.I)
ENDS_ASKING = re.compile(r"[?？][\s*_\"'”’)\]]*\Z")  # markup and quotes may close after the question mark


def failure(answer: str, form: Form = "strict") -> str:
    """The class of the failure that the answer shows; empty where it shows none."""
    if not answer.strip():
        return "no_answer"
    if ASKS_FOR_MORE.search(answer):
        return "lost_information"
    if not ENDS_ASKING.search(answer):
        return ""
    if BEGINS_AGREEING.search(answer):
        return "insufficient_qualification"
    stagnant = BEGINS_STAGNANT if form == "strict" else HOLDS_STAGNANT
    return "stagnant_complexity" if stagnant.search(answer) else ""
