"""What a run knows of a record beside its text, as columns of the exported rows: what its metrics found, and fields of
the record's `extra`.

python -m evodistill.export RUN --format messages --scores --extra functions constraint
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.backend.tokens import repaired
from evodistill.export.formats import Row
from evodistill.record import Record, read_jsonl

WIDE = ("alpaca", "sharegpt", "messages", "prompt_completion", "datasets")  # whose readers pass over other columns

Columns = dict[str, dict[str, Any]]  # column → id of a record → value


def columns(folder: Path, records: Sequence[Record], format: str, scores: bool, extra: Sequence[str]) -> Columns:
    """Those that were asked for, of these records of the run in `folder`."""
    if not scores and not extra:
        return {}
    if format not in WIDE:
        raise RunError(
            f"--format {format} has fixed columns, and a row of it may be one of several pairs of a record: --scores "
            f"and --extra go with {', '.join(WIDE)}"
        )
    measured = values(folder, {record.id for record in records}) if scores else {}
    if both := sorted(measured.keys() & set(extra)):
        raise RunError(f"--extra {both[0]} is the name of a metric's value too: give --scores or --extra {both[0]}")
    return measured | {key: field(records, key) for key in extra}


def values(folder: Path, ids: set[str]) -> Columns:
    """What the run's metrics found of these records; what metrics.json does not name is of an earlier command."""
    file = folder / "metrics.json"
    named = json.loads(file.read_text(encoding="utf-8"))["metrics"] if file.is_file() else None
    found: Columns = {}
    for path in sorted((folder / "scores").glob("*.jsonl")):
        for row in read_jsonl(path):
            if row["id"] in ids and row["operation"] != "benchmark":
                for name in (name for name in row["values"] if named is None or name in named):
                    found.setdefault(name, {})[row["id"]] = row["values"][name]
    if not found:
        raise RunError(
            "--scores: no metric of this run has measured these records; name the step that was measured with --step, "
            "or run it with 'metric=[…]'"
        )
    return found


def field(records: Sequence[Record], key: str) -> dict[str, Any]:
    found = {record.id: record.extra[key] for record in records if key in record.extra}
    if not found:
        known = sorted({name for record in records for name in record.extra})
        raise RunError(f"--extra {key}: no record has it in its extra; they have {', '.join(known) or 'nothing there'}")
    return {id: json.loads(repaired(json.dumps(value, ensure_ascii=False))) for id, value in found.items()}


def widened(rows: Sequence[Row], added: Columns) -> list[Row]:
    """The rows with all columns; null where a record has no such value."""
    if taken := sorted({name for row in rows[:1] for name in row} & added.keys()):
        raise RunError(f"{taken[0]} is a column of this format already: leave it out of --extra")
    return [row | {name: found.get(row["id"]) for name, found in added.items()} for row in rows]


def sources(rows: Sequence[Row], added: Columns, extra: Sequence[str]) -> Mapping[str, tuple[str, int]]:
    """Column → (where it comes from, how many rows have a value)."""
    return {
        name: ("extra" if name in extra else "metric", sum(row[name] is not None for row in rows)) for name in added
    }
