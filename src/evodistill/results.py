"""What a run writes about itself: `status.json`, `metrics.json`, and the summaries with their error bars."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from evodistill.record import Record

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIDENCE = 0.95
RESAMPLES = 2000
MANY = 200_000
REFINED = "refined"  # reason of an original that its refined form replaced: nothing failed
ROLES = ("evolver", "teacher", "student", "judge")


def facts(cfg: DictConfig) -> dict[str, Any]:
    """What names a run in every table: study, seed, data, method and models."""
    named = {
        option: str(cfg[option]._target_).split(".")[-2] if cfg.get(option) else ""
        for option in ("dataset", "evolution")
    }
    models = {role: str(cfg[role].name) if cfg.get(role) else "" for role in ROLES}
    return {"study": cfg.study, "seed": cfg.seed, **named, **models}


def summarize(rows: Iterable[Mapping[str, Any]], seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """{value: {round: {mean, ci95, n, unparsed, counts}}} of score rows. A record without a value is counted in
    `unparsed`; it never enters a mean (CR1, CS2)."""
    values: dict[str, dict[int, list[float | None]]] = {}
    labels: dict[str, dict[int, Counter[str]]] = {}
    for row in rows:
        for name, value in row["values"].items():
            values.setdefault(name, {}).setdefault(row["round"], []).append(value)
            # a second judge's value has a label of its own
            label = row.get("extra", {}).get("labels", {}).get(name, row["label"])
            if label is not None:
                labels.setdefault(name, {}).setdefault(row["round"], Counter())[label] += 1
    return {
        name: {
            str(number): summary(given, f"{seed}:{name}:{number}")
            | ({"counts": dict(labels[name].get(number, {}))} if name in labels else {})
            for number, given in sorted(rounds.items())
        }
        for name, rounds in values.items()
    }


def summary(values: Sequence[float | None], seed: str) -> dict[str, Any]:
    """Mean and 95 % bootstrap interval (BCa, Efron 1987) of the values that are there; n; how many are missing."""
    import numpy as np

    there = np.array([value for value in values if value is not None and math.isfinite(value)], float)
    out: dict[str, Any] = {"mean": None, "ci95": None, "n": len(there), "unparsed": len(values) - len(there)}
    if len(there):
        out["mean"] = float(there.mean())
        out["ci95"] = interval(there, seed)
    return out


def interval(values: Any, seed: str) -> list[float] | None:
    """BCa interval of the mean; None below two values, a point where all are equal. Of more than MANY values the normal
    one, from which the bootstrap's differs by less than by its own chance.

    The acceleration comes from the influence of each value, which for a mean is its distance from it (Efron 1987):
    SciPy's own BCa finds the same by a jackknife, in a time that grows with the square of n."""
    import numpy as np
    from scipy.special import ndtr, ndtri
    from scipy.stats import bootstrap

    if len(values) < 2:
        return None
    if np.ptp(values) == 0:
        return [float(values[0])] * 2
    if len(values) > MANY:
        half = ndtri((1 + CONFIDENCE) / 2) * values.std(ddof=1) / len(values) ** 0.5
        return [float(values.mean() - half), float(values.mean() + half)]
    rng = np.random.default_rng(random.Random(seed).getrandbits(64))
    batch = max(1, 4_000_000 // len(values))  # 32 MB of resamples at a time
    means = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", batch=batch, rng=rng
    ).bootstrap_distribution
    away = values - values.mean()
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    below = ((means < values.mean()).mean() + (means <= values.mean()).mean()) / 2
    with np.errstate(invalid="ignore"):  # all resamples on one side: infinite, handled below
        bias = ndtri(below)
        tails = bias + ndtri([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        shares = ndtr(bias + tails / (1 - acceleration * tails))
    return np.quantile(means, shares).tolist() if np.isfinite(shares).all() else None


def by_round(records: Iterable[Record], rejects: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """{round: {made, kept, rejected, carried, carried_rejected, reasons}}, each record counted once.

    What was made is kept or rejected, by reason. Stand-ins of failed records (operation keep_parent) were not made:
    they are carried, or rejected later (their answer was cut off, say). Originals whose line goes on in a refined form
    are not counted."""
    counts: dict[int, Counter[str]] = {}
    reasons: dict[int, Counter[str]] = {}
    for record in chain(records, rejects):
        if record.fault and record.fault.reason == REFINED:
            continue
        stands_in = record.origin.operation == "keep_parent"
        fate = (
            ("carried_rejected" if stands_in else "rejected") if record.fault else ("carried" if stands_in else "kept")
        )
        counts.setdefault(record.origin.round, Counter())[fate] += 1
        if record.fault and not stands_in:
            reasons.setdefault(record.origin.round, Counter())[record.fault.reason] += 1
    return {
        str(number): {
            "made": fates["kept"] + fates["rejected"],
            **{fate: fates[fate] for fate in ("kept", "rejected", "carried", "carried_rejected")},
            "reasons": dict(reasons.get(number, Counter()).most_common()),
        }
        for number, fates in sorted(counts.items())
    }
