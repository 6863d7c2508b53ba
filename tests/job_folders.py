"""Small job folders, written as the runner writes them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from evodistill.record import Record


def lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def score(
    seed: str, round: int, value: float | None, metric: str = "complexity_score", label: str | None = None
) -> dict:
    """A score row; a value of None is an unparsed reply."""
    failed = {} if value is not None else {"reason": "no_number", "raw": "I would say it is rather hard"}
    row = {"id": f"{seed}-{round}", "seed": seed, "round": round, "operation": "constraints"}
    return row | {"values": {metric: value}, "label": label, "reason": "", "raw": ""} | failed


def write_job(
    folder: Path,
    evolver: str = "small-1b",
    scores: dict[str, list[dict]] | None = None,
    status: str = "completed",
    records: list[Record] = (),
    rejects: list[Record] = (),
    **facts,
) -> Path:
    """A job folder; `scores` is {metric: score rows}. metrics.json is made from them as the runner does."""
    scores = scores or {}
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "status": status,
        "error": "",
        "started": "2026-01-01T00:00:00",
        "seconds": 2.0,
        "study": "pair",
        "run": folder.name,
    }
    told |= {
        "seed": 0,
        "dataset": "tiny",
        "evolution": "evol_instruct",
        "evolver": evolver,
        "teacher": "t",
        "student": "",
        "judge": "j",
    }
    (folder / "status.json").write_text(json.dumps(told | facts))
    metrics: dict = {}
    for name, rows in scores.items():
        lines(folder / "scores" / f"{name}.jsonl", rows)
        for row in rows:
            for value in row["values"]:
                metrics.setdefault(value, {}).setdefault(str(row["round"]), []).append(row)
    for value, rounds in metrics.items():
        for number, rows in rounds.items():
            known = [row["values"][value] for row in rows if row["values"][value] is not None]
            span = [min(known), max(known)] if known else None
            summary = {
                "mean": fmean(known) if known else None,
                "ci95": span,
                "n": len(known),
                "unparsed": len(rows) - len(known),
            }
            labels = Counter(row["label"] for row in rows if row["label"])
            rounds[number] = summary | ({"counts": labels} if labels else {})
    counts: dict = {}
    for record in [*records, *rejects]:
        row = counts.setdefault(str(record.origin.round), {"made": 0, "kept": 0, "rejected": 0, "reasons": Counter()})
        row["made"] += 1
        row["rejected" if record.fault else "kept"] += 1
        if record.fault:
            row["reasons"][record.fault.reason] += 1
    if status == "completed":
        (folder / "metrics.json").write_text(json.dumps({"metrics": metrics, "rounds": counts}))
    if records or rejects:
        artifact = folder.parent / f"artifact-{folder.name}"
        lines(artifact / "records.jsonl", [record.to_dict() for record in records])
        lines(artifact / "rejects.jsonl", [record.to_dict() for record in rejects])
        (artifact / "manifest.json").write_text(json.dumps({"step": "evolution"}))
        used = {
            "requests": 4,
            "cached": 1,
            "prompt_tokens": 1234,
            "completion_tokens": 56,
            "seconds": 1.5,
            "reused": False,
        }
        step = {"step": "evolution", "hash": "0", "path": str(artifact), "in": 1, "made": 2, "out": 2, "rejected": 1}
        step |= {"reasons": {"unchanged": 1}}
        lines(folder / "steps.jsonl", [step | used])
    (folder / ".hydra").mkdir(exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text(f"seed: 0\nevolver: {evolver}\n")
    (folder / ".hydra" / "overrides.yaml").write_text(f"- model@evolver={evolver}\n")
    return folder


def family(seed: Record, evolver: str) -> list[Record]:
    """The seed and its child in round 1, with ids as `score` names them."""
    child = seed.child(f"{seed.instruction}, harder, by {evolver}", step="evolution", round=1, operation="constraints")
    return [seed, replace(child, id=f"{seed.id}-1")]
