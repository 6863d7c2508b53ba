"""Which evolved instructions have failed, and why (WizardLM, arXiv 2304.12244, "Elimination Evolving"; EV2).

WizardLM's four rules (no information gain, refusal, nothing but punctuation and stop words, words of the evolution
prompt copied), and those that small models made necessary: unchanged, near-duplicate, empty, answered, out of length,
lost code or table, another language. Each has a reason code, so that what an evolver fails at can be counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from rapidfuzz.distance import Indel

# rensa is compiled and has no stubs
if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier
    from rensa import RMinHash, RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue]

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")  # CJK scripts have no spaces: a character is a word
# words of the evolution prompts, ours and the published ones (WizardLM's fourth rule)
LEAKED = re.compile(
    r"(?i)\b(?:given|rewritten|re-written|created|new|original|revised|evolved) (?:prompt|instruction|input)s?\b"
    r"|#\s*(?:the )?(?:rewritten|created|given)\b"
    r"|\bprompt (?:rewriter|creator)\b"
    r"|\b(?:rewrite|rewriting) (?:an?|the|this|your) (?:\w+ )?(?:prompt|instruction)"
    r"|\blanguage of the (?:prompt|instruction)"
    r"|\b(?:harder|more (?:difficult|complex|challenging)) (?:version|prompt|instruction)\b"
    r"|\bthe (?:prompt|instruction) (?:is|was|asks|has|must|should)\b"
)
COPIED = 5  # so many words in a row of the evolution prompt are copied, not chosen
REFUSAL = re.compile(r"(?i)\b(?:sorry|as an ai\b|as a language model|i (?:can ?not|can't|am unable|am not able))")
REFUSAL_WORDS = 80  # WizardLM's second rule: "sorry" in a reply of fewer words
ANSWER = re.compile(
    r"(?im)\A\W{0,3}(?:the )?(?:final )?(?:answer|solution|response|output|result)(?: to [^\n:]{0,60})?\s*+(?:is\b|:)"
    r"|^[^\S\n]*+(?:A|Answer|Solution)\s*+:|^####\s*[-\d]|\\boxed\{"
    r"|\A(?:I(?:'ll|'ve| will| have| am going)|Let me|Let's)\b"
)
LIST = re.compile(r"\A\s*(?:[-*•]|\d+[.)])\s")
CODE = re.compile(
    r"```|^[^\S\n]*+(?:def|class|import|from|#include|public|function|SELECT|const|let|var)\b.*[({;:]"
    r"|^[^\S\n]*+\w++\([^)\n]*+\)[^\S\n]*+[;{]?[^\S\n]*+$",
    re.M,
)
TABLE = re.compile(r"^.[^|\n]*+\|.[^\n]*+\n\s*+[ \t:|]*+-[ \t:-]*+\|", re.M)  # a | b, and --- | --- below it
DIRECTIVE = re.compile(
    r"(?i)[?？؟]|\A\W*+(?:what|who|whom|whose|which|where|when|why|how)(?: \w+){0,2}? "
    r"(?:is|are|was|were|do|does|did|can|could|would|should|will|has|have|many|much)\b"
    r"|(?:^|[.!;:,(]\s*+|\n[^\S\n]*+|\b(?:and|then|please|you (?:must|should|are to|need to|have to)"
    r"|(?:can|could|would) you|(?:want|need|ask|like) you to|help me(?: to)?)\s++|[-*\d][.)]?\s++)(?:"
    "add|analy[sz]e|answer|apply|argue|arrange|assess|brainstorm|build|calculate|change|choose|classify|combine|"
    "come up|compare|complete|compose|compute|conduct|consider|construct|contrast|convert|correct|count|create|"
    "critique|debug|decide|define|delete|demonstrate|derive|describe|design|detect|determine|develop|devise|"
    "differentiate|discuss|distinguish|divide|draft|draw|edit|elaborate|enumerate|estimate|evaluate|examine|expand|"
    "explain|explore|express|extend|extract|factor|figure|fill|find|fix|formulate|gather|generate|give|group|guess|"
    "help|highlight|identify|illustrate|imagine|implement|improve|include|infer|insert|interpret|introduce|invent|"
    "investigate|join|justify|label|list|make|map|match|modify|multiply|name|offer|optimi[sz]e|order|organi[sz]e|"
    "outline|output|paraphrase|parse|perform|pick|plan|play|predict|prepare|present|print|produce|propose|prove|"
    "provide|put|quote|rank|rate|read|rearrange|recommend|reconstruct|reduce|refactor|rename|rephrase|replace|report|"
    "research|respond|restate|return|reverse|review|revise|rewrite|round|say|search|select|sequence|share|show|"
    "simplify|simulate|solve|sort|specify|split|state|structure|study|subtract|suggest|sum|summari[sz]e|supply|"
    "support|synthesi[sz]e|take|tell|think|train|transcribe|transform|translate|trace|turn|update|use|using|validate|"
    "verify|visuali[sz]e|write|your task is"
    r")\b"
)
PERMUTATIONS, BANDS, SEED = 120, 10, 0  # of MinHash: proposes pairs of Jaccard 0.9 with 96 %, of 0.95 with 99.9 %
CANDIDATES = 200
RESPELLED = 0.8  # of the letters of two words that are one in two spellings: "colour" and "color" have 0.91
KEPT = 0.5  # a child this similar to its parent is in its language: detection, the dearest rule, is for the others
STOP_WORDS = frozenset(
    """
    a an and are as at be but by can could did do does for from had has have he her his how i if in into is it its me
    my no not of on or our she so some such than that the their them then there these they this to too up was we were
    what when where which who why will with would you your
    """.split()  # noqa: SIM905 - a literal would take ninety lines
)


@dataclass(frozen=True)
class Eliminator:
    """The rules and their bounds. `reason` gives the code of the first rule that a child breaks, or an empty string."""

    max_similarity: float = 0.95  # to the parent: 1 − normalised insert/delete distance of the words in lower case
    # to any instruction of another line: Jaccard of word 3-grams; null = not checked
    pool_similarity: float | None = 0.9
    min_length_ratio: float = 0.5  # of the child's words to the parent's
    max_length_ratio: float = 3.0
    length_slack: int = 40  # words allowed beyond the ratio: a five-word parent may grow by twenty
    language: bool = True  # refuse another language than the parent's
    language_confidence: float = 0.5  # of both detections; short texts are uncertain and pass
    # role that is asked whether parent and child are equal (WizardLM's first rule); null = not asked
    equality: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_similarity", "pool_similarity", "language_confidence"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}")
        if not 0 <= self.min_length_ratio < self.max_length_ratio:
            raise ValueError(
                f"length ratios must be 0 ≤ min < max, got {self.min_length_ratio} and {self.max_length_ratio}"
            )

    def reason(
        self, parent: str, child: str, *, prompt: str = "", answer: str = "", breadth: bool = False
    ) -> tuple[str, str]:
        """(reason code, detail) of the first broken rule. `prompt` is the text of the evolution prompt without its
        data, `answer` the parent's known answer; a breadth child is new: it need not keep the parent's code or table.
        """
        words, parents = WORD.findall(child.lower()), WORD.findall(parent.lower())
        if not child.strip():
            return "empty", ""
        if not any(word not in STOP_WORDS for word in words):
            return "no_content", "only punctuation and stop words"
        if (match := LEAKED.search(child)) and not LEAKED.search(parent):  # a seed about prompts may speak of them
            return "leaked", match[0]
        if copied := grams(prompt).intersection(ngrams(words, COPIED)).difference(ngrams(parents, COPIED)):
            return "leaked", min(copied)
        if words == parents:
            return "unchanged", ""
        if len(words) < REFUSAL_WORDS and (match := REFUSAL.search(child)) and not REFUSAL.search(parent):
            return "refusal", match[0]
        if match := answered(parent, child, answer):
            return "answer", match
        similarity = Indel.normalized_similarity(parents, words)
        if similarity > self.max_similarity:
            return "near_duplicate_parent", f"similarity {similarity:.3f}"
        if respelled(parents, words):
            return "near_duplicate_parent", "a few letters differ"
        low, high = self.min_length_ratio * len(parents), self.max_length_ratio * len(parents) + self.length_slack
        if not low <= len(words) <= high:
            return "length_ratio", f"{len(words)} words, the parent has {len(parents)}"
        if not breadth:
            if CODE.search(parent) and not CODE.search(child):
                return "lost_code", ""
            if TABLE.search(parent) and not TABLE.search(child):
                return "lost_table", ""
        if self.language and similarity < KEPT:
            (old, sure), (new, surer) = language(parent), language(child)
            if old != new and min(sure, surer) >= self.language_confidence:
                return "changed_language", f"{old} to {new}"
        return "", ""


def respelled(words: Sequence[str], others: Sequence[str]) -> bool:
    """Whether words differ in a few letters alone: "summarise" and "summarize", "texts" and "text". Another number is
    another task, and so is another beginning: "even" and "uneven"."""

    def same(word: str, other: str) -> bool:
        letters = word.isalpha() and other.isalpha() and word[0] == other[0]
        return word == other or (letters and Indel.normalized_similarity(word, other) >= RESPELLED)

    return len(words) == len(others) and all(map(same, words, others))


def answered(parent: str, child: str, answer: str) -> str:
    """How we know that the child answers the parent instead of asking something; empty if it does not."""
    if (match := ANSWER.search(child)) and not ANSWER.search(parent):
        return match[0].strip()
    if LIST.match(child) and not LIST.match(parent):
        return "starts as a list"
    if answer:
        similarity = Indel.normalized_similarity(answer.lower()[:2000], child.lower()[:2000], score_cutoff=0.8)
        if similarity:
            return f"similarity {similarity:.3f} to the parent's answer"
    if DIRECTIVE.search(parent) and not DIRECTIVE.search(child) and language(child)[0] == "en":
        return "asks for nothing"
    return ""


@lru_cache(maxsize=4096)  # a parent is compared with each of its children
def language(text: str) -> tuple[str, float]:
    """(ISO 639-1 code, probability)."""
    label, probability = identifier().classify(text)
    return label, float(probability)


@lru_cache(maxsize=1)
def identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # ISO 639-1: Egyptian Arabic is no other language
    found.set_languages([label for label in found.labels if len(label) == 2])
    return found


@dataclass
class Pool:
    """All instructions so far, to find near-duplicates of other lines: MinHash proposes, exact Jaccard decides.

    At most CANDIDATES proposals are looked at, the latest ones, so that a pool of look-alikes costs no square of its
    size."""

    threshold: float
    texts: list[tuple[str, str]] = field(default_factory=list)  # (line, instruction)
    exact: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from rensa import RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue]

        self.index: RMinHashLSH = RMinHashLSH(self.threshold, PERMUTATIONS, BANDS)

    def find(self, line: str, text: str) -> str:
        """A near-duplicate of another line; empty if none. The own line is the parent rule's business."""
        words = WORD.findall(text.lower())
        number = self.exact.get(" ".join(words))
        if number is not None and self.texts[number][0] != line:
            return self.texts[number][1]
        ours = set(ngrams(words, 3))
        for number in sorted(self.index.query(minhash(ours)))[-CANDIDATES:] if ours else ():
            other, known = self.texts[number]
            if other != line:
                theirs = set(ngrams(WORD.findall(known.lower()), 3))
                if len(theirs & ours) >= self.threshold * len(theirs | ours):
                    return known
        return ""

    def add(self, line: str, text: str) -> None:
        words = WORD.findall(text.lower())
        self.exact.setdefault(" ".join(words), len(self.texts))
        if ours := set(ngrams(words, 3)):
            self.index.insert(len(self.texts), minhash(ours))
        self.texts.append((line, text))


def minhash(parts: set[str]) -> RMinHash:
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

    hashed = RMinHash(PERMUTATIONS, SEED)
    hashed.update(sorted(parts))
    return hashed


@lru_cache(maxsize=64)  # of a few prompts, for many children
def grams(prompt: str) -> frozenset[str]:
    return frozenset(ngrams(WORD.findall(prompt.lower()), COPIED))


def ngrams(words: Sequence[str], n: int) -> list[str]:
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
