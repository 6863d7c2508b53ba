"""Where seeds come from. A dataset is the first step: it is given no records and gives back one per row of its source.

Every row comes back, or is counted: a usable row as a seed, a malformed or repeated one with its fault, a row outside
`limit`, `shard` or a filter as a number in the log. Row numbers (`Origin.index`) count every row of the source, the
malformed too, so that mending a line moves no other.
"""

from __future__ import annotations

import heapq
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from evodistill import RunError
from evodistill.record import Record, digest
from evodistill.stream import Seen

if TYPE_CHECKING:
    from evodistill.backend import Backend

log = logging.getLogger(__name__)
SHOWN = 10  # malformed lines named in the log; all of them are among the rejects


class Row(NamedTuple):
    """One row of a source; `place` is FILE:LINE, `fault` why it could not be read, `raw` its text where it has one."""

    place: str
    value: object = None
    fault: str = ""
    raw: str = ""


class Seed(NamedTuple):
    """The texts of a usable row."""

    instruction: str
    input: str = ""
    output: str = ""
    extra: Mapping[str, object] = {}


class Malformed(Exception):
    """A row that was read but holds no usable seed; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What every dataset shares: subsampling, sharding, duplicates, malformed rows.

    `limit` keeps the usable rows whose hash of (seed, id) is smallest: the order of the file does not matter, and a
    larger limit adds rows without taking any away. `shard` i/n then keeps the rows whose hash of instruction and input
    leaves the remainder i when divided by n: the n shards are disjoint, together they are the sample, their sizes
    differ by chance, and equal prompts, which are successive draws of one another, stay together. Rejects are not
    subject to `limit` and belong to one shard each by the same rule. What is outside is not held in memory."""

    limit: int | None = None
    shard: str | None = None
    seed: int = 0
    licence: str | None = field(default=None, metadata={"identity": False})  # of the rows; what is exported names it

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[tuple[str, ...]] = ()
    alone: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be ≥ 1, or null for all rows, got {self.limit}")
        if self.shard is not None:
            i, n = parse_shard(self.shard)
            if i >= n:
                raise ValueError(f"shard i/n counts from 0: i must be below n, got {self.shard}")

    @property
    def sources(self) -> tuple[str, ...]:
        """What is read, by content: `sha256:HASH` per file, or `hub:ID@REVISION`."""
        raise NotImplementedError

    def rows(self) -> Iterator[Row]:
        """Every row of the source, in order."""
        raise NotImplementedError

    def parse(self, value: object) -> Seed | None:
        """The seed of a row that could be read; None where a filter leaves it out. Raises Malformed with the reason."""
        raise NotImplementedError

    def __call__(self, records: Sequence[Record], models: Mapping[str, Backend]) -> list[Record]:
        if records:
            raise RunError(f"steps: a dataset must come first, but it was given {len(records)} records")
        return list(self.stream())

    def stream(self) -> Iterator[Record]:
        """The records of the sample, in the order of their rows. Without `limit` none is held."""
        counts: Counter[str] = Counter()
        first: list[str] = []  # malformed rows, told when all were read: a wrong column map is an error of its own
        for record in self.sample(counts):
            counts["taken"] += 1
            if record.fault:
                counts[kind := "duplicate" if record.fault.reason == "duplicate" else "malformed"] += 1
                if kind == "malformed" and counts[kind] <= SHOWN:
                    first.append(f"{record.fault.reason} row, rejected: {record.fault.detail}")
            yield record
        for told in first:
            log.warning("%s", told)
        self.report(counts)

    def sample(self, counts: Counter[str]) -> Iterator[Record]:
        places, held, first_fault = Seen(), [], ""
        draw = Draw(self.limit, self.seed) if self.limit else None
        for index, row in enumerate(self.rows()):
            counts["rows"] += 1
            record = self.record(index, row, places)
            if record is None:
                counts["filtered"] += 1
                continue
            mine = self.holds(record)
            if record.fault:
                first_fault = first_fault or record.fault.detail
            else:
                counts["usable"] += 1
                if draw:
                    draw.offer(record if mine else None, record.id)
            if mine and not draw:
                yield record
            elif mine and record.fault:
                held.append(record)
        if not counts["usable"]:
            cause = f"; the first malformed one is {first_fault}" if first_fault else ""
            raise RunError(
                f"{self.place}: no usable row among {counts['rows']} ({counts['filtered']} left out by filters){cause}"
            )
        if draw:
            yield from sorted([*held, *draw.taken()], key=lambda record: record.origin.index)

    @property
    def place(self) -> str:
        """How messages call the source."""
        return type(self).__name__.lower()

    def record(self, index: int, row: Row, places: Seen) -> Record | None:
        """The record of one row; `places` knows where the rows so far stand, by id."""
        try:
            if row.fault:
                raise Malformed(row.fault)
            seed = self.parse(row.value)
        except Malformed as error:
            raw = row.raw.rstrip("\r\n") or json.dumps(row.value, ensure_ascii=False, default=str)
            blank = Record.seed("", index=index)
            id = digest(["malformed", index, raw])  # two broken lines may hold the same text
            blank = replace(blank, id=id, origin=replace(blank.origin, seed=id))
            return blank.reject("malformed", f"{row.place}: {error}", raw)
        if seed is None:
            return None
        record = Record.seed(seed.instruction, seed.input, seed.output, index=index)
        if seed.extra:  # not through **extra: a foreign column may be called "index" or "input"
            record = replace(record, extra=seed.extra)
        if known := places.keep(record.id, row.place):
            # ids stay unique; the origin still names the first of the two as its seed
            twin = replace(record, id=digest(["duplicate", index, record.id]))
            return twin.reject("duplicate", f"{row.place}: the same row as {known}")
        return record

    def holds(self, record: Record) -> bool:
        """Whether the shard holds this record."""
        if self.shard is None:
            return True
        i, n = parse_shard(self.shard)
        texts = (record.instruction, record.input)
        return int(digest(texts) if any(texts) else record.id, 16) % n == i  # what could not be read has no text

    def report(self, counts: Counter[str]) -> None:
        if (more := counts["malformed"] - SHOWN) > 0:
            log.warning("… and %d more malformed rows: see the rejects of this step", more)
        taken = counts["taken"] - counts["malformed"] - counts["duplicate"]
        log.info(
            "%s: %d row%s taken, %d outside limit or shard, %d left out by filters, %d malformed, %d duplicate",
            self.place,
            taken,
            "s" * (taken != 1),
            counts["rows"] - counts["filtered"] - counts["taken"],
            counts["filtered"],
            counts["malformed"],
            counts["duplicate"],
        )


class Draw:
    """The `n` records whose hash of (seed, id) is smallest, of a stream; others are forgotten as they fall out."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self.heap: list[tuple[int, str]] = []  # the largest hash first
        self.kept: dict[str, Record | None] = {}

    def offer(self, record: Record | None, id: str) -> None:
        """None stands for a record of another shard, which takes a place and is not held."""
        if id in self.kept:
            return
        heapq.heappush(self.heap, (-int(digest([self.seed, id]), 16), id))
        self.kept[id] = record
        if len(self.heap) > self.n:
            del self.kept[heapq.heappop(self.heap)[1]]

    def taken(self) -> list[Record]:
        return [record for record in self.kept.values() if record]


def parse_shard(shard: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", str(shard))
    if not found:
        raise ValueError(f"shard must look like i/n, for example 0/4 for the first of four, got {shard}")
    return int(found[1]), int(found[2])
