"""`max_rejected`: a run whose model fails at nearly everything stops after that step, before more is asked.

python run.py … max_rejected=0.9      a share; off (null) by default, since a filter may be meant to reject nearly all
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.evolution.evolution import KEPT
from evodistill.record import Record
from evodistill.results import REFINED

ENOUGH = 50  # records; a share of fewer says little
SHOWN = 3  # reasons
# reasons of records that were left out on purpose or went on as others: nothing failed
ASIDE = {
    *(REFINED, "chunked", "expanded", "passage", "seed", "stand_in", "not_evolved", "no_parent"),
    *("not_drawn", "not_selected", "not_in_top", "outside_rounds", "unpaired"),
}


def check(limit: Any) -> None:
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if limit is not None and not (number and 0 <= limit < 1):
        raise RunError(f"max_rejected={limit} must be a share from 0 to below 1, as 0.9, or null for no limit")


def judged(given: Sequence[Record], returned: Sequence[Record]) -> int:
    """How many records a step has decided about: those that it made or changed where it makes some (an evolution gives
    the parents back as they are), else all (a filter gives back as it is what is good). Stand-ins were not made."""
    before = {record.id: record for record in given}
    if before.keys() == {record.id for record in returned}:
        return len(returned)
    return sum(
        record != before[record.id] if record.id in before else record.origin.operation != KEPT for record in returned
    )


def exceeded(limit: float | None, step: str, n: int, reasons: Mapping[str, int], file: Path) -> str:
    """What to tell of a step that rejected (or a metric that could not read) more than the share `limit` of the `n`
    records it decided about, frequent `reasons` first; "" where it is within."""
    failed = {reason: count for reason, count in reasons.items() if reason not in ASIDE}
    n -= sum(reasons.values()) - (lost := sum(failed.values()))
    if limit is None or n < ENOUGH or lost <= limit * n:
        return ""
    most = ", ".join(f"{reason} {count}" for reason, count in list(failed.items())[:SHOWN])
    return (
        f"{step}: {lost} of {n} records failed ({lost / n:.0%}; {most}), more than max_rejected={limit:g}; "
        f"read {file}. What has finished is kept: mend the cause, or raise max_rejected and give the same command again"
    )
