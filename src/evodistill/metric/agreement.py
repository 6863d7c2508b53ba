"""How far two judges agree: quadratic weighted kappa (Cohen 1968), 1 = always, 0 = as by chance.

For marks x and y of the same records it is 1 − mean((x − y)²) / what that mean would be if one were shuffled. Written
out in means and variances it needs no list of classes, so that it holds for scores as well as for labels.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from evodistill.metric import Score

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000


def agreement(scores: Iterable[Score], first: str, second: str) -> dict[int, dict[str, Any]]:
    """Round → kappa of two values, with its bootstrap interval over records. `unparsed` counts the records that lack
    one of them. No kappa where both judges give one and the same mark to everything."""
    rounds: dict[int, list[tuple[float | None, float | None]]] = {}
    for score in scores:
        rounds.setdefault(score.round, []).append((score.values.get(first), score.values.get(second)))
    return {number: summary(pairs, f"{first}:{number}") for number, pairs in sorted(rounds.items())}


def summary(pairs: Sequence[tuple[float | None, float | None]], seed: str) -> dict[str, Any]:
    import numpy as np

    whole = [pair for pair in pairs if all(mark is not None and math.isfinite(mark) for mark in pair)]
    both = np.array(whole, float).reshape(-1, 2)
    found: dict[str, Any] = {"mean": None, "ci95": None, "n": len(both), "unparsed": len(pairs) - len(both)}
    if len(both):
        value = float(kappa(both[:, 0], both[:, 1]))
        if np.isfinite(value):
            found |= {"mean": value, "ci95": interval(both, seed)}
    return found


def kappa(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Along `axis`; nan where neither varies and both are equal."""
    import numpy as np

    mean_x, mean_y = x.mean(axis, keepdims=True), y.mean(axis, keepdims=True)
    chance = x.var(axis) + y.var(axis) + ((mean_x - mean_y) ** 2).mean(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        # 1 − mean squared difference / chance, in a form that is 0 and not nearly 0 where one of them does not vary
        return 2 * ((x - mean_x) * (y - mean_y)).mean(axis) / chance


def interval(both: np.ndarray, seed: str) -> list[float] | None:
    """95 %, percentile bootstrap; None below three records, or where resamples have no kappa."""
    import numpy as np
    from scipy.stats import bootstrap

    if len(both) < 3:
        return None
    rng = np.random.default_rng(random.Random(seed).getrandbits(64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal values: nan, handled below
        found = bootstrap(
            (both[:, 0], both[:, 1]),
            kappa,
            paired=True,
            n_resamples=RESAMPLES,
            method="percentile",
            batch=max(1, 2_000_000 // len(both)),
            rng=rng,
        )
    low, high = found.confidence_interval
    return [float(low), float(high)] if np.isfinite(low) and np.isfinite(high) else None
