"""Supervised fine-tuning: the student learns to give the teacher's answer (arXiv 2412.11231, appendix A.1).

The loss is that of the answer alone (C3). TRL's SFTTrainer does the training; rows come to it as token ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evodistill.record import Fault, Record
from evodistill.trainer import Trainer
from evodistill.trainer.examples import IGNORED, Row, example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl.trainer.sft_trainer import SFTTrainer


@dataclass(frozen=True)
class SFT(Trainer):
    """`args` and `engine`: of trl.SFTConfig."""

    Config = "SFTConfig"

    def learn(self, record: Record, tokenizer: PreTrainedTokenizerBase, limit: int) -> Iterator[Row | Fault]:
        yield self.row(record, tokenizer, limit)

    def row(self, record: Record, tokenizer: PreTrainedTokenizerBase, limit: int) -> Row | Fault:
        if not record.output.strip():
            return Fault("no_answer")
        made = example(tokenizer, record.prompt, record.output)
        if isinstance(made, Fault):
            return made
        if len(made.prompt) >= limit:
            return Fault("prompt_too_long", f"{len(made.prompt)} tokens, of {limit} with its answer")
        if len(made) > limit and not self.truncate:
            return Fault("too_long", f"{len(made)} tokens of {limit}")
        short = made.cut(limit)
        labels = [IGNORED] * len(short.prompt) + short.answer
        columns = {"input_ids": short.prompt + short.answer, "labels": labels}
        return Row(columns, len(short), cut=len(short) < len(made))

    def trl(self, **given: Any) -> SFTTrainer:
        from trl.trainer.sft_trainer import SFTTrainer

        return SFTTrainer(**given)
