"""Keywords of trajectories: how many different ways to make an instruction harder an evolver has thought of.

arXiv 2412.11231 summarises each method that Auto Evol-Instruct listed as a phrase and counts them. Here the methods are
those of the replies that made the records (AE8), and phrases of one meaning count once (AE10): each joins the most
similar of the phrases before it, the frequent ones first, so that no order of the records changes the outcome.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, lgamma
from typing import TYPE_CHECKING, Any

from evodistill import prompt
from evodistill.backend import Backend, Sampling, chat
from evodistill.evolution.evolution import KEPT
from evodistill.metric import Score
from evodistill.parse import Parsed
from evodistill.record import Record

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

LABEL = re.compile(r"(?i)\A\W*(?:words?|phrases?|key ?words?|answer|idea|summary)\s*[:：]\s*")
MARKUP = re.compile(r"[*_`\"“”‘#\[\]()<>]")
BETWEEN = re.compile(r"[,/&+;]")  # joins words; anything else that is no word is a symbol
SYMBOL = re.compile(r"[^\w\s'-]")
BLOCK = 256  # phrases compared at once
TOLD = 10  # most frequent keywords in the log
VALUES = ("total", "distinct", "rarefied")


@dataclass(frozen=True)
class Keywords:
    """Value `keywords_per_record`: the methods behind a record, each a phrase. Of each round as a whole
    `keywords_total`, `keywords_distinct`, and `keywords_rarefied`: the distinct ones expected among n drawn phrases,
    since a larger set always has more. To compare two runs give both the same `rarefy`."""

    model: str  # role that turns a method into a phrase
    records: str | None = None  # step whose records are measured; null = the last
    embedder: str | None = None  # role that tells which phrases mean the same; null = by spelling
    threshold: float = 0.8  # cosine, or similarity of spelling, at or above which two phrases are one keyword
    max_words: int = 6
    rarefy: int | None = None  # n; null = the number of phrases of the smallest round
    prompt: str = "keywords/phrase"
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=24))

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        for name in ("max_words", "rarefy"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be ≥ 1, got {value}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.embedder) if self.embedder else (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: ("method", "max_words")}

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply, for plans."""
        return " ".join(sentence().split()[2:4])

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        phrases = self.phrases(sorted({method for record in records for method in trajectory(record)}), models)
        counts = Counter(
            phrase for record in records for method in trajectory(record) if (phrase := phrases[method].value)
        )
        ordered = sorted(counts, key=lambda phrase: (-counts[phrase], phrase))
        keywords = self.clustered(ordered, models)
        return [score(record, phrases, keywords) for record in records]

    def phrases(self, methods: Sequence[str], models: Mapping[str, Backend]) -> dict[str, Parsed[str]]:
        """Each method as a phrase, asked once."""
        chats = [chat(prompt.render(self.prompt, method=method, max_words=self.max_words)) for method in methods]
        replies = models[self.model].generate(chats, self.sampling)
        return {
            method: Parsed(reason="no_reply") if reply.error else parse_phrase(reply.text, self.max_words)
            for method, reply in zip(methods, replies, strict=True)
        }

    def clustered(self, phrases: Sequence[str], models: Mapping[str, Backend]) -> dict[str, str]:
        """The keyword of each phrase: the phrase of its cluster that comes first."""
        if not phrases:
            return {}
        if self.embedder:
            import numpy as np

            leaders = by_meaning(np.stack(models[self.embedder].embed(phrases)), self.threshold)
        else:
            leaders = by_spelling(phrases, self.threshold)
        return {phrase: phrases[leader] for phrase, leader in zip(phrases, leaders, strict=True)}

    def whole(self, records: Sequence[Record], scores: Sequence[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        rounds: dict[int, Counter[str]] = {}
        unparsed: Counter[int] = Counter()
        for given in scores:
            if "keywords" in given.extra:
                rounds.setdefault(given.round, Counter()).update(given.extra["keywords"])
                unparsed[given.round] += given.extra["unparsed"]
        n = self.rarefy or min((found.total() for found in rounds.values()), default=0)
        values: dict[str, dict[int, dict[str, Any]]] = {f"keywords_{name}": {} for name in VALUES}
        for number, found in sorted(rounds.items()):
            told = ", ".join(f"{keyword} {count}" for keyword, count in found.most_common(TOLD))
            log.info("keywords of round %d: %d distinct of %d; %s", number, len(found), found.total(), told)
            for name, value, of in (
                ("total", found.total(), found.total()),
                ("distinct", len(found), found.total()),
                ("rarefied", rarefied(list(found.values()), n), n),
            ):
                mean = None if value is None else float(value)
                row = {"mean": mean, "ci95": None, "n": of, "unparsed": unparsed[number]}
                values[f"keywords_{name}"][number] = row
        return values


def trajectory(record: Record) -> Sequence[str]:
    return record.extra.get("trajectory", ())


def score(record: Record, phrases: Mapping[str, Parsed[str]], keywords: Mapping[str, str]) -> Score:
    if not record.origin.parent or record.origin.operation == KEPT:
        return Score.of(record, {}, reason="not_evolved")
    methods = trajectory(record)
    if not methods:
        return Score.of(record, {"keywords_per_record": None}, reason="no_trajectory")
    found = [value for method in methods if (value := phrases[method].value)]
    missing = [phrases[method].reason for method in methods if phrases[method].reason]
    extra = {"phrases": found, "keywords": [keywords[phrase] for phrase in found], "unparsed": len(missing)}
    if not found:
        return Score.of(record, {"keywords_per_record": None}, reason=missing[0], extra=extra)
    return Score.of(record, {"keywords_per_record": float(len(found))}, extra=extra)


def parse_phrase(reply: str, max_words: int) -> Parsed[str]:
    """The phrase in lower case: the first line of the reply (after one that announces it), without label, markup and
    punctuation. A sentence is no phrase."""
    lines = [line for line in reply.splitlines() if re.search(r"\w", line)]
    if len(lines) > 1 and lines[0].rstrip("*_ ").endswith(":"):
        lines = lines[1:]
    if not lines:
        return Parsed(reason="empty")
    bare = MARKUP.sub("", LABEL.sub("", lines[0].replace("’", "'"), count=1)).strip(" .,:;!?-–—•'")
    bare = " ".join(BETWEEN.sub(" ", bare).split()).lower()
    if not bare:
        return Parsed(reason="empty")
    if SYMBOL.search(bare):
        return Parsed(reason="symbols")
    return Parsed(reason="too_long") if len(bare.split()) > max_words else Parsed(bare)


def by_meaning(vectors: np.ndarray, threshold: float) -> list[int]:
    """For each unit vector, in order, the number of the earlier leader that is nearest, or its own: then it leads."""
    import numpy as np

    out: list[int] = []
    leaders: list[int] = []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        earlier = block @ vectors[leaders].T if leaders else np.zeros((len(block), 0))
        among = block @ block.T
        for row in range(len(block)):
            new = [leader - start for leader in leaders if leader >= start]
            known = np.concatenate([earlier[row], among[row, new]])
            nearest = int(known.argmax()) if len(known) else -1
            if nearest >= 0 and known[nearest] >= threshold:
                out.append(leaders[nearest])
            else:
                out.append(start + row)
                leaders.append(start + row)
    return out


def by_spelling(phrases: Sequence[str], threshold: float) -> list[int]:
    """As `by_meaning`, with the similarity of the phrases' sorted words."""
    from rapidfuzz import fuzz, process

    out: list[int] = []
    leaders: dict[int, str] = {}
    for place, phrase in enumerate(phrases):
        near = process.extractOne(phrase, leaders, scorer=fuzz.token_sort_ratio, score_cutoff=100 * threshold)
        out.append(near[2] if near else place)
        if not near:
            leaders[place] = phrase
    return out


def rarefied(counts: Sequence[int], n: int) -> float | None:
    """Expected number of distinct kinds among n things drawn without replacement (Hurlbert 1971):
    Σ 1 − C(N − N_i, n) / C(N, n). None where there are fewer than n."""
    total = sum(counts)
    if not 0 < n <= total:
        return None
    return sum(
        1 - exp(log_choose(total - count, n) - log_choose(total, n)) if total - count >= n else 1 for count in counts
    )


def log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
