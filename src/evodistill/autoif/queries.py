"""AutoIF, stage 5: each constraint is joined with queries of people (arXiv 2406.13542 §3.2).

The i-th constraint gets the i-th block of queries, drawn by (seed, i), so that two evolvers are paired: their i-th
constraints stand beside the same queries, and records are paired by query and block (AI18).
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from evodistill import RunError
from evodistill.autoif import told
from evodistill.backend import Backend
from evodistill.dataset import Dataset
from evodistill.evolution.eliminate import language
from evodistill.record import Record, digest

log = logging.getLogger(__name__)
LAYOUTS = ("joined", "columns")
ENDED = re.compile(r"[.?!…。？！:;][\"'”’)\]]*\Z")


@dataclass(frozen=True)
class Queries:
    """`per_constraint` records for each constraint. The constraint itself ends here: it is rejected as `expanded`, with
    its functions and cases, so that it can be read but is no instruction to train on."""

    dataset: Dataset  # of queries
    per_constraint: int = 16
    constraints: int | None = None  # so many of them, drawn by seed and id; null = all
    min_chars: int = 20  # a query has more
    max_chars: int = 300  # … and fewer
    language: str | None = "en"  # of the queries, ISO 639-1; null = any
    layout: str = "joined"  # one instruction | columns: the constraint is the instruction, the query the input
    seed: int = 0

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        for name in ("per_constraint", "constraints"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be ≥ 1, got {value}")
        if self.max_chars - self.min_chars < 2:
            raise ValueError(f"max_chars must leave room above min_chars={self.min_chars}, got {self.max_chars}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r}")
        try:  # a missing file is found before any model is asked
            _ = self.dataset.sources
        except RunError as error:
            raise RunError(f"no query set: {error} (here: queries.dataset)") from None

    @property
    def sources(self) -> Sequence[str]:
        return self.dataset.sources

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        usable = [record for record in records if not record.fault]
        queries = self.queries() if usable else []
        # by hash, not by row: a subset of the constraints is no choice of the earliest
        if usable and len(queries) < self.per_constraint:
            log.warning(
                "queries: %d usable, so each constraint gets these; per_constraint=%d",
                len(queries),
                self.per_constraint,
            )
        if self.constraints is not None and len(usable) < self.constraints:
            log.warning(
                "queries: %d constraints are there, constraints=%d are asked for", len(usable), self.constraints
            )
        order = sorted(usable, key=lambda record: digest([self.seed, record.id]))
        rank = {record.id: number for number, record in enumerate(order)}
        out = []
        for record in records:
            if record.fault:
                out.append(record)
            elif self.constraints is not None and rank[record.id] >= self.constraints:
                out.append(record.reject("not_drawn", f"constraints={self.constraints}, this is {rank[record.id] + 1}"))
            else:
                number = rank[record.id]
                block = random.Random(f"{self.seed}:{number}").sample(queries, min(self.per_constraint, len(queries)))
                children = [self.joined(record, query, number) for query in block]
                out += [record.reject("expanded", f"into {len(children)} instructions"), *children]
        return out

    def queries(self) -> list[Record]:
        """The usable queries of the data set."""
        found = self.dataset([], {})
        reasons = {record.id: self.unfit(record) for record in found}
        fit = [record for record in found if not reasons[record.id]]
        if not fit:
            raise RunError(
                f"queries.dataset: none of {len(found)} rows is a usable query ({told(reasons.values())}); "
                "change queries.min_chars, queries.max_chars or queries.language, or choose another dataset"
            )
        return fit

    def unfit(self, record: Record) -> str:
        if record.fault:
            return record.fault.reason
        if not self.min_chars < len(record.prompt) < self.max_chars:
            return "length"
        return "language" if self.language and language(record.prompt)[0] != self.language else ""

    def joined(self, constraint: Record, query: Record, number: int) -> Record:
        texts = (
            (join(query.prompt, constraint.instruction), "")
            if self.layout == "joined"
            else (constraint.instruction, query.prompt)
        )
        line = digest([query.id, number])  # what two evolvers share: the query, and the place of the constraint
        child = constraint.child(
            *texts,
            extra={**constraint.extra, "constraint": constraint.instruction, "query": query.prompt},
            seed=line,
            index=query.origin.index,
            step="queries",
            operation="query",
            round=1,  # seeds and new constraints are paired by place, so their records must not differ in round
        )
        return without_cases(child)


def without_cases(record: Record) -> Record:
    """What later stages do not need is not carried in each of sixteen records."""
    return replace(record, extra={key: value for key, value in record.extra.items() if key in CARRIED})


CARRIED = ("kind", "functions", "constraint", "query")


def join(query: str, constraint: str) -> str:
    """Query and constraint as one text: a sentence each, the constraint below where the query has several lines."""
    query, constraint = sentence(query), sentence(constraint)
    if not query:
        return constraint
    return f"{query}\n\n{constraint}" if "\n" in query else f"{query} {constraint}"


def sentence(text: str) -> str:
    """With a capital letter where it begins with a plain word, and a stop where it ends without any. A text of several
    lines may end in code or data, and stays as it ends."""
    text = text.strip()
    first = text.split(maxsplit=1)[0] if text else ""
    if first.strip(",;:").isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    return text if not text or "\n" in text or ENDED.search(text) else text + "."
