"""The nearest neighbour of each of n unit vectors, exactly, in blocks: no n × n matrix is ever in memory.

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


def seen(block: Tensor, over: int, threshold: float, best: Tensor, near: Tensor) -> None:
    """Take the maxima of a block over one dimension into `best`, what reaches the threshold into `near`."""
    most = block.amax(over)
    best.copy_(best.maximum(most))
    if len(hit := (most >= threshold).nonzero()[:, 0]):  # few: the whole block is not compared
        near[hit] += (block.index_select(1 - over, hit) >= threshold).sum(over)
