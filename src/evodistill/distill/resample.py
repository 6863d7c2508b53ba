"""Draw records so that task classes have given shares (DistilQwen2's task-aware resampling).

    Resample(labels=Label(…), shares={"Math": 0.5, "Writing": 0.5})(records, {"judge": judge})

Numbers per class are whole and add up to the size that was asked for: the largest remainders are rounded up, over the
classes that are there. Records that are not drawn, and those without a class, are rejected with that reason.
`task_mix.csv` and `task_mix.json` beside the records tell the shares before and after.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from evodistill.backend import Backend
from evodistill.distill.expand import Expand
from evodistill.distill.label import UNLABELLED, Label
from evodistill.distill.mix import allot, distance, exact, pretty, table
from evodistill.distill.written import distinct
from evodistill.record import Made, Origin, Record, digest

log = logging.getLogger(__name__)

DEFICITS = ("repeat", "cap_repeat", "synthesize", "redistribute")
TOLERANCE = Fraction(1, 200)  # of the sum of shares: they are often rounded to three digits


@dataclass(frozen=True)
class Resample:
    """What is drawn depends on (seed, id) alone: the order of the records changes nothing, and a larger size adds to
    what a smaller one draws. A record that is drawn again is a child of itself (operation `repeat`) whose id is
    digest([id, "repeat", k]) for its k-th use."""

    labels: Label
    shares: Mapping[str, float]  # class → share of the records; they add up to 1
    size: int | None = None  # null = as many as there are records with a class
    deficit: str = "repeat"  # what a class with too few records does, see DEFICITS
    max_repeats: int = 3  # cap_repeat, synthesize: uses of one record at most
    writer: Expand | None = None  # synthesize: writes what is missing, after the records of the class
    attempts: int = 3  # synthesize: rounds of asking; what is missing then is repeated, up to max_repeats
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.shares) - set(self.labels.classes)):
            raise ValueError(
                f"shares names {unknown[0]!r}, which is none of labels.classes ({', '.join(self.labels.classes)})"
            )
        if negative := [name for name, share in self.shares.items() if share < 0]:
            raise ValueError(f"shares.{negative[0]} must be ≥ 0, got {self.shares[negative[0]]}")
        if abs((total := sum(exact(self.shares).values())) - 1) > TOLERANCE:
            raise ValueError(f"shares add up to {float(total):g}, not to 1; divide each by {float(total):g}")
        if self.deficit not in DEFICITS:
            raise ValueError(f"deficit must be one of {', '.join(DEFICITS)}, got {self.deficit!r}")
        if self.deficit == "synthesize" and self.writer is None:
            raise ValueError("deficit=synthesize needs a writer: an expand step's settings")
        for name in ("size", "max_repeats", "attempts"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be ≥ 1, got {value}")

    @property
    def synthesis(self) -> Expand | None:
        """The writer, told to keep to the class it is asked for."""
        if self.deficit != "synthesize" or self.writer is None:
            return None
        return replace(self.writer, mode="mixed", labels=self.labels, seed=self.seed)

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.labels.roles, *(self.synthesis.roles if self.synthesis else ()))))

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return dict(self.labels.prompts) | (self.synthesis.prompts if self.synthesis else {})

    def stand_in(self, sentence: Callable[[], str]) -> str:
        return self.labels.stand_in(sentence)

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> Made:
        return self.mix(records, models)

    def mix(self, records: list[Record], models: Mapping[str, Backend], known: Sequence[Record] = ()) -> Made:
        """The records in their new shares; what is synthesized is near none of them and none of the `known`."""
        records = [unlabelled(record) for record in self.labels(records, models)]
        classes = {name: self.in_turn(members) for name, members in self.by_class(records).items()}
        size = sum(map(len, classes.values())) if self.size is None else self.size
        wanted = allot(size, exact(self.shares), self.room(classes), self.seed)
        new = self.synthesize([*records, *known], classes, wanted, models)
        synthesized = Counter(self.labels.of(record) for record in new if not record.fault)
        drawn: set[str] = set()
        taken = {record.id for record in (*records, *new)}
        copies: list[Record] = []
        for name, members in classes.items():
            n = min(wanted.get(name, 0) - synthesized[name], self.uses() * len(members))
            drawn |= {record.id for record in members[:n]}
            copies += [again(members[i % len(members)], i // len(members) + 1, taken) for i in range(len(members), n)]
        made = [*(self.kept(record, drawn, wanted) for record in records), *copies, *new]
        return Made(made, self.report(records, made, copies, synthesized))

    def by_class(self, records: Sequence[Record]) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {name: [] for name in self.labels.classes}
        for record in records:
            if not record.fault:
                found[str(self.labels.of(record))].append(record)
        return {name: members for name, members in found.items() if members}

    def in_turn(self, members: Sequence[Record]) -> list[Record]:
        return sorted(members, key=lambda record: digest([self.seed, record.id]))

    def room(self, classes: Mapping[str, Sequence[Record]]) -> dict[str, int | None]:
        """How many records each class can give; None = any number. A class that is not there can give none."""
        few = self.deficit in ("redistribute", "cap_repeat")
        return {
            name: 0 if name not in classes else self.uses() * len(classes[name]) if few else None
            for name in self.shares
        }

    def uses(self) -> int:
        """How often one record may be drawn."""
        return {"repeat": sys.maxsize, "redistribute": 1}.get(self.deficit, self.max_repeats)

    def kept(self, record: Record, drawn: set[str], wanted: Mapping[str, int]) -> Record:
        if record.fault or record.id in drawn:
            return record
        name = str(self.labels.of(record))
        return record.reject("not_drawn", f"of {name} {wanted.get(name, 0)} were wanted")

    def synthesize(
        self,
        known: Sequence[Record],
        classes: Mapping[str, Sequence[Record]],
        wanted: Mapping[str, int],
        models: Mapping[str, Backend],
    ) -> list[Record]:
        """New records of the classes that have too few, and the failed ones with their reasons."""
        if not (writer := self.synthesis):
            return []
        made: list[Record] = []
        for attempt in range(self.attempts):
            fresh = [record for record in made if not record.fault]
            had = Counter(self.labels.of(record) for record in fresh)
            asks = [
                writer.ask(members[i % len(members)], members, f"{attempt}:{i}")
                for name, members in classes.items()
                for i in range(wanted.get(name, 0) - len(members) - had[name])
            ]
            if not asks:
                break
            # another seed makes other draws of the same request
            draw = self.seed * self.attempts + attempt
            written = writer.write(asks, models, operation="synthesize", attempt=draw, rounds=0)
            made = distinct([*made, *writer.unlike([*known, *fresh], written)])
        return made

    def report(
        self, before: Sequence[Record], after: Sequence[Record], copies: Sequence[Record], synthesized: Mapping
    ) -> dict[str, list[str]]:
        """task_mix.csv, a row for each class, and task_mix.json, the distances from the shares that were wanted."""
        old, new = (Counter(str(self.labels.of(r)) for r in side if not r.fault) for side in (before, after))
        repeated = Counter(self.labels.of(record) for record in copies)
        rows = [
            {
                "class": name,
                "share": self.shares.get(name, 0),
                "before": old.get(name, 0),
                "after": new.get(name, 0),
                "repeated": repeated[name],
                "synthesized": synthesized.get(name, 0),
            }
            for name in self.labels.classes
        ]
        told = {
            "before": sum(old.values()),
            "after": sum(new.values()),
            "unlabelled": sum(record.fault is not None and record.fault.reason == UNLABELLED for record in before),
            "distance_before": distance(old, self.shares),
            "distance_after": distance(new, self.shares),
            "absent": [name for name, share in self.shares.items() if share and name not in old],
            "absent_share": sum(share for name, share in self.shares.items() if name not in old),
        }
        log.info("task mix: %s", ", ".join(f"{key} {short(value)}" for key, value in told.items()))
        if told["after"] < (size := told["before"] if self.size is None else self.size):
            log.warning("task mix: %d records were asked for, deficit=%s gives %d", size, self.deficit, told["after"])
        return {"task_mix.csv": [table(rows)], "task_mix.json": [pretty(told)]}


def unlabelled(record: Record) -> Record:
    """The record, rejected where it has no class: it is no "Others" (C6)."""
    why = record.extra.get(UNLABELLED)
    return record.reject(UNLABELLED, why["reason"], why["raw"]) if why and not record.fault else record


def again(record: Record, k: int, taken: set[str]) -> Record:
    """The record for its k-th use, or the next that is free: its own id and no other record's."""
    while (id := digest([record.id, "repeat", k])) in taken:  # an earlier resampling made it
        k += 1
    taken.add(id)
    old = record.origin
    origin = Origin(old.seed, old.index, record.id, "resample", "repeat", old.round, old.model)
    return Record(id, record.instruction, record.input, record.output, origin, {**record.extra, "use": k})


def short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(len(value) if isinstance(value, list) else value)
