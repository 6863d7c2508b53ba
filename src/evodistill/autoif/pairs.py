"""AutoIF, stage 9: preference pairs from verified replies (arXiv 2406.13542 §3.3, offline).

Chosen replies pass the functions, rejected ones pass none. The records themselves, untouched, are the rows to fine-tune
on; the pairs go to `pairs.jsonl` beside them, as TRL reads them: prompt, chosen, rejected.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

from evodistill.autoif import Reply, meets, read_bound
from evodistill.backend import Backend
from evodistill.record import Made, Record

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
        rows = [row for record in records if not record.fault for row in self.rows(record)]
        log.info("%d pairs from %d of %d instructions", len(rows), len({row["id"] for row in rows}), len(records))
        return Made(records, {FILE: (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)})

    def rows(self, record: Record) -> Iterator[dict[str, Any]]:
        """The pairs of one instruction; none where a side is empty."""
        replies: list[Reply] = [reply for reply in record.extra["replies"] if "fault" not in reply]
        good = [reply for reply in replies if meets(reply.get("pass_rate", 0.0), self.chosen)]
        # a reply on which a function failed has not been shown to break the constraint
        bad = [reply for reply in replies if reply.get("pass_rate") == 0 and reply.get("unjudged") == 0]
        for chosen, rejected in product(self.drawn(record, "chosen", good), self.drawn(record, "rejected", bad)):
            yield {
                "prompt": record.prompt,
                "chosen": chosen["text"],
                "rejected": rejected["text"],
                "id": record.id,
                "seed": record.origin.seed,
                "chosen_pass_rate": chosen.get("pass_rate"),
            }

    def drawn(self, record: Record, side: str, replies: list[Reply]) -> list[Reply]:
        rng = random.Random(f"{self.seed}:{record.id}:{side}")
        return rng.sample(replies, min(self.per_side, len(replies)))
