"""White-box distillation: at each token of the answer the student learns what else the teacher might have said.

Before training the teacher reads the answers once; its log-probabilities are an artifact of their own (`logprobs.py`),
which other divergences and other students of the same tokenizer find again. The loss is

    (1 - weight) · cross entropy + weight · divergence · temperature²        each per token of the answer, in nats

and both terms are logged, as `ce` and `kd`, on that one scale (W4).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evodistill import RunError
from evodistill.backend import Backend
from evodistill.record import Fault, Record, digest
from evodistill.store import Store
from evodistill.trainer.examples import IGNORED, Row
from evodistill.trainer.logprobs import ABOUT, SAMPLES, TYPES, About, Logprobs
from evodistill.trainer.sft import SFT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl.trainer.sft_trainer import SFTTrainer

log = logging.getLogger(__name__)
DIVERGENCES = ("forward_kl", "reverse_kl", "jsd")
POLICIES = ("error", "common_slice")
LINK = "logprobs"  # among the rows: where the teacher's log-probabilities lie
# arguments of SFTConfig that would change the rows or the loss behind our back
REFUSED = ("packing", "eval_packing", "padding_free", "loss_type", "label_smoothing_factor")


@dataclass(frozen=True)
class KD(SFT):
    """`args` and `engine`: of trl.SFTConfig. The rows are those of SFT. `logprobs` names log-probabilities that are
    there, artifacts/logprobs-<hash>: then no teacher is asked, and all that a row reads must be what it was then."""

    teacher: str = "teacher"  # role whose distribution is learned
    divergence: str = "forward_kl"
    temperature: float = 1.0  # of both distributions
    weight: float = 0.5  # of the divergence; the rest is the cross entropy
    top_k: int = 32  # tokens that are kept of each distribution; all others are one, the tail
    vocab_policy: str = "error"
    logprobs: str | None = None
    teacher_engine: Mapping[str, Any] = field(default_factory=dict, metadata={"identity": False})
    vocabulary: int = field(default=0, metadata={"identity": False})  # tokens compared; follows from the models

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}, got {self.divergence}")
        if self.vocab_policy not in POLICIES:
            raise ValueError(f"vocab_policy must be one of {', '.join(POLICIES)}, got {self.vocab_policy}")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be in [0, 1], got {self.weight}")
        if self.temperature <= 0 or self.top_k < 1:
            raise ValueError(f"temperature must be > 0 and top_k ≥ 1, got {self.temperature} and {self.top_k}")
        if unknown := sorted(self.teacher_engine.keys() - {"dtype", "batch_tokens"}):
            raise ValueError(f"teacher_engine.{unknown[0]} is unknown; known: dtype, batch_tokens")
        if given := sorted({*self.args, *self.engine} & {*REFUSED}):
            raise ValueError(f"args.{given[0]} does not go with distillation: a row must stay what the teacher read")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,) if self.logprobs else (self.model, self.teacher)

    @property
    def sources(self) -> list[str]:
        if not self.logprobs:
            return super().sources
        place = Path(self.logprobs)
        files = [(place / name).read_text("utf-8") for name in (ABOUT, SAMPLES) if (place / name).is_file()]
        return [*super().sources, digest(files)]

    def row(self, record: Record, tokenizer: PreTrainedTokenizerBase, limit: int) -> Row | Fault:
        made = super().row(record, tokenizer, limit)
        return made if isinstance(made, Fault) else replace(made, columns={**made.columns, "id": record.id})

    def suits(self, folders: Mapping[str, Path]) -> None:
        super().suits(folders)
        if self.logprobs or folders.keys() >= {*self.roles}:
            self.compared(folders)

    def placed(self, models: Mapping[str, Backend], folder: Path) -> KD:
        folders = {role: models[role].weights.folder for role in self.roles}
        return replace(self, folder=str(folder), vocabulary=self.compared(folders))

    def compared(self, folders: Mapping[str, Path]) -> int:
        """How many tokens of the vocabulary are compared."""
        from evodistill.trainer.teacher import common

        if self.logprobs:
            about = Logprobs(Path(self.logprobs)).about
            if (about.k, about.temperature) != (self.top_k, self.temperature):
                raise RunError(
                    f"{self.logprobs} was made with top_k={about.k} and temperature={about.temperature}; set these"
                )
            return about.vocabulary
        found = common(folders[self.model], folders[self.teacher], self.vocab_policy)
        if self.top_k >= found:
            raise RunError(f"{self.makes}: top_k={self.top_k} must be below the vocabulary, {found} tokens")
        return found

    def prepare(self, models: Mapping[str, Backend], rows: Path) -> dict[str, Any]:
        """The teacher's log-probabilities, asked for where they are not there yet, and a link to them."""
        from evodistill.trainer.teacher import samples

        files = [path for path in (rows / "train.arrow", rows / "held_out.arrow") if path.exists()]
        place = Path(self.logprobs) if self.logprobs else self.asked(models, files)
        Logprobs(place).check(samples(files))
        (rows / LINK).unlink(missing_ok=True)
        (rows / LINK).symlink_to(place.resolve())
        return {"logprobs": str(place)}

    def asked(self, models: Mapping[str, Backend], files: list[Path]) -> Path:
        """The artifact of what this teacher says of these rows, whatever their order."""
        from evodistill.trainer import teacher

        store, asked = Store(Path(self.folder).parent), models[self.teacher]
        about = About(self.top_k, self.temperature, self.vocabulary)
        key = {"teacher": asked.identity, "samples": digest(sorted((s.id, s.read) for s in teacher.samples(files)))}
        key |= {"top_k": about.k, "temperature": about.temperature, "vocabulary": about.vocabulary}
        folder = store.folder("logprobs", key)
        with store.lock(folder):
            if store.manifest(folder) is None:
                log.info("%s: %s reads the answers", self.makes, asked.name)
                engine = {"dtype": "auto", "batch_tokens": None, **self.teacher_engine}
                model = teacher.load(asked.weights.folder, engine["dtype"])
                teacher.ask(model, teacher.samples(files), folder, about, engine["batch_tokens"])
                del model
                teacher.free()
                store.write(folder, {name: folder / name for name in (ABOUT, SAMPLES, *TYPES)}, {"key": key})
        return folder

    def plan(self, records: Sequence[Record]) -> tuple[str, float]:
        told, tokens = super().plan(records)
        return f"{told}; {self.teacher} reads them once", tokens

    def trl(self, **given: Any) -> SFTTrainer:
        trainer = trainer_of_distributions()(**given)
        trainer.kd = self
        trainer.data_collator = WithTeacher(trainer.data_collator, Logprobs(Path(self.folder) / "rows" / LINK))
        return trainer


