"""Choose records: those that every evolver has, of some rounds, with the highest or lowest scores.

    Select(rivals=["small", "large"], rounds=[1])           equal sets of two evolvers, paired by seed (AE3, AI18)
    Select(metric=IFD("student"), value="ifd", keep=0.25)   the top quarter (arXiv 2412.11231 §5, table 5)
    Select(keep=1000)                                       at random
    Select(…, mark="by_ifd")                                says which, and leaves the others for another choice

The filters work in this order: rounds, stand-ins, pairing, score. What they leave out is rejected, with a reason,
or only marked, so that two students may learn from two choices of the same records (trainer `only`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evodistill.backend import Backend
from evodistill.evolution.evolution import KEPT
from evodistill.record import Record, digest, read_records

GROUPS = ("operation", "round")
Line = tuple[str, int]  # seed id and round: what records of two evolvers are paired by


@dataclass(frozen=True)
class Select:
    """Keep the records that pass; `metric` is a configured metric, asked here for the scores to rank by."""

    role: str = "evolver"  # whose place the rivals take
    rivals: Sequence[str] = ()  # roles; only lines that the run with each of them has too are kept, equally many
    paired_with: Sequence[str] = field(default=(), metadata={"identity": False})  # … or artifacts of earlier runs
    rounds: Sequence[int] | None = None
    stand_ins: bool = True  # false: no record that stands in for a failed one (operation keep_parent)
    metric: Any = None
    value: str | None = None  # of the metric, to rank by
    keep: float | int | None = None  # share (a float up to 1.0) or number of records
    lowest: bool = False  # the smallest first: the paper's length and perplexity baselines
    per: str | None = None  # operation | round: the share or number of each group
    mark: str | None = None  # key of a record's extra that says whether it was chosen; nothing is rejected then
    seed: int = 0  # of ties and of the draw without a metric

    def __post_init__(self) -> None:
        if (self.metric is None) != (self.value is None):
            raise ValueError("metric and value belong together: give both, or neither for a random choice")
        if self.metric is not None and self.keep is None:
            raise ValueError("metric without keep selects nothing; give keep, a share such as 0.25 or a number")
        if self.keep is not None and (self.keep <= 0 or (isinstance(self.keep, float) and self.keep > 1)):
            raise ValueError(f"keep must be a share in (0, 1.0] or a whole number ≥ 1, got {self.keep!r}")
        if self.per not in (None, *GROUPS):
            raise ValueError(f"per must be one of {', '.join(GROUPS)}, or null, got {self.per!r}")
        for place in self.paired_with:
            if not records_of(place).is_file():
                raise ValueError(f"paired_with: {records_of(place)} does not exist; name an artifact's folder")

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self.metric.roles) if self.metric else ()

    @property
    def prompts(self) -> Mapping[str, Sequence[str]]:
        return self.metric.prompts if self.metric else {}

    @property
    def sources(self) -> list[str]:
        """What the records are paired with, by content."""
        return [digest(sorted(map(list, self.lines(place)))) for place in self.paired_with]

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        out = {record.id: self.outside(record) for record in records}
        for place in self.paired_with:
            out |= unpaired([record for record in out.values() if not record.fault], self.lines(place), place)
        left = [record for record in out.values() if not record.fault]
        if self.keep is not None:
            out |= {record.id: record for record in self.ranked(left, records, models)}
        if self.mark:
            marked = ({**record.extra, self.mark: out[record.id].fault is None} for record in records)
            return [replace(record, extra=extra) for record, extra in zip(records, marked, strict=True)]
        return list(out.values())

    def outside(self, record: Record) -> Record:
        if self.rounds is not None and record.origin.round not in self.rounds:
            return record.reject("outside_rounds", f"round {record.origin.round}")
        if not self.stand_ins and record.origin.operation == KEPT:
            return record.reject("stand_in", "its own rewrite failed")
        return record

    def lines(self, place: str) -> Counter[Line]:
        """The lines of the records at a place, each with its number of records, after the same first filters."""
        kept = (self.outside(record) for record in read_records(records_of(place)))
        return Counter(line(record) for record in kept if not record.fault)

    def ranked(self, records: list[Record], given: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        """Every record; those below the cut, or without a value, rejected (SEL1, SEL3: never a guess for nan). `given`
        is what they are left of."""
        out = {record.id: record for record in records}
        values: dict[str, float] = dict.fromkeys(out, 0.0)
        if self.metric is not None and self.value is not None:
            values = {}
            for score in self.metric(self.measured(records, given), models):
                if score.id not in out:
                    continue
                value = score.named(self.value, "select.value")
                if value is None:
                    out[score.id] = out[score.id].reject("no_score", score.reason, score.raw)
                else:
                    values[score.id] = value
        groups: dict[Any, list[Record]] = {}
        for record in records:
            if record.id in values:
                groups.setdefault(getattr(record.origin, self.per) if self.per else "", []).append(record)
        sign = 1 if self.lowest else -1
        for group in groups.values():
            # ties, and a choice without a metric, by a hash of the line: no order of the records changes it, and two
            # evolvers keep the same seeds
            group.sort(key=lambda record: (sign * values[record.id], digest([self.seed, *line(record)]), record.id))
            for rank, record in enumerate(group[self.number(len(group)) :], self.number(len(group)) + 1):
                detail = f"rank {rank} of {len(group)}" + (
                    f", {self.value} {values[record.id]:.4g}" if self.value else ""
                )
                out[record.id] = record.reject("not_selected", detail)
        return list(out.values())

    def measured(self, records: list[Record], given: list[Record]) -> list[Record]:
        """The records, with their parents, although these were filtered out, where the metric looks at them."""
        if not getattr(self.metric, "parents", False):
            return records
        wanted = {id for record in records for id in (record.id, record.origin.parent)}
        return [record for record in given if record.id in wanted]

    def number(self, n: int) -> int:
        """How many of n are kept; of a share at least one."""
        assert self.keep is not None
        return max(1, round(self.keep * n)) if isinstance(self.keep, float) else min(self.keep, n)


def line(record: Record) -> Line:
    return record.origin.seed, record.origin.round


def records_of(place: str) -> Path:
    path = Path(place)
    return path if path.suffix == ".jsonl" else path / "records.jsonl"


def unpaired(records: list[Record], lines: Counter[Line], place: str) -> dict[str, Record]:
    """Those whose line the other side does not have, or not as often, rejected."""
    room, out = Counter(lines), {}
    for record in sorted(records, key=lambda record: record.id):
        room[line(record)] -= 1
        if room[line(record)] < 0:
            out[record.id] = record.reject("unpaired", f"no counterpart in {Path(place).name}")
    return out
