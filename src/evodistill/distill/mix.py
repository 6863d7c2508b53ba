"""Shares of classes in whole numbers, and how far one mix is from another."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import floor
from typing import Any

from evodistill.record import digest

COLUMNS: tuple[str, ...] = ("class", "share", "before", "after", "repeated", "synthesized")


def exact(shares: Mapping[str, float]) -> dict[str, Fraction]:
    """0.017 as 17/1000: sums and ties of shares are those of the decimals that were written down."""
    return {name: Fraction(str(share)) for name, share in shares.items()}


def allot(n: int, shares: Mapping[str, Fraction], room: Mapping[str, int | None], seed: int = 0) -> dict[str, int]:
    """Whole numbers that add up to n, in these shares: quotas are rounded down, and what is left goes to the largest
    remainders (Hamilton), ties by a seeded hash. A class that cannot take its number (`room`; None = any) takes what it
    can, and the rest is shared among the others; where all are full, the sum is less than n."""
    given = dict.fromkeys(shares, 0)
    open_ = {name: share for name, share in shares.items() if share > 0 and room.get(name) != 0}
    while open_ and n > 0:
        whole = sum(open_.values())
        quotas = {name: n * share / whole for name, share in open_.items()}
        found = {name: floor(quota) for name, quota in quotas.items()}
        order = sorted(open_, key=lambda name: (found[name] - quotas[name], digest([seed, name])))
        for name in order[: n - sum(found.values())]:
            found[name] += 1
        full = {name: most for name in open_ if (most := room.get(name)) is not None and found[name] > most}
        if not full:
            return given | found
        given |= full
        n -= sum(full.values())
        open_ = {name: share for name, share in open_.items() if name not in full}
    return given


def distance(counts: Mapping[str, int], shares: Mapping[str, float]) -> float | None:
    """Total variation distance, half the sum of absolute differences of the shares; None of nothing."""
    n, whole = sum(counts.values()), sum(shares.values())
    if not n:
        return None
    names = {*counts, *shares}
    return sum(abs(counts.get(name, 0) / n - shares.get(name, 0) / whole) for name in names) / 2


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """COLUMNS as csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def pretty(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
