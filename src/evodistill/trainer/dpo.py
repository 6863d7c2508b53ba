"""Direct preference optimisation (arXiv 2305.18290) on pairs of answers, as in the second stage of DistilQwen2.

A record brings one pair in its `extra`, {"chosen": …, "rejected": …}, or several as a list of such in `extra["pairs"]`;
what is chosen is the output where a pair does not say. Pairs come from a student's own answers (`distill/prefer.py`),
from verified answers (AutoIF), or from the columns of a preference data set. TRL's DPOTrainer trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from evodistill.record import Fault, Record
from evodistill.trainer import Trainer
from evodistill.trainer.examples import Example, Row, example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl.trainer.dpo_trainer import DPOTrainer


@dataclass(frozen=True)
class DPO(Trainer):
    """`args` and `engine`: of trl.DPOConfig. A pair that says nothing about preference is no row: an answer is missing
    or empty, both are the same, one was cut off where it was generated, or one of the filters below holds it back."""

    Config = "DPOConfig"

    truncated: bool = False  # also pairs whose rejected answer was cut off where it was generated; it has no end then
    max_length_ratio: float | None = None  # of the longer answer to the shorter, in tokens
    min_margin: float | None = None  # of a pair's "margin", the judge's score of chosen minus that of rejected

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length_ratio is not None and self.max_length_ratio < 1:
            raise ValueError(f"max_length_ratio must be ≥ 1, got {self.max_length_ratio}")
        if (how := self.args.get("train_sampling_strategy")) in ("group_by_length", "batch_rebalance"):
            raise ValueError(
                f"args.train_sampling_strategy={how} goes by the length of a row, and a pair has two: leave it out"
            )

    def learn(self, record: Record, tokenizer: PreTrainedTokenizerBase, limit: int) -> Iterator[Row | Fault]:
        for pair in pairs(record):
            yield self.fault(pair) or self.row(record.prompt, pair, tokenizer, limit)

    def row(self, prompt: str, pair: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, limit: int) -> Row | Fault:
        made = [example(tokenizer, prompt, pair[side]) for side in ("chosen", "rejected")]
        for side in made:
            if isinstance(side, Fault):
                return side
        chosen, rejected = (side for side in made if isinstance(side, Example))
        if pair["rejected_finish_reason"] == "length":
            rejected = replace(rejected, answer=rejected.answer[:-1])
        if len(chosen.prompt) >= limit:
            return Fault("prompt_too_long", f"{len(chosen.prompt)} tokens, of {limit} with its answer")
        longest = max(len(chosen), len(rejected))
        if longest > limit and not self.truncate:
            return Fault("too_long", f"{longest} tokens of {limit}")
        short, long = sorted((len(chosen.answer), len(rejected.answer)))
        if self.max_length_ratio is not None and long > self.max_length_ratio * short:
            return Fault("pair_lengths", f"{len(chosen.answer)} tokens chosen, {len(rejected.answer)} rejected")
        kept = chosen.cut(limit), rejected.cut(limit)
        if kept[0].answer == kept[1].answer:
            return Fault("pair_identical", f"the same up to {limit} tokens")
        columns = {"prompt_ids": chosen.prompt, "chosen_ids": kept[0].answer, "rejected_ids": kept[1].answer}
        return Row(columns, sum(map(len, kept)), cut=longest > limit)

    def fault(self, pair: Mapping[str, Any]) -> Fault | None:
        """Why a pair does not say what is preferred (B1, C4, C5, C9)."""
        chosen, rejected, margin = pair["chosen"], pair["rejected"], pair["margin"]
        if rejected is None:
            return Fault("no_pair", "no rejected answer")
        for side in ("chosen", "rejected"):
            if not isinstance(pair[side], str):
                return Fault("pair_not_text", f"{side} is neither a text nor one turn of an assistant")
        if not chosen.strip() or not rejected.strip():
            return Fault("pair_empty", "chosen is empty" if not chosen.strip() else "rejected is empty")
        if " ".join(chosen.split()) == " ".join(rejected.split()):
            return Fault("pair_identical")
        if pair["rejected_finish_reason"] == "length" and not self.truncated:
            return Fault("pair_truncated", "rejected was cut off where it was generated")
        if self.min_margin is not None and not isinstance(margin, int | float):
            return Fault("no_margin", "min_margin is set, and the pair was not judged")
        if self.min_margin is not None and margin < self.min_margin:
            return Fault("pair_margin", f"{margin:g}")
        return None

    def trl(self, **given: Any) -> DPOTrainer:
        return trainer_of_ids()(**given)


def pairs(record: Record) -> Iterator[dict[str, Any]]:
    """The pairs that a record brings, with all their keys; one without a rejected answer where it brings none."""
    given = record.extra.get("pairs", [record.extra]) or [{}]
    for pair in given if isinstance(given, list | tuple) else [given]:
        # what is no pair has no text that is chosen
        told = pair if isinstance(pair, Mapping) else {"chosen": None, "rejected": pair}
        whole = {"chosen": record.output, "rejected": None, "rejected_finish_reason": "", "margin": None, **told}
        yield whole | {side: answer(whole[side]) for side in ("chosen", "rejected")}


def answer(given: Any) -> Any:
    """The text of an answer that is given as turns, as in UltraFeedback; in a longer conversation it replies to more
    than the record asks, and stays what it is."""
    match given:
        case [{"role": "assistant", "content": str(text)}]:
            return text
        case [{"role": "user"}, {"role": "assistant", "content": str(text)}]:
            return text
    return given


@cache
def trainer_of_ids() -> type[DPOTrainer]:
    """TRL's trainer, for rows that are token ids already: it tokenises text only."""
    from trl.trainer.dpo_trainer import DPOTrainer

    class Pairs(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *more: Any) -> Any:
            return dataset

    return Pairs
