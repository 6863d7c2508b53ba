"""On-policy distillation (arXiv 2306.13649): the student answers while it is trained, and at each token of its own
answer learns what the teacher would have said there. No answer of the records is read.

TRL's DistillationTrainer does it, with both models in memory and over the whole vocabulary. `kd.py` is the other way:
the teacher reads given answers once, and needs no memory while the student is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evodistill import RunError
from evodistill.backend import Backend, chat
from evodistill.backend.tokens import encode
from evodistill.record import Fault, Record
from evodistill.trainer import Trainer
from evodistill.trainer.examples import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl.trainer.distillation_trainer import DistillationTrainer

ANSWER = 512  # max_completion_length where args do not say, as in TRL


@dataclass(frozen=True)
class OnPolicy(Trainer):
    """`args` and `engine`: of trl.DistillationConfig. `beta` 0 is forward KL, 1 reverse KL, between them the
    generalised Jensen-Shannon divergence. Only whole batches are learned; what is left over is counted."""

    Config = "DistillationConfig"

    teacher: str = "teacher"  # role whose distribution is learned
    taught_by: str = field(default="", metadata={"identity": False})  # folder of its weights; follows from the role

    def __post_init__(self) -> None:
        super().__post_init__()
        if "max_length" in {*self.args, *self.engine}:
            raise ValueError("args.max_length: an answer is as long as args.max_completion_length allows; set that")

    @property
    def roles(self) -> tuple[str, ...]:
        return self.model, self.teacher

    @property
    def answer(self) -> int:
        """Most tokens of an answer."""
        return int(self.args.get("max_completion_length") or ANSWER)

    def learn(self, record: Record, tokenizer: PreTrainedTokenizerBase, limit: int) -> Iterator[Row | Fault]:
        ids = encode(tokenizer, chat(record.prompt))
        if len(ids) + self.answer > limit:
            told = f"{len(ids)} tokens, and {self.answer} of its answer, of {limit}"
            yield Fault("prompt_too_long", told)
        else:
            yield Row({"prompt": ids}, len(ids))

    def bounds(self, limit: int) -> dict[str, int]:
        return {"max_completion_length": self.answer}

    def suits(self, folders: Mapping[str, Path]) -> None:
        from evodistill.trainer.teacher import common

        super().suits(folders)
        if folders.keys() >= {*self.roles}:
            common(folders[self.model], folders[self.teacher], "error")

    def placed(self, models: Mapping[str, Backend], folder: Path) -> OnPolicy:
        from evodistill.trainer.teacher import common

        student, teacher = (models[role].weights.folder.resolve() for role in (self.model, self.teacher))
        common(student, teacher, "error")
        return replace(self, folder=str(folder), taught_by=str(teacher))

    def rows(
        self, records: list[Record], tokenizer: PreTrainedTokenizerBase, limit: int
    ) -> tuple[list[Record], dict[str, int]]:
        out, facts = super().rows(records, tokenizer, limit)
        if facts["rows"] < self.effective_batch:
            raise RunError(
                f"{self.makes}: {facts['rows']} rows are no whole batch of effective_batch={self.effective_batch}; "
                "lower it, or give more records"
            )
        return out, facts | {"left over in an epoch": facts["rows"] % self.effective_batch}

    def twice(self, rows: int) -> int:
        return 0

    def plan(self, records: Sequence[Record]) -> tuple[str, float]:
        told, _ = super().plan(records)
        asked = sum(not self.passes(record) for record in records)
        written = asked * self.answer * self.length(asked)[0]
        return f"{told}; the student writes up to {written:,.0f} tokens, which {self.teacher} reads", written

    def trl(self, **given: Any) -> DistillationTrainer:
        return trainer_of_ids()(teacher_model=self.taught_by, **given)


@cache
def trainer_of_ids() -> type[DistillationTrainer]:
    """TRL's trainer, for prompts that are token ids already: those that the student reads when it is served."""
    from trl.trainer.distillation_trainer import DistillationTrainer

    class Answering(DistillationTrainer):
        def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[Any], None, dict[str, Any]]:
            return prompts, None, {}

    return Answering
