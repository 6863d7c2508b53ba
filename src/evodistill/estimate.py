"""What planned work adds up to: requests, tokens, cost, and hours on a named machine; of a job, and of a whole study.

    python run.py -m +experiment=… +study=… dry_run=true

Each job leaves a `plan.json`; the study adds them up. Work that jobs share has the same key and counts once, since the
second job finds it in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from evodistill.hardware import Hardware
from evodistill.store import write_json

FILE = "plan.json"
MINUTE = 1 / 60  # hours


@dataclass(frozen=True)
class Row:
    """What a step asks of one model. Tokens and cost are the most that may come."""

    key: str  # the same where two jobs share the work
    model: str
    billions: float | None  # parameters; None where the model states none
    requests: int = 0
    read: float = 0.0  # prompt tokens
    written: int = 0  # completion tokens
    learned: float = 0.0  # tokens of training, over all epochs
    usd: float = 0.0
    elsewhere: bool = False  # a server computes it: no hours of this hardware


def total(rows: Iterable[Row], hardware: Hardware) -> list[str]:
    """Lines: a table by model, and the sums. Models behind a server, and those with a price, take none of our hours."""
    once = {(row.key, row.model, row.learned > 0): row for row in rows}.values()
    by: dict[str, list[Row]] = {}
    for row in once:
        by.setdefault(row.model, []).append(row)
    head = ("model", "requests", "prompt tokens", "completion tokens", "training tokens", "hours", "USD")
    cells, hours, unknown = [], 0.0, []
    for model, part in sorted(by.items()):
        ours = not any(row.usd or row.elsewhere for row in part)
        spent = taken(part, hardware) if ours else None
        hours += spent or 0.0
        if spent is None and ours:
            unknown.append(model)
        cells.append((model, *sums(part), "–" if spent is None else told(spent), f"{paid(part):,.2f}"))
    every = [row for part in by.values() for row in part]
    cells.append(("in all", *sums(every), told(hours), f"{paid(every):,.2f}"))
    lines = aligned([head, *cells])
    most = told(hours) if 0 < hours < MINUTE else f"at most {told(hours)} hours"
    lines.append(f"{most} on {hardware.name} (an estimate: conf/hardware)")
    if unknown:
        lines.append(f"no hours for {', '.join(unknown)}: the model states no size")
    cost = paid(every)
    lines.append(
        f"at most {cost:,.2f} USD by the prices of the models" if cost else "no model has a price: nothing to pay"
    )
    return lines


def sums(rows: Sequence[Row]) -> tuple[str, str, str, str]:
    requests, read = sum(row.requests for row in rows), sum(row.read for row in rows)
    written, learned = sum(row.written for row in rows), sum(row.learned for row in rows)
    return f"{requests:,}", f"{read:,.0f}", f"{written:,}", f"{learned:,.0f}"


def told(hours: float) -> str:
    if 0 < hours < MINUTE:
        return "under a minute"
    return f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"


def paid(rows: Sequence[Row]) -> float:
    return sum(row.usd for row in rows)


def taken(rows: Sequence[Row], hardware: Hardware) -> float | None:
    """Hours; None where a size is not known."""
    if any(row.billions is None for row in rows):
        return None
    return sum(hardware.hours(row.billions or 0.0, row.read, row.written, row.learned) for row in rows)


def write(folder: Path, rows: Sequence[Row], hardware: Hardware) -> None:
    write_json(folder / FILE, {"hardware": asdict(hardware), "rows": [asdict(row) for row in rows]})


def study(folder: Path) -> str:
    """The sum over the plans of the jobs below a folder; empty where there are none."""
    jobs = sorted(path.parent for path in folder.glob("*/.hydra"))
    planned = [job for job in jobs if (job / FILE).is_file()]
    if not planned:
        return ""
    plans = [json.loads((job / FILE).read_text(encoding="utf-8")) for job in planned]
    rows = [Row(**row) for plan in plans for row in plan["rows"]]
    missing = [job.name for job in jobs if job not in planned]
    of = f"{len(planned)} of {len(jobs)}" if missing else len(jobs)
    lines = ["", f"the whole study: {of} job{'s' * (len(jobs) > 1)}; what they share is done once and counted once"]
    if missing:
        lines.append(f"WITHOUT what could not be planned ({', '.join(missing)}): see above")
    return "\n".join([*lines, *total(rows, Hardware(**plans[0]["hardware"]))])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(rest, widths[1:], strict=True))])
        for first, *rest in rows
    ]
