"""Diversity: how far each instruction is from its nearest neighbour as an embedder sees them (2412.11231, figure 4).

The neighbours of a record are the records of its round. Beside the distances stand numbers of the round as a whole:
distinct-n (Li et al., arXiv 1510.03055), Self-BLEU (Zhu et al., arXiv 1802.01886) and the share of near-duplicates.

All of them depend on how many records there are: more records lie closer together. Compare equal numbers (DV6).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from evodistill.backend import Backend
from evodistill.evolution.eliminate import CANDIDATES, PERMUTATIONS, WORD, minhash, ngrams
from evodistill.metric import Score
from evodistill.metric.neighbours import nearest
from evodistill.record import Record, digest

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

# value, and what it is of the cosine similarity of two unit vectors (DV1)
DISTANCES = {"cosine": ("neighbour_distance", 1.0), "squared_l2": ("neighbour_squared_l2", 2.0)}
REPEAT = 0.025  # cosine distance below which the paper's script calls a text a repeat: 0.05 of squared L2
TEXTS = ("instruction", "with_input")
NGRAMS = (1, 2, 3)
JACCARD = 0.7  # of word 3-grams, from which two texts are near-duplicates
BANDS = 30  # of MinHash: proposes 99.97 % of the pairs of that similarity


@dataclass(frozen=True)
class Diversity:
    """Values `neighbour_distance` (or `neighbour_squared_l2`): to the nearest other record of the round; and
    `neighbour_repeats`: how many others are nearer than `threshold`, on the same scale."""

    model: str  # role that embeds; the paper takes all-mpnet-base-v2
    records: str | None = None  # step whose records are measured; null = the last
    distance: str = "cosine"  # 1 - cos | squared_l2: 2 - 2 cos, what the paper's script calls its distance (DV1)
    text: str = (
        "instruction"  # | with_input: the input below it, as the paper's script; it then measures inputs too (DV3)
    )
    unique: bool = False  # equal texts count once, for sets that repeat instructions by construction (AutoIF; DV3)
    threshold: float | None = None  # null = the paper's 0.05 of squared L2, which is 0.025 of the cosine
    n: int | None = None  # so many records of each round, drawn by seed; null = all (DV6)
    bleu: int = 200  # so many of them for Self-BLEU, whose cost is quadratic
    seed: int = 0

    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {self.distance!r}")
        if self.text not in TEXTS:
            raise ValueError(f"text must be one of {', '.join(TEXTS)}, got {self.text!r}")
        if self.threshold is not None and self.threshold <= 0:
            raise ValueError(f"threshold must be > 0, or null for the paper's, got {self.threshold}")
        if (self.n is not None and self.n < 2) or self.bleu < 2:
            raise ValueError(f"n and bleu must be ≥ 2 (n: or null), got {self.n} and {self.bleu}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        import numpy as np

        scores: dict[str, Score] = {}
        for number, chosen in self.taken(records).items():
            if self.n is not None and len(chosen) < self.n:
                log.warning("diversity: round %d has %d records, fewer than n=%d", number, len(chosen), self.n)
            texts = [self.of(record) for record in chosen]
            vectors = np.stack(models[self.model].embed(texts))
            unread = models[self.model].unread(texts)
            for record, score in zip(chosen, self.scores(chosen, vectors, unread), strict=True):
                scores[record.id] = score
        # what was not drawn is not missing: it has no value
        return [scores.get(record.id) or Score.of(record, {}, reason="not_drawn") for record in records]

    def scores(self, records: list[Record], vectors: np.ndarray, unread: Sequence[int]) -> Iterator[Score]:
        """The scores of a round."""
        import numpy as np

        name, scale = DISTANCES[self.distance]
        there = np.all(np.isfinite(vectors), axis=1)
        near = REPEAT if self.threshold is None else self.threshold / scale
        found = iter(zip(*nearest(vectors[there], 1 - near), strict=True))
        for record, is_vector, tokens in zip(records, there.tolist(), unread, strict=True):
            similarity, repeats = next(found) if is_vector else (0.0, 0)
            # rounding puts the distance of equal texts a little below zero
            values = {name: max(0.0, float(scale * (1 - similarity))), "neighbour_repeats": float(repeats)}
            reason = "no_vector" if not is_vector else "alone" if there.sum() < 2 else ""
            extra = {"unread_tokens": tokens} if tokens else {}
            yield Score.of(record, dict.fromkeys(values) if reason else values, reason=reason, extra=extra)

    def of(self, record: Record) -> str:
        return record.prompt if self.text == "with_input" else record.instruction

    def taken(self, records: Sequence[Record]) -> dict[int, list[Record]]:
        """Round → the records that are measured. The draw goes by the seed of a line, so that two evolvers of the same
        seeds are measured on the same lines."""
        rounds: dict[int, dict[str, Record]] = {}
        for record in records:
            key = self.of(record) if self.unique else record.id
            rounds.setdefault(record.origin.round, {}).setdefault(key, record)
        taken = {}
        for number, found in sorted(rounds.items()):
            chosen = list(found.values())
            if self.n is not None:
                chosen = sorted(chosen, key=lambda record: digest([self.seed, record.origin.seed]))[: self.n]
            taken[number] = chosen
        return taken

    def whole(self, records: list[Record], scores: list[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        """Distinct-n, Self-BLEU and near-duplicates of each round; the share of texts that the embedder cuts (DV7)."""
        rounds = {number: [self.of(record) for record in chosen] for number, chosen in self.taken(records).items()}
        told: dict[str, dict[int, dict[str, Any]]] = {}
        for number, texts in rounds.items():
            words = [WORD.findall(text.lower()) for text in texts]
            drawn = sorted(range(len(texts)), key=lambda i: digest([self.seed, texts[i]]))[: self.bleu]
            values = {f"distinct_{n}": (distinct(words, n), len(texts)) for n in NGRAMS}
            values["self_bleu"] = (self_bleu([words[i] for i in drawn]), len(drawn))
            values["near_duplicates"] = (near_duplicates(texts), len(texts))
            cut = [score for score in scores if score.round == number and "unread_tokens" in score.extra]
            values["diversity_truncated"] = (len(cut) / len(texts), len(texts))
            for name, (value, n) in values.items():
                told.setdefault(name, {})[number] = {"mean": value, "ci95": None, "n": n, "unparsed": 0}
        if not any(row["mean"] for row in told.get("diversity_truncated", {}).values()):
            told.pop("diversity_truncated", None)
        return told


def distinct(words: Sequence[Sequence[str]], n: int) -> float | None:
    """Different n-grams over all n-grams, of all texts together."""
    found = list(chain.from_iterable(ngrams(text, n) for text in words))
    return len(set(found)) / len(found) if found else None


def self_bleu(words: Sequence[Sequence[str]]) -> float | None:
    """Mean BLEU-4 of each text against all others, from 0 (all different) to 1."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    words = [text for text in words if text]
    if len(words) < 2:
        return None
    smooth = SmoothingFunction().method1  # without it one missing 4-gram makes a text 0
    values: list[float] = [
        sentence_bleu([*words[:i], *words[i + 1 :]], text, smoothing_function=smooth)  # type: ignore[misc]
        for i, text in enumerate(words)
    ]
    return sum(values) / len(values)


def near_duplicates(texts: Sequence[str]) -> float:
    """The share of texts that have a near-duplicate among those before them: what deduplication would take away.
    MinHash proposes, the exact Jaccard similarity of the word 3-grams decides."""
    from rensa import RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

    index, found = RMinHashLSH(JACCARD, PERMUTATIONS, BANDS), 0
    known: list[set[str]] = []
    for number, text in enumerate(texts):
        words = WORD.findall(text.lower())
        parts = set(ngrams(words, 3)) or {
            " ".join(words)
        }  # a text of one or two words is a near-duplicate of its equals
        hashed = minhash(parts)
        alike = sorted(index.query(hashed))[
            -CANDIDATES:
        ]  # the latest: a set of look-alikes costs no square of its size
        found += any(len(known[i] & parts) >= JACCARD * len(known[i] | parts) for i in alike)
        index.insert(number, hashed)
        known.append(parts)
    return found / len(texts)
