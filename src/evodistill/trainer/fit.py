"""What a training process does: load, train from the last checkpoint, save. `python -m evodistill.trainer JOB.json`"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from evodistill.record import to_line
from evodistill.trainer import Trainer, kernels
from evodistill.trainer.job import TRAINED, WHOLE, Job

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from transformers import Trainer as HFTrainer

SHOWN = ("loss", "eval_loss", "ce", "kd", "eval_ce", "eval_kd", "learning_rate", "grad_norm", "rewards/margins")


def fit(job: Job) -> None:
    """Train and save; the first process leaves what it measured beside the rows."""
    import torch

    cpu = not torch.cuda.is_available()
    if cpu:
        os.environ.setdefault(
            "DS_ACCELERATOR", "cpu"
        )  # read when DeepSpeed is imported, which TRL does where it is there
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer, EarlyStoppingCallback, PrinterCallback
    from transformers.trainer_utils import get_last_checkpoint

    from evodistill.trainer.order import order

    quiet()
    trainer, place = job.trainer, job.folder / "rows"
    if trainer.engine.get("deepspeed"):
        import deepspeed

        kernels.guard()
        if cpu:
            deepspeed.init_distributed("gloo", auto_mpi_discovery=False)
    tokenizer = AutoTokenizer.from_pretrained(place)
    rows, held = (
        Dataset.from_file(str(path)) if path.exists() else None
        for path in (place / "train.arrow", place / "held_out.arrow")
    )
    made = trainer.trl(
        model=job.base,
        args=getattr(trl, trainer.Config)(**arguments(job, cpu)),
        train_dataset=rows,
        eval_dataset=held,
        processing_class=tokenizer,
        callbacks=[
            Told(trainer.curve),
            *([EarlyStoppingCallback(trainer.patience)] if trainer.patience is not None else []),
        ],
        **adapters(trainer),
    )
    made.remove_callback(PrinterCallback)
    made.data_collator = counted = Counted(made.data_collator)
    order(made)
    checkpoints = job.folder / "checkpoints"
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    if last:
        resume(made, Path(last), trainer.patience)
    started = time.monotonic()
    made.train(resume_from_checkpoint=last)
    seconds = time.monotonic() - started
    save(made, job, tokenizer)
    if made.is_world_process_zero():
        told = {"steps": made.state.global_step, "seconds": round(seconds, 1), "padding": counted.padding}
        told |= {"processes": made.args.world_size, "distributed": made.accelerator.distributed_type.value}
        told |= {"resumed": last is not None, "curve": made.state.log_history}
        (place / TRAINED).write_text(json.dumps(told), encoding="utf-8")


def arguments(job: Job, cpu: bool) -> dict[str, Any]:
    """TRL's arguments: the job's own, and those that follow from it."""
    trainer = job.trainer
    told: dict[str, Any] = {
        "output_dir": str(job.folder / "checkpoints"),
        "gradient_accumulation_steps": trainer.effective_batch // trainer.at_once,
        "per_device_train_batch_size": trainer.per_device,
        "per_device_eval_batch_size": trainer.per_device,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": cpu,
        "eval_strategy": "epoch" if trainer.held_out else "no",
        **trainer.args,
        **trainer.engine,
        **trainer.bounds(job.limit),
    }
    if trainer.best:  # each evaluation needs a checkpoint that it speaks of
        told |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
        told |= {"save_strategy": told["eval_strategy"], "save_steps": told.get("eval_steps") or 1}
    if trainer.patience is not None:  # its count of evaluations goes on too
        told |= {"restore_callback_states_from_checkpoint": True}
    return told


def resume(made: HFTrainer, checkpoint: Path, patience: int | None) -> None:
    """Have the training go on as it would have. Shares of all steps are the numbers that they were, else transformers
    warns that the checkpoint's differ; what had stopped already does not begin again."""
    from transformers import TrainerState

    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    for name in ("logging_steps", "eval_steps", "save_steps"):
        if 0 < (getattr(made.args, name) or 0) < 1:
            setattr(made.args, name, getattr(state, name))
    callbacks: Any = state.stateful_callbacks
    if patience is not None:
        counted = callbacks["EarlyStoppingCallback"]["attributes"]["early_stopping_patience_counter"]
        if counted >= patience:
            made.args.max_steps, made.args.num_train_epochs = -1, 0  # none is left


def adapters(trainer: Trainer) -> dict[str, Any]:
    """LoRA and QLoRA, by PEFT and bitsandbytes."""
    given: dict[str, Any] = {}
    if trainer.lora:
        from peft import LoraConfig

        given["peft_config"] = LoraConfig(**{"task_type": "CAUSAL_LM", **trainer.lora})
    if trainer.quantization:
        from transformers import BitsAndBytesConfig

        given["quantization_config"] = BitsAndBytesConfig(**trainer.quantization)
    return given


def save(made: HFTrainer, job: Job, tokenizer: PreTrainedTokenizerBase) -> None:
    """The whole model, in the type of the weights it was made of, so that any engine can serve it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = job.folder
    dtype: Any = AutoConfig.from_pretrained(job.base).dtype or torch.float32
    model: Any = made.model
    if not job.trainer.lora:
        if not (made.is_deepspeed_enabled or made.is_fsdp_enabled):
            model.to(dtype)  # under the two the weights are spread over the processes, and gathered as they are
        made.save_model(str(folder / "model"))
        return
    made.save_model(str(folder / "adapter"))
    if made.is_world_process_zero():
        from peft import PeftModel

        # merged into the weights as they were, also where a quantised copy of them was trained
        base = AutoModelForCausalLM.from_pretrained(job.base, dtype=dtype)
        PeftModel.from_pretrained(base, str(folder / "adapter")).merge_and_unload().save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")


class Told(TrainerCallback):
    """Each row of the loss curve as it comes, in a file and as a line of the log; of a training that goes on, those
    before its checkpoint too. A mark in each checkpoint that was written to its end."""

    def __init__(self, curve: Path) -> None:
        self.curve, self.written = curve, 0

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **more: Any) -> None:
        if state.is_world_process_zero:
            with self.curve.open("a" if self.written else "w", encoding="utf-8") as file:
                file.writelines(map(to_line, state.log_history[self.written :]))
            self.written = len(state.log_history)
        if state.is_world_process_zero and (shown := [key for key in SHOWN if key in (logs or {})]):
            values = "  ".join(f"{key} {logs[key]:.4g}" for key in shown)  # type: ignore[index]
            print(f"step {state.global_step}/{state.max_steps}  {values}", flush=True)


class Counted:
    """A collator that counts how much of what it makes is padding. It sees nothing of what the processes of
    engine.dataloader_num_workers make with copies of it."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.tokens, self.cells = inner, 0, 0

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        batch = self.inner(rows)
        if "input_ids" not in batch:  # prompts, which the trainer pads when they are answered
            return batch
        self.cells += batch["input_ids"].numel()
        # packed rows have no mask, and no padding either
        self.tokens += int(batch["attention_mask"].sum()) if "attention_mask" in batch else batch["input_ids"].numel()
        return batch

    @property
    def padding(self) -> float | None:
        return round(1 - self.tokens / self.cells, 4) if self.cells else None


def quiet() -> None:
    """No bars and no advice of other libraries in the log; their warnings stay."""
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils.logging import disable_progress_bar as disable_loading_bar

    disable_progress_bar()
    disable_loading_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