@dataclass
class WithTeacher:
    """A batch, and behind one another what the teacher says at each token of its answers, row by row (W1, W2)."""

    inner: Any
    logprobs: Logprobs

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        import numpy as np
        import torch

        batch = self.inner(rows)
        # float16 as bits: DeepSpeed casts every float of a batch to its own type
        for column, name, kind in (("teacher_tokens", "tokens.i32", "i4"), ("teacher_bits", "logprobs.f16", "i2")):
            parts = [self.logprobs.of(row["id"], name) for row in rows]
            batch[column] = torch.from_numpy(np.concatenate(parts).view(kind))
        return batch


@cache
def trainer_of_distributions() -> type[Any]:
    """TRL's SFTTrainer with the loss of distillation."""
    import torch
    from trl.trainer.sft_trainer import SFTTrainer

    from evodistill.trainer.divergence import terms

    class Distilled(SFTTrainer):
        kd: KD

        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.sums = {mode: torch.zeros(3, dtype=torch.float64) for mode in ("train", "eval")}

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            if "id" not in (self._signature_columns or []):
                self._signature_columns = [*(self._signature_columns or []), "id"]

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            inputs = dict(inputs)
            tokens, teacher = inputs.pop("teacher_tokens"), inputs.pop("teacher_bits").view(torch.float16)
            # the logits at a position are of the token behind it (W3)
            labels = inputs.pop("labels")[:, 1:]
            learned = labels != IGNORED
            columns = learned.any(0).nonzero()[:, 0]
            outputs = model(**inputs, use_cache=False, logits_to_keep=columns)
            logits = outputs.logits[learned[:, columns]][:, : self.kd.vocabulary]
            what = self.kd.divergence, self.kd.temperature
            entropy, apart = terms(logits, labels[learned], tokens, teacher, *what)
            n = learned.sum()
            mode = "train" if model.training else "eval"
            self.sums[mode] += torch.stack([entropy.detach(), apart.detach(), n]).cpu().double()
            loss = (1 - self.kd.weight) * entropy + self.kd.weight * apart
            if num_items_in_batch is None:
                loss = loss / n.clamp(min=1)
            else:  # counted over all processes, whose gradients are averaged
                loss = loss / num_items_in_batch
                if self.args.average_tokens_across_devices:
                    loss = loss * self.accelerator.num_processes
            return (loss, outputs) if return_outputs else loss

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            mode = "train" if self.model is not None and self.model.training else "eval"
            summed: Any = self.accelerator.reduce(self.sums[mode].to(self.accelerator.device))
            entropy, apart, n = summed.tolist()
            if n:
                prefix = "eval_" if mode == "eval" else ""
                logs |= {f"{prefix}ce": entropy / n, f"{prefix}kd": apart / n}
            self.sums[mode].zero_()
            super().log(logs, start_time)

    return Distilled
