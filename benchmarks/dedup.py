"""Near-duplicates of instructions beside comparing all pairs with the same library.

    python benchmarks/dedup.py [--texts 50000] [--data FILE …]

Texts are those of the given files (JSON or JSON lines with `instruction` or `question`), or made-up ones with the word
frequencies of natural text; one in ten is a near-duplicate of another. All pairs are compared for a part of them, the
time for all is that part's, scaled by the square.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import Indel

from evodistill.dataset import rows
from evodistill.distill.near_duplicates import NearDuplicates
from evodistill.evolution.eliminate import WORD

PART = 5_000  # texts that are compared pair by pair


def read(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        for row in rows.read(Path(path)):
            if isinstance(row.value, dict):
                found += [row.value[key] for key in ("instruction", "question") if isinstance(row.value.get(key), str)]
    return found


def made_up(n: int) -> list[str]:
    rng = random.Random(0)
    weights = [1 / (rank + 2) for rank in range(20_000)]
    words = rng.choices(range(20_000), weights, k=n * 24)
    out, place = [], 0
    for _ in range(n):
        length = rng.randint(6, 40)
        place = place if place + length <= len(words) else 0
        out.append(" ".join(f"w{word}" for word in words[place : place + length]))
        place += length
    return out


def near(text: str, rng: random.Random) -> str:
    return " ".join("other" if rng.random() < 0.1 else word for word in text.split())


def texts(n: int, paths: list[str]) -> list[str]:
    rng = random.Random(1)
    found = read(paths) if paths else made_up(n - n // 10)
    found = [rng.choice(found) if number >= len(found) else found[number] for number in range(n)]
    seen: set[str] = set()
    out = []
    for text in found:  # what was drawn twice, and one in ten, becomes a near-duplicate
        out.append(near(text, rng) if text in seen or rng.random() < 0.1 else text)
        seen.add(text)
    rng.shuffle(out)
    return out


def all_pairs(part: list[str]) -> int:
    """How many have an earlier one within ROUGE-L 0.7, by rapidfuzz's matrix of all pairs."""
    numbers: dict[str, int] = {}
    sequences = [[numbers.setdefault(word, len(numbers)) for word in WORD.findall(text.lower())] for text in part]
    scores = process.cdist(sequences, sequences, scorer=Indel.normalized_similarity, score_cutoff=0.7)
    return sum(bool(scores[number, :number].any()) for number in range(len(part)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--data", nargs="*", default=[])
    given = parser.parse_args()
    found = texts(given.texts, given.data)
    words = sum(len(text.split()) for text in found) / len(found)
    print(f"{len(found)} instructions of {words:.0f} words")
    started = time.perf_counter()
    n = all_pairs(found[:PART])
    part = time.perf_counter() - started
    scaled = part * (len(found) / min(PART, len(found))) ** 2
    print(
        f"all pairs            {part:7.1f} s for {min(PART, len(found))} ({n} near another), so {scaled:7.1f} s for all"
    )
    for name, dedup in (("ROUGE-L and MinHash", NearDuplicates()), ("MinHash alone", NearDuplicates(rouge_l=None))):
        started = time.perf_counter()
        duplicates = sum(text is not None for text in dedup([], found))
        seconds = time.perf_counter() - started
        print(f"{name:20s} {seconds:7.1f} s, {duplicates} near another; {scaled / seconds:5.1f} x as fast as all pairs")


if __name__ == "__main__":
    main()
