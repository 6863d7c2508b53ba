"""Statistics of paired differences: BCa interval, sign-flip test, Holm's correction. Numbers in, numbers out.

- BCa bootstrap: Efron, "Better bootstrap confidence intervals" (JASA 1987), eq. 6.8 for the endpoints.
- Sign-flip (paired permutation) test: exact for few pairs, else Monte Carlo with the +1 of Phipson & Smyth (2010), so
  that p is never 0.
- Exact McNemar for binary outcomes, Wilcoxon's signed ranks, Cohen's d_z, and the difference that could be detected.
- Holm, "A simple sequentially rejective multiple test procedure" (1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

RESAMPLES = 10_000
BOOTSTRAP_CELLS = 20_000_000  # above 2,000 pairs fewer resamples do: 2,000 of them move an end by some 2 % of the width
EXACT_UP_TO = 12  # 2^12 = 4,096 sign patterns: fewer than the Monte Carlo draws
BLOCK = 1 << 18  # cells drawn at a time: stays in the processor's cache, and memory does not grow with n


def bca_interval(differences: np.ndarray, rng: np.random.Generator, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean difference. NaN for fewer than two pairs; a point where all differences are equal."""
    # scipy.special, not scipy.stats: a tenth of the import time
    from scipy.special import ndtr, ndtri

    x = np.asarray(differences, dtype=float)
    n = len(x)
    if n < 2:
        return math.nan, math.nan
    centred = x - x.mean()
    if np.allclose(centred, 0, atol=1e-12 * max(1.0, abs(x.mean()))):
        return float(x[0]), float(x[0])
    resamples = max(2_000, min(RESAMPLES, BOOTSTRAP_CELLS // n))
    means = np.concatenate(
        [x[rng.integers(0, n, (size, n), dtype=np.uint32)].mean(axis=1) for size in blocks(n, resamples)]
    )
    below = (np.sum(means < x.mean()) + 0.5 * np.sum(means == x.mean())) / len(means)
    bias = ndtri(below)
    # jackknife means differ from their mean by -centred / (n - 1): the acceleration has a closed form
    acceleration = np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5)
    z = bias + ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(means, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def sign_flip_p(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p of the mean difference when each pair's sides may be swapped. NaN without pairs."""
    x = np.asarray(differences, dtype=float)
    n = len(x)
    if n == 0:
        return math.nan
    # a pattern that gives the same sum through another order of additions counts as equal
    bar = abs(x.sum()) - 1e-9 * np.abs(x).sum()
    if n <= EXACT_UP_TO:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float(np.mean(np.abs(x.sum() - 2 * flips @ x) >= bar))
    extreme = 0
    for size in blocks(n, RESAMPLES):
        width = -(-n // 8)
        bits = np.frombuffer(rng.bytes(size * width), dtype=np.uint8).reshape(size, width)
        flips = np.unpackbits(bits, axis=1, count=n).astype(np.float64)
        extreme += int(np.sum(np.abs(x.sum() - 2 * flips @ x) >= bar))
    return (extreme + 1) / (RESAMPLES + 1)


def crossed_interval(table: np.ndarray, rng: np.random.Generator, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean of a seeds × runs table (NaN: missing) when both are samples: rows and columns
    are drawn again, each on its own (pigeonhole bootstrap, Owen 2007). Wider than one over seeds alone: another random
    seed would have given other numbers too. NaN for fewer than two rows or columns."""
    n, m = table.shape
    if n < 2 or m < 2:
        return math.nan, math.nan
    there = np.isfinite(table)
    values = np.where(there, table, 0.0)
    means = []
    for size in blocks(n, max(2_000, min(RESAMPLES, BOOTSTRAP_CELLS // n))):
        rows, columns = drawn(n, size, rng), drawn(m, size, rng)
        # every cell there: each resample weighs as much as the table
        weight = np.full(size, n * m) if there.all() else np.sum(rows @ there.astype(float) * columns, axis=1)
        total = np.sum(rows @ values * columns, axis=1)
        means.append(total[weight > 0] / weight[weight > 0])
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def drawn(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """size × n: how often each of n is drawn in n draws with replacement."""
    cells = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
    return np.bincount(cells.ravel(), minlength=size * n).reshape(size, n).astype(float)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided signed-rank p, zeros by Pratt's rule; NaN where all differences are zero."""
    x = np.asarray(differences, dtype=float)
    if not np.any(x):
        return math.nan
    from scipy.stats import wilcoxon

    return float(wilcoxon(x, zero_method="pratt").pvalue)


def mcnemar_p(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test (1947); NaN where an outcome is neither 0 nor 1, or none differs."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if not np.isin(np.concatenate([a, b]), (0.0, 1.0)).all() or not np.any(a != b):
        return math.nan
    from scipy.stats import binomtest

    wins, losses = int(np.sum(a > b)), int(np.sum(a < b))
    return float(binomtest(wins, wins + losses).pvalue)


def effect_size(differences: np.ndarray) -> float:
    """Cohen's d of paired differences (d_z): their mean in units of their standard deviation; NaN where it is 0."""
    x = np.asarray(differences, dtype=float)
    spread = x.std(ddof=1) if len(x) > 1 else 0.0
    return float(x.mean() / spread) if spread > 0 else math.nan


def detectable(differences: np.ndarray, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest true mean difference that so many pairs, spread like these, would show with this power (two-sided,
    normal approximation); NaN for fewer than two pairs."""
    from scipy.special import ndtri

    x = np.asarray(differences, dtype=float)
    if len(x) < 2:
        return math.nan
    return float((ndtri(1 - level / 2) + ndtri(power)) * x.std(ddof=1) / math.sqrt(len(x)))


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p over the family of the finite entries; NaN stays NaN and does not count."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(len(p), math.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def blocks(n: int, total: int) -> Iterator[int]:
    """Numbers of draws of n cells that add up to `total`, each of at most about BLOCK cells."""
    size = max(1, BLOCK // n)
    full, rest = divmod(total, size)
    yield from [size] * full
    if rest:
        yield rest
