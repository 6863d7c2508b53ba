"""Which lines are no constraints that a Python function could check, and which have been seen (AI1).

unfit("Write in a friendly tone.", 3, 40)   # ("not_checkable", "friendly")
"""

from __future__ import annotations

import re

from rapidfuzz import process
from rapidfuzz.distance import Indel

from evodistill.evolution.eliminate import CODE, COPIED, REFUSAL, WORD, grams, ngrams

# what a function cannot tell from the text alone: other media, style, tone, sense. Borderline forms (haiku, rhymes)
# pass: whether functions agree on them is for the cross-validation to find out
NOT_CHECKABLE = re.compile(
    r"(?i)\b(?:images?|pictures?|photos?|videos?|audio|music|hyperlinks?|links?|urls?|websites?|fonts?|colou?red|"
    r"handwrit\w+|tones?|moods?|emotion\w*|feelings?|humou?r\w*|funny|sarcas\w+|iron(?:y|ic)|metaphors?|similes?|"
    r"analog(?:y|ies)|anecdotes?|persona|style|as if|pretend\w*|role-?play\w*|imagine|shakespear\w*|famous|"
    r"translat\w+|creativ\w+|engaging|interesting|persuasive|convincing|professional|(?:in)?formal|polite\w*|"
    r"friendly|relevant|accura\w+|clear(?:ly)?|clarity|concise\w*|straightforward|descriptive|appropriate\w*|"
    r"proper(?:ly)?|correct(?:ly)?|grammar|grammatical\w*|meaningful|logical(?:ly)?|unnecessary|balanced)\b"
)
# a constraint asks for something: an order, or a word like must. English only, as the one above
REQUIREMENT = re.compile(
    r"(?i)\A\W*+(?:(?:please|always|only|then|also|try to|be sure to|you (?:must|should|have to|need to))\s+)*(?:"
    "add|alternate|answer|arrange|avoid|begin|break|build|capitali[sz]e|choose|close|combine|compose|conclude|"
    "construct|contain|count|craft|create|deliver|divide|do|don't|double|draft|employ|enclose|end|ensure|exclude|"
    "express|fill|finish|follow|form|format|formulate|generate|give|have|highlight|include|incorporate|insert|"
    "introduce|join|keep|leave|let|limit|list|make|mark|mention|name|number|omit|open|order|organi[sz]e|pen|place|"
    "present|print|produce|provide|put|quote|refrain|remove|repeat|replace|reply|respond|restrict|return|reverse|"
    "say|separate|set|sort|speak|spell|split|start|state|stick|structure|surround|type|underline|use|wrap|write|yield"
    r")\b|\b(?:must|should|shall|cannot|can't|may|needs? to|ha(?:s|ve) to|no|not|never|only|exactly|at (?:least|most)|"
    r"(?:more|less|fewer|shorter|longer) than|between|without)\b"
)


def unfit(text: str, min_words: int, max_words: int, asked: str = "") -> tuple[str, str]:
    """(reason code, detail) of the first rule that a line breaks; empty for a constraint. `asked` is the prompt that
    the line answers, without its data."""
    words = WORD.findall(text.lower())
    if len(words) < min_words:
        return "too_short", f"{len(words)} words"
    if len(words) > max_words:
        return "too_long", f"{len(words)} words"
    if copied := grams(asked).intersection(ngrams(words, COPIED)):
        return "leaked", min(copied)
    if match := REFUSAL.search(text):
        return "refusal", match[0]
    if CODE.search(text):
        return "code", ""
    if match := NOT_CHECKABLE.search(text):
        return "not_checkable", match[0]
    if text.isascii() and not REQUIREMENT.search(text):
        return "no_requirement", ""
    return "", ""


class Known:
    """The constraints so far, to find duplicates, exact and near, of seeds and of earlier ones (AI1)."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.texts: list[str] = []
        self.keys: list[str] = []
        self.kinds: list[str] = []

    def find(self, text: str) -> tuple[str, str] | None:
        """(kind, text and similarity) of the nearest one, if it is near enough."""
        found = process.extractOne(
            flat(text), self.keys, scorer=Indel.normalized_similarity, score_cutoff=self.threshold
        )
        if not found:
            return None
        _, similarity, number = found
        return self.kinds[number], f"{self.texts[number]} (similarity {similarity:.3f})"

    def add(self, text: str, kind: str) -> None:
        self.texts.append(text)
        self.keys.append(flat(text))
        self.kinds.append(kind)


def flat(text: str) -> str:
    """Lower-case words; punctuation that a constraint is about stays."""
    return " ".join(text.lower().split()).rstrip(" .!:;")
