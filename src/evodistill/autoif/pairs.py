"""AutoIF, stage 9: preference pairs from verified replies (arXiv 2406.13542 §3.3, offline).

A chosen reply passes the functions, a rejected one passes none. The pairs of a record stand in `extra["pairs"]`, where
trainer=dpo reads them, and all of them in `pairs.jsonl`, as TRL reads them: prompt, chosen, rejected. The records
themselves, with the output that was verified, are the rows to fine-tune on.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

from evodistill import RunError
from evodistill.autoif import Reply, given, meets, read_bound, with_extra
from evodistill.backend import Backend
from evodistill.record import Made, Record, to_line

log = logging.getLogger(__name__)
FILE = "pairs.jsonl"


@dataclass(frozen=True)
class Pairs:
    """Up to `per_side` chosen replies times as many rejected ones for each instruction that has both."""

    chosen: str | float = "> 0.5"  # pass rate of a chosen reply; a rejected one has 0
    per_side: int = 2
    seed: int = 0

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        read_bound(self.chosen)
        if self.per_side < 1:
            raise ValueError(f"per_side must be ≥ 1, got {self.per_side}")

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> Made:
        done = [record if record.fault else with_extra(record, pairs=self.pairs(record)) for record in records]
        found = [record for record in done if not record.fault and record.extra["pairs"]]
        log.info(
            "pairs: %d from %d of %d instructions",
            sum(len(record.extra["pairs"]) for record in found),
            len(found),
            len(done),
        )
        rows = (row(record, pair) for record in found for pair in record.extra["pairs"])
        return Made(done, {FILE: (to_line(line) for line in rows)})

    def pairs(self, record: Record) -> list[dict[str, Any]]:
        """The pairs of one instruction; none where a side is empty."""
        replies: list[Reply] = [reply for reply in given(record, "replies") if "fault" not in reply]
        if replies and not any("pass_rate" in reply for reply in replies):
            raise RunError("pairs: the replies have no pass rate; put the step verification before pairs")
        good = [reply for reply in replies if meets(reply.get("pass_rate", 0.0), self.chosen)]
        # a reply on which a function failed has not been shown to break the constraint
        bad = [reply for reply in replies if reply.get("pass_rate") == 0 and reply.get("unjudged") == 0]
        sides = (self.drawn(record, "chosen", good), self.drawn(record, "rejected", bad))
        return [
            {"chosen": up["text"], "rejected": down["text"], "chosen_pass_rate": up.get("pass_rate")}
            for up, down in product(*sides)
        ]

    def drawn(self, record: Record, side: str, replies: list[Reply]) -> list[Reply]:
        rng = random.Random(f"{self.seed}:{record.id}:{side}")
        return rng.sample(replies, min(self.per_side, len(replies)))


def row(record: Record, pair: Mapping[str, Any]) -> dict[str, Any]:
    return {"prompt": record.prompt, **pair, "id": record.id, "seed": record.origin.seed}
