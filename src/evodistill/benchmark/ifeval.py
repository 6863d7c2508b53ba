"""IFEval: 541 prompts with instructions that a program can check (Zhou et al., arXiv 2311.07911)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evodistill.benchmark import Benchmark, resampled, scored
from evodistill.benchmark.instructions import check, followed, followed_loosely
from evodistill.benchmark.items import Answer, Item, words
from evodistill.metric import Score
from evodistill.record import Record

if TYPE_CHECKING:
    import numpy as np

WAYS = {"strict": followed, "loose": followed_loosely}


@dataclass(frozen=True, kw_only=True)
class IFEval(Benchmark):
    """Values `ifeval_prompt_strict` and `ifeval_prompt_loose`: 1 where all instructions of a prompt are followed. The
    shares of instructions, `ifeval_instruction_…`, are numbers of the whole set: prompts have one to three of them."""

    ids = ("key", "id")

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(f"ifeval_prompt_{way}" for way in WAYS)

    def parse(self, row: Mapping[str, Any]) -> Item:
        ids, given = row["instruction_id_list"], row["kwargs"]
        if not isinstance(ids, list) or not ids:
            raise ValueError("instruction_id_list is no list of instructions")
        if not isinstance(given, list) or len(given) != len(ids):
            raise ValueError("kwargs and instruction_id_list differ in length")
        for id, arguments in zip(ids, given, strict=True):
            check(id, arguments)
        prompt = words(row, "prompt")
        return Item(self.id(row, prompt), prompt, row)

    def score(self, item: Item, answer: Answer) -> Score:
        asked = list(zip(item.row["instruction_id_list"], item.row["kwargs"], strict=True))
        flags = {way: [rule(id, given, answer.text) for id, given in asked] for way, rule in WAYS.items()}
        values = {f"ifeval_prompt_{way}": float(all(found)) for way, found in flags.items()}
        extra = {"instructions": list(item.row["instruction_id_list"]), **flags} | ({"cut": True} if answer.cut else {})
        return scored(item, values, label=None if answer.text.strip() else "empty", extra=extra)

    def whole(self, records: Sequence[Record], scores: Sequence[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        """Of all instructions, the share that is followed; the interval resamples prompts."""
        there = [score for score in scores if not score.reason]
        totals = [len(score.extra["instructions"]) for score in there]
        if not sum(totals):
            return {}
        return {
            f"ifeval_instruction_{way}": {
                0: resampled(share, ([sum(score.extra[way]) for score in there], totals), f"{self.seed}:{way}")
                | {"unparsed": len(scores) - len(there)}
            }
            for way in WAYS
        }


def share(followed: np.ndarray, totals: np.ndarray) -> float:
    return followed.sum() / totals.sum()
