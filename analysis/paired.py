"""Statistics of paired differences: BCa interval, sign-flip test, Holm's correction. Numbers in, numbers out.

- BCa bootstrap: Efron, "Better bootstrap confidence intervals" (JASA 1987), eq. 6.8 for the endpoints.
- Sign-flip (paired permutation) test: exact for few pairs, else Monte Carlo with the +1 of Phipson & Smyth (2010), so
  that p is never 0.
- Exact McNemar for binary outcomes, Wilcoxon's signed ranks, Cohen's d_z, and the difference that could be detected.
- Several runs: seeds and runs are both samples. The variance of the mean is that by seeds + that by runs − that by both
  (Owen, "The pigeonhole bootstrap", 2007; Cameron, Gelbach & Miller, "Robust inference with multiway clustering",
  2011), each with the t of its own degrees of freedom (Howe, "Approximate confidence limits on the mean of X + Y", JASA
  1974). A bootstrap of two or three runs knows no more than the least and the largest of them.
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
    same = 1e-9 * np.abs(x).mean()  # additions in another order end this near, in whatever unit x is
    below = (np.sum(means < x.mean() - same) + 0.5 * np.sum(np.abs(means - x.mean()) <= same)) / len(means)
    bias = ndtri(below)
    # jackknife means differ from their mean by -centred / (n - 1): the acceleration has a closed form
    acceleration = np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5)
    z = bias + ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = (float(end) for end in np.quantile(means, ndtr(bias + z / (1 - acceleration * z))))
    return low if abs(low) > same else 0.0, high if abs(high) > same else 0.0


def sign_flip_p(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p of the mean difference when each pair's sides may be swapped; a tie is the same either way. NaN
    without pairs, 1 where all are ties."""
    x = np.asarray(differences, dtype=float)
    if len(x) == 0:
        return math.nan
    x = x[x != 0]
    n = len(x)
    if n <= EXACT_UP_TO:
        return exact_flip_p(x)
    bar, extreme = reached(x), 0
    for size in blocks(n, RESAMPLES):
        width = -(-n // 8)
        bits = np.frombuffer(rng.bytes(size * width), dtype=np.uint8).reshape(size, width)
        flips = np.unpackbits(bits, axis=1, count=n).astype(np.float64)
        extreme += int(np.sum(np.abs(x.sum() - 2 * flips @ x) >= bar))
    return (extreme + 1) / (RESAMPLES + 1)


def exact_flip_p(x: np.ndarray) -> float:
    """Of all 2^n patterns of signs, the share whose sum is as far from 0."""
    flips = (np.arange(2 ** len(x))[:, None] >> np.arange(len(x))) & 1
    return float(np.mean(np.abs(x.sum() - 2 * flips @ x) >= reached(x)))


def reached(x: np.ndarray) -> float:
    """|sum|, less what another order of additions may change."""
    return abs(x.sum()) - 1e-9 * np.abs(x).sum()


def crossed_parts(table: np.ndarray) -> list[tuple[float, int]]:
    """What the mean of a seeds × runs table (NaN: missing) varies by when both are samples: (variance of the mean,
    degrees of freedom) by seeds, by runs, and by both at once, which each of the first two holds as well. Empty for
    fewer than two rows or columns."""
    n, m = table.shape
    if n < 2 or m < 2:
        return []
    rows, columns = np.nanmean(table, axis=1), np.nanmean(table, axis=0)
    rest = table - rows[:, None] - columns + np.nanmean(table)
    free = int(np.isfinite(table).sum()) - n - m + 1
    cell = np.nansum(rest**2) / free if free > 0 else 0.0
    parts = [(rows.var(ddof=1) / n, n - 1), (columns.var(ddof=1) / m, m - 1), (cell / (n * m), free)]
    tiny = (1e-12 * np.nanmax(np.abs(table))) ** 2  # equal but for rounding
    return [(float(part) if part > tiny else 0.0, max(df, 1)) for part, df in parts]


def crossed_half(parts: list[tuple[float, int]], tail: float) -> float:
    """Half an interval that leaves out `tail` at each end: √(t²·seeds + t²·runs − t²·both), each t of its own degrees
    of freedom (Howe 1974), and not below the larger of the first two. So three runs count as three, however many
    seeds there are: t is 4.3, not 1.96."""
    from scipy.special import stdtrit

    seeds, runs, both = (part * stdtrit(df, tail) ** 2 for part, df in parts)
    return math.sqrt(max(seeds + runs - both, seeds, runs))


def crossed_interval(table: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean difference over the seeds and runs that might have been drawn instead. Wider than one over
    seeds alone: another random seed would have given other numbers too. NaN for fewer than two rows or columns."""
    if not (parts := crossed_parts(table)):
        return math.nan, math.nan
    mean, half = float(np.nanmean(table, axis=1).mean()), crossed_half(parts, (1 - level) / 2)
    return mean - half, mean + half


def crossed_p(table: np.ndarray) -> float:
    """Two-sided p of the same model: 1 − the level at which its interval ends at 0. NaN where it has none, and where
    neither seeds nor runs differ, of which it knows nothing."""
    parts = crossed_parts(table)
    if not any(part for part, _ in parts[:2]):
        return math.nan
    from scipy.optimize import brentq

    mean, least = abs(float(np.nanmean(table, axis=1).mean())), 1e-12
    if crossed_half(parts, least / 2) <= mean:
        return least
    return 10 ** float(brentq(lambda power: crossed_half(parts, 10**power / 2) - mean, math.log10(least), 0.0))


def crossed_detectable(table: np.ndarray, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest true mean difference that so many seeds and runs, spread like these, would show with this power."""
    parts = crossed_parts(table)
    return crossed_half(parts, level / 2) + crossed_half(parts, 1 - power) if parts else math.nan


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided signed-rank p, zeros by Pratt's rule: exact where few differ, else by the normal approximation; NaN
    where none does."""
    x = np.asarray(differences, dtype=float)
    if not np.any(x):
        return math.nan
    from scipy.stats import rankdata, wilcoxon

    if np.count_nonzero(x) <= EXACT_UP_TO:  # scipy approximates wherever there are ties
        return exact_flip_p((np.sign(x) * rankdata(np.abs(x)))[x != 0])

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
