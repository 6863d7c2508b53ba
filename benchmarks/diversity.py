"""Nearest neighbours of 52,000 vectors beside one exact blocked matrix product of the same vectors, same threads.

    python benchmarks/diversity.py [--n 52000] [--width 384]

Expected: at most 1.5 × the time of the product, and a peak that grows with n, not with its square.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from evodistill.metric.neighbours import ROWS, nearest

REPEATS = 1 / 50  # of the vectors are near-copies of others, as in real sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=52_000)
    parser.add_argument("--width", type=int, default=384)
    given = parser.parse_args()
    vectors = made(given.n, given.width)
    nearest(vectors[: 2 * ROWS], 0.975)  # the threads are there
    before = peak()
    ours, product = [], []
    for _ in range(2):  # the better of two, turn by turn
        ours.append(timed(lambda: nearest(vectors, 0.975)))
        product.append(timed(lambda: blocked(vectors)))
    best, plain = min(ours), min(product)
    print(f"{given.n} × {given.width}: product {plain:.1f} s, neighbours {best:.1f} s, ratio {best / plain:.2f}")
    print(
        f"peak {peak():.2f} GiB, {peak() - before:.2f} of it here; the n × n matrix would be {given.n**2 / 2**28:.1f}"
    )


def made(n: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n, width)).astype(np.float32)
    copies = rng.choice(n, int(n * REPEATS), replace=False)
    vectors[copies] = vectors[rng.permutation(copies)] + 0.05 * vectors[copies]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def blocked(vectors: np.ndarray) -> None:
    """Every similarity, once, block by block into the same memory: nothing is done with them."""
    import torch

    given = torch.from_numpy(vectors)
    held = torch.empty(ROWS, ROWS)
    with torch.inference_mode():
        for top in range(0, len(given), ROWS):
            for left in range(0, len(given), ROWS):
                rows, columns = given[top : top + ROWS], given[left : left + ROWS]
                torch.mm(rows, columns.T, out=held[: len(rows), : len(columns)])


def timed(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
