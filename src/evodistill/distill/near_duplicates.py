"""Which new instructions are too near to one that is known: exact, ROUGE-L (Self-Instruct, arXiv 2212.10560), MinHash.

    NearDuplicates(rouge_l=0.7)(known=["Name a tea."], new=["Name a tea!", "Name a river."])
    → ["Name a tea.", None]

ROUGE-L is the F measure over words, 2·LCS / (m + n). It is found exactly without comparing all pairs: two texts that
reach the threshold share so many words that one of the rarest words of either is among them (prefix filter; Chaudhuri,
Ganti and Kaushik, ICDE 2006).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rapidfuzz import process
from rapidfuzz.distance import Indel

from evodistill.evolution.eliminate import WORD, Pool

SHARED = 4  # rare words that a candidate must share; more make fewer candidates, and longer lists to find them in
OFTEN = 64  # occurrences of a word that are told apart


@dataclass(frozen=True)
class NearDuplicates:
    """The bounds. Words are compared in lower case; a character of a script without spaces is a word."""

    rouge_l: float | None = 0.7  # null = not checked: for millions of instructions
    minhash: float | None = 0.9  # Jaccard of word 3-grams: finds sentences that only changed places

    def __post_init__(self) -> None:
        for name in ("rouge_l", "minhash"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], or null, got {value}")

    def __call__(self, known: Sequence[str], new: Sequence[str]) -> list[str | None]:
        """For each new text, in order, the known or earlier accepted one that it is too near to; None where there is
        none. Known texts are not compared with one another."""
        words = [WORD.findall(text.lower()) or text.split() for text in (*known, *new)]
        exact: dict[tuple[str, ...], str] = {}
        pool = Pool(self.minhash) if self.minhash else None
        rouge = Rouge(self.rouge_l, Counter(word for text in words for word in text)) if self.rouge_l else None
        found: list[str | None] = []
        for number, text in enumerate((*known, *new)):
            near = None
            if number >= len(known):
                near = exact.get(tuple(words[number]))
                if near is None and pool and WORD.search(text):
                    near = pool.find(str(number), text) or None
                if near is None and rouge:
                    near = rouge.find(words[number])
                found.append(near)
            if near is None:  # a rejected text is no reason to reject another
                exact.setdefault(tuple(words[number]), text)
                if pool:
                    pool.add(str(number), text)
                if rouge:
                    rouge.add(words[number], text)
        return found


@dataclass
class Rouge:
    """Texts as sequences of word numbers, rare words first, and for each word the texts that it is a rare one of."""

    threshold: float
    frequency: Counter[str]
    texts: list[str] = field(default_factory=list)
    sequences: list[array[int]] = field(default_factory=list)  # arrays: compared without a conversion
    lengths: array[int] = field(default_factory=lambda: array("I"))
    having: dict[int, array[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ordered = sorted(self.frequency, key=lambda word: (self.frequency[word], word))
        self.rank = {word: number for number, word in enumerate(ordered)}

    def sequence(self, words: Sequence[str]) -> array[int]:
        return array("I", [self.rank[word] for word in words])

    def needed(self, length: int) -> int:
        """How many words a text of this length shares at least with one within the threshold: F ≥ t means
        LCS ≥ t(m+n)/2 and hence n ≥ tm/(2-t), so LCS ≥ tm/(2-t) too."""
        return math.ceil(self.threshold * length / (2 - self.threshold) - 1e-9)

    def rare(self, sequence: Sequence[int]) -> list[int]:
        """The rarest m - needed + SHARED word occurrences: at least SHARED of them are shared too. The k-th occurrence
        of a word counts as a word of its own."""
        seen: Counter[int] = Counter()
        occurrences = []
        for word in sequence:
            occurrences.append(word * OFTEN + min(seen[word], OFTEN - 1))
            seen[word] += 1
        return sorted(occurrences)[: len(sequence) - self.needed(len(sequence)) + SHARED]

    def find(self, words: Sequence[str]) -> str | None:
        """The nearest text at or above the threshold."""
        import numpy as np

        sequence = self.sequence(words)
        lists = [self.having[word] for word in self.rare(sequence) if word in self.having]
        if not lists:
            return None
        shared = np.bincount(np.concatenate([np.frombuffer(numbers, np.uint32) for numbers in lists]))
        least = self.needed(len(sequence))
        numbers = np.flatnonzero(shared >= min(SHARED, least))
        lengths = np.frombuffer(self.lengths, np.uint32)[numbers]
        numbers = numbers[
            (lengths >= least) & (self.threshold * lengths <= (2 - self.threshold) * len(sequence) + 1e-9)
        ]
        best = process.extractOne(
            sequence,
            [self.sequences[number] for number in numbers],
            scorer=Indel.normalized_similarity,
            score_cutoff=self.threshold,
        )
        return self.texts[numbers[best[2]]] if best else None

    def add(self, words: Sequence[str], text: str) -> None:
        sequence = self.sequence(words)
        for word in self.rare(sequence):
            self.having.setdefault(word, array("I")).append(len(self.texts))
        self.sequences.append(sequence)
        self.lengths.append(len(sequence))
        self.texts.append(text)
