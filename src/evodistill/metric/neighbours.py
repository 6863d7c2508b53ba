"""The nearest neighbour of each of n unit vectors, exactly, in blocks: no n × n matrix is ever in memory; and which of
them are left where none may be near an earlier one.

The product of a set with itself is symmetric, so only blocks on and above the diagonal are computed, and each gives the
maxima of its rows and of its columns. That is half the work of the whole product, which pays for the maxima.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

ROWS = 2048  # of a block: 16 MiB of similarities


def nearest(vectors: np.ndarray, threshold: float, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """(n,) cosine similarity to the nearest *other* vector, and (n,) how many others have at least `threshold`.

    `vectors` is (n, d), float32, of length one. A vector is left out of its own neighbours by its place, not by its
    rank: where texts repeat, the first of the ranked ones may be another (DV4). One vector alone has -inf and 0."""
    import numpy as np
    import torch

    given = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    n = len(given)
    best = torch.full((n,), -torch.inf)
    near = torch.zeros(n, dtype=torch.int64)
    with torch.inference_mode():
        for top in range(0, n, rows):
            for left in range(top, n, rows):
                block = given[top : top + rows] @ given[left : left + rows].T
                if top == left:
                    block.fill_diagonal_(-torch.inf)
                else:
                    seen(block, 0, threshold, best[left : left + rows], near[left : left + rows])
                seen(block, 1, threshold, best[top : top + rows], near[top : top + rows])
    return best.numpy(), near.numpy()


def earlier(vectors: np.ndarray, threshold: float, rows: int = ROWS) -> list[tuple[int, float] | None]:
    """For each vector, in order, the place of the nearest *kept* one before it and their cosine similarity, where that
    is at least `threshold`; None where it is not, and the vector is kept. So one that goes is no reason for another to
    go (DEITA's filter, arXiv 2312.15685). `vectors` as in `nearest`."""
    import numpy as np

    found: list[tuple[int, float] | None] = []
    kept: list[tuple[np.ndarray, np.ndarray]] = []  # of each block before: places, vectors
    for top in range(0, len(vectors), rows):
        block = np.ascontiguousarray(vectors[top : top + rows], np.float32)
        best, place = np.full(len(block), -np.inf, np.float32), np.zeros(len(block), np.int64)
        for places, others in kept:
            similar = block @ others.T
            most = similar.max(axis=1, initial=-np.inf)
            for i in np.flatnonzero((most >= threshold) & (most > best)):  # few
                best[i], place[i] = most[i], places[similar[i].argmax()]
        own = block @ block.T
        for i in range(len(block)):
            if i and own[i, :i].max() > best[i]:
                best[i], place[i] = own[i, :i].max(), top + own[i, :i].argmax()
            if best[i] >= threshold:
                own[:, i] = -np.inf
                found.append((int(place[i]), float(best[i])))
            else:
                found.append(None)
        left = np.array([i for i in range(len(block)) if found[top + i] is None], np.int64)
        kept.append((top + left, block[left]))
    return found


def seen(block: Tensor, over: int, threshold: float, best: Tensor, near: Tensor) -> None:
    """Take the maxima of a block over one dimension into `best`, what reaches the threshold into `near`."""
    most = block.amax(over)
    best.copy_(best.maximum(most))
    if len(hit := (most >= threshold).nonzero()[:, 0]):  # few: the whole block is not compared
        near[hit] += (block.index_select(1 - over, hit) >= threshold).sum(over)
