"""Trainers: steps that train the weights of a role. What they make is a role like any other, for the steps, metrics and
benchmarks that follow.

A trainer turns its records into rows of token ids here, and trains in a process of its own (`launch.py` starts it,
`fit.py` is what it does), so that no engine shares memory with it. Its records pass through; those it cannot train on
are rejected, with a reason.
"""

from __future__ import annotations

import json
import logging
import math
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evodistill import RunError
from evodistill.backend import Backend
from evodistill.backend.local import multiplies_bfloat16
from evodistill.record import Fault, Made, Record, digest, to_line
from evodistill.trainer import arguments
from evodistill.trainer.examples import Row, RowFile
from evodistill.trainer.job import CURVE, TRAINED, Job
from evodistill.trainer.launch import Launch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from transformers import Trainer as HFTrainer

log = logging.getLogger(__name__)
TEMPLATES = Path(__file__).parent / "templates"
# arguments of TRL that follow from fields of ours
OURS = {
    "output_dir": "the runner",
    "gradient_accumulation_steps": "effective_batch",
    "resume_from_checkpoint": "the runner",
    "report_to": "tracker",
    "chat_template_path": "template",
    "load_best_model_at_end": "best",
    "metric_for_best_model": "best",
    "greater_is_better": "best",
    "restore_callback_states_from_checkpoint": "patience",
    "auto_find_batch_size": "effective_batch",
}
# arguments of TRL that may stand in engine, by how they begin: they say how fast, in how much memory, and what is told
# of it. All others may change what is learned
ENGINE = (
    *("per_device_", "gradient_checkpointing", "activation_offloading", "precompute_ref_", "use_cache", "use_liger_"),
    *("liger_kernel_", "torch_", "tf32", "deepspeed", "fsdp", "ddp_", "ds3_", "accelerator_config", "parallelism_"),
    *("dataloader_num_", "dataloader_p", "dataloader_m", "dataset_num_proc", "pad_to_multiple_of", "use_cpu"),
    *("use_vllm", "vllm_m", "vllm_e", "vllm_server_", "vllm_g", "vllm_t", "teacher_model_init_kwargs", "eval_acc"),
    *("log", "disable_tqdm", "save_", "enable_jit_checkpoint", "full_determinism", "include_num_", "skip_memory_"),
    *("run_name", "project", "debug", "local_rank", "num_completions_to_print", "push_to_hub", "hub_"),
)
CHARACTERS_PER_TOKEN = 4.0  # for the plan, where nothing is tokenised


@dataclass(frozen=True)
class Trainer:
    """What every trainer is told. `args` and `engine` both go to TRL as they stand; `args` says what is learned,
    `engine` how fast and in how much memory, so that only `args` is part of the identity."""

    Config: ClassVar[str]  # class of trl that takes the arguments

    model: str  # role that is trained
    makes: str  # role that the trained model becomes
    only: str | None = None  # key of a record's extra: learn where it is true (select.mark); null = all
    effective_batch: int = 64  # rows a step, whatever the number of devices; the last of an epoch has what is left
    args: Mapping[str, Any] = field(default_factory=dict)
    truncate: bool = (
        True  # the end of an answer beyond max_length is cut off and counted; false: the record is rejected
    )
    template: str | None = None  # chat template for a base model that has none: plain, or your .jinja
    lora: Mapping[str, Any] | None = None  # of peft.LoraConfig; null = all weights
    quantization: Mapping[str, Any] | None = None  # of transformers.BitsAndBytesConfig, with lora: QLoRA
    held_out: float = 0.0  # share of the rows that is kept for the evaluation loss
    best: bool = False  # keep the checkpoint with the lowest evaluation loss, not the last
    patience: int | None = None  # evaluations without a lower loss before training stops
    engine: Mapping[str, Any] = field(default_factory=dict, metadata={"identity": False})
    launch: Launch = field(default_factory=Launch, metadata={"identity": False})
    folder: str = field(default="", metadata={"identity": False})  # where to train; the runner says

    def __post_init__(self) -> None:
        if given := sorted({*self.args, *self.engine} & OURS.keys()):
            raise ValueError(f"args.{given[0]} follows from {OURS[given[0]]}; leave it out")
        if learned := sorted(key for key in self.engine if not key.startswith(ENGINE)):
            raise ValueError(
                f"engine.{learned[0]} belongs to args: engine is no part of the identity of what is made, so only what "
                "says how fast and in how much memory may stand there"
            )
        if both := sorted(self.args.keys() & self.engine.keys()):
            raise ValueError(f"{both[0]} stands in args and in engine; keep one")
        if "per_device_train_batch_size" in self.args:
            raise ValueError("per_device_train_batch_size belongs to engine: effective_batch says what is learned")
        for key, value in (
            ("effective_batch", self.effective_batch),
            ("engine.per_device_train_batch_size", self.per_device),
        ):
            if value < 1:
                raise ValueError(f"{key} must be ≥ 1, got {value}: it is a number of rows")
        for key in ("max_length", "max_completion_length"):
            if (value := self.args.get(key)) is not None and not (isinstance(value, int) and value >= 1):
                raise ValueError(f"args.{key} must be ≥ 1, or null, got {value}: it is a number of tokens")
        if self.effective_batch % self.at_once:
            raise ValueError(
                f"effective_batch={self.effective_batch} cannot be divided by {self.launch.num_processes} processes × "
                f"{self.per_device} rows each (engine.per_device_train_batch_size); change one of the three"
            )
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be in [0, 1), got {self.held_out}")
        if (self.best or self.patience is not None) and not self.held_out:
            raise ValueError("best and patience go by the evaluation loss: set held_out, for example to 0.05")
        evaluated = self.args.get("eval_strategy", "epoch" if self.held_out else "no")
        if evaluated != "no" and not self.held_out:
            raise ValueError(
                f"args.eval_strategy={evaluated} measures on rows that are held out: set held_out, for example to 0.05"
            )
        if self.best and (evaluated == "no" or (evaluated == "steps" and not self.args.get("eval_steps"))):
            raise ValueError(
                f"best goes by the evaluation loss, and args.eval_strategy={evaluated} alone does not say when it is "
                "measured: set args.eval_strategy=steps with args.eval_steps, or epoch"
            )
        if self.patience is not None and not self.best:
            raise ValueError("patience stops after the best checkpoint: set best=true")
        if self.quantization and not self.lora:
            raise ValueError("quantization freezes the weights, so lora must say what is trained instead")

    @property
    def per_device(self) -> int:
        return int(self.engine.get("per_device_train_batch_size", 1))

    @property
    def at_once(self) -> int:
        """Rows that all devices read before gradients are accumulated."""
        return self.per_device * self.launch.num_processes

    @property
    def curve(self) -> Path:
        return Path(self.folder) / "rows" / CURVE

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {}

    @property
    def sources(self) -> list[str]:
        """The text of a stated chat template is part of what is made."""
        return [digest(self.chat_template)] if self.template else []

    @property
    def chat_template(self) -> str:
        assert self.template is not None
        file = Path(self.template) if self.template.endswith(".jinja") else TEMPLATES / f"{self.template}.jinja"
        if not file.is_file():
            known = ", ".join(sorted(path.stem for path in TEMPLATES.glob("*.jinja")))
            raise RunError(f"template={self.template}: {file} does not exist; give {known}, or the path of a .jinja")
        return file.read_text(encoding="utf-8")

    def learn(self, record: Record, tokenizer: PreTrainedTokenizerBase, limit: int) -> Iterator[Row | Fault]:
        """What TRL's trainer reads of a record, `limit` tokens at most a row, and why something of it is left out."""
        raise NotImplementedError

    def trl(self, **given: Any) -> HFTrainer:
        """TRL's trainer, in the process that trains, of the arguments that all of them take."""
        raise NotImplementedError

    def ready(self) -> None:
        """Refuse, before anything runs, what would stop the training later."""
        needed = {"trl": True, "peft": self.lora, "bitsandbytes": self.quantization}
        for package in (name for name, used in needed.items() if used and not find_spec(name)):
            raise RunError(f"a trainer needs {package}: pip install {package}, or make train for all that it may need")
        if self.engine.get("deepspeed"):
            self.deepspeed()
        import torch

        if self.engine.get("fsdp") and (self.launch.num_processes == 1 or not torch.cuda.is_available()):
            raise RunError(
                "engine.fsdp shares the weights of several GPUs, and would be left out without a word: set "
                "launch.num_processes on a machine that has them; engine.deepspeed works on a CPU too"
            )
        if self.args.get("bf16") and not torch.cuda.is_available() and not multiplies_bfloat16():
            log.warning("this CPU has no instructions for bfloat16: args.bf16=false trains several times as fast on it")

        self.accepted()

    def accepted(self) -> None:
        """Refuse arguments that TRL, PEFT or bitsandbytes would refuse once the training has begun."""
        import torch
        import trl

        takes = getattr(trl, self.Config)
        for group, given in (("args", self.args), ("engine", self.engine)):
            arguments.known(group, takes, given)
        learned = {key: value for key, value in self.args.items() if not key.startswith(ENGINE)}
        beside = {"output_dir": self.folder, "report_to": "none", "use_cpu": True}
        beside |= {"eval_strategy": "epoch" if self.held_out else "no"}
        # as in the training, but that no device is set up in this process
        unplaced = type(takes.__name__, (takes,), {"device": torch.device("cpu"), "distributed_state": None})
        arguments.accepted("args", partial(unplaced, **beside), learned)
        if self.lora:
            from peft import LoraConfig

            arguments.check("lora", LoraConfig, self.lora)
        if self.quantization:
            from transformers import BitsAndBytesConfig

            arguments.check("quantization", BitsAndBytesConfig, self.quantization)

    def suits(self, folders: Mapping[str, Path]) -> None:
        """Refuse, before anything is paid for, a template that is not here, and models that these settings or one
        another do not fit: those of the roles whose weights are here. Only tokenizers and configs are read of them."""
        if self.template:
            _ = self.chat_template
        if self.model in folders:
            self.tokenizer(folders[self.model])
            self.limit(folders[self.model])

    def deepspeed(self) -> None:
        if not find_spec("deepspeed"):
            raise RunError(
                "engine.deepspeed needs DeepSpeed: make train, "
                "or DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed"
            )
        file = Path(str(self.engine["deepspeed"]))
        if not file.is_file():
            raise RunError(
                f"engine.deepspeed={file} does not exist; "
                "conf/trainer/deepspeed holds zero2.json, zero3.json and zero3_offload.json"
            )

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> Made:
        """Train in `folder`. Every record comes back, and the files of the model, the job, and the loss curve."""
        folder, base = Path(self.folder).resolve(), models[self.model].weights.folder.resolve()
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        tokenizer, limit = self.tokenizer(base), self.limit(base)
        placed = self.placed(models, folder)
        job = Job(placed, str(base), limit).write()
        records, facts = self.rows(records, tokenizer, limit)
        log.info("%s: %s", self.makes, ", ".join(f"{key} {value}" for key, value in facts.items()))
        tokenizer.save_pretrained(folder / "rows")
        facts |= placed.prepare(models, folder / "rows")
        self.launch.run(self.makes, job)
        trained = json.loads((folder / "rows" / TRAINED).read_text(encoding="utf-8"))
        for name in ("rows", "checkpoints"):
            shutil.rmtree(folder / name, ignore_errors=True)
        files: dict[str, Iterable[str] | Path] = {
            "training.jsonl": [to_line(row) for row in trained.pop("curve")],
            "training.json": [json.dumps(facts | trained, indent=1) + "\n"],
        }
        kept = [path for place in ("model", "adapter") for path in (folder / place).rglob("*") if path.is_file()]
        return Made(records, files | {str(path.relative_to(folder)): path for path in (job, *sorted(kept))})

    def placed(self, models: Mapping[str, Backend], folder: Path) -> Trainer:
        """This trainer as the training process is given it. Refuses models that do not go together."""
        return replace(self, folder=str(folder))

    def prepare(self, models: Mapping[str, Backend], rows: Path) -> dict[str, Any]:
        """What must lie beside the rows before training starts; gives facts for training.json."""
        return {}

    def rows(
        self, records: list[Record], tokenizer: PreTrainedTokenizerBase, limit: int
    ) -> tuple[list[Record], dict[str, int]]:
        """Write the rows to train on and those held out; gives all records and what was counted."""
        out, left_out = [], Counter[str]()
        place = Path(self.folder) / "rows"
        with RowFile(place / "train.arrow") as train, RowFile(place / "held_out.arrow") as held:
            for record in records:
                if self.passes(record):
                    out.append(record)
                    continue
                made = list(self.learn(record, tokenizer, limit))
                faults = [fault for fault in made if isinstance(fault, Fault)]
                left_out.update(fault.reason for fault in faults)
                if len(faults) == len(made):
                    record = replace(record, fault=faults[0])
                for row in made:
                    if isinstance(row, Row):
                        (held if self.holds_out(record) else train).add(row)
                out.append(record)
        if not train.rows or (self.held_out and not held.rows):
            told = ", ".join(f"{reason} {count}" for reason, count in left_out.most_common()) or "none was left out"
            what = "to train on" if not train.rows else f"to hold out (held_out={self.held_out})"
            raise RunError(f"{self.makes}: {len(records)} records give no row {what} ({told})")
        facts = {"rows": train.rows, "held_out": held.rows, "tokens": train.tokens, "cut": train.cut + held.cut}
        if twice := self.twice(train.rows):
            facts["learned twice in an epoch"] = twice
        return out, facts | {f"left out, {reason}": count for reason, count in left_out.items()}

    def twice(self, rows: int) -> int:
        """How many of an epoch's rows are learned a second time: with them accelerate fills up the last batches of
        several processes. Packed rows are others, and are not counted."""
        placed = {**self.args, **self.engine}
        config = placed.get("accelerator_config")  # or the place of a file, or JSON
        even = config.get("even_batches", True) if isinstance(config, Mapping) else True
        if self.launch.num_processes == 1 or not even or placed.get("dataloader_drop_last") or placed.get("packing"):
            return 0
        return -rows % self.at_once

    def passes(self, record: Record) -> bool:
        """Whether a record is none of those to learn from: it goes on to later steps as it is."""
        return self.only is not None and not record.extra.get(self.only)

    def holds_out(self, record: Record) -> bool:
        return random.Random(f"{self.args.get('seed', 0)}:{record.id}:held_out").random() < self.held_out

    def tokenizer(self, base: Path) -> PreTrainedTokenizerBase:
        """That of the weights, with the stated chat template."""
        from transformers import AutoTokenizer

        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(base)
        if self.template:
            tokenizer.chat_template = self.chat_template
        elif not tokenizer.chat_template:
            raise RunError(
                f"{self.makes}: the model of the role {self.model} has no chat template; state one that is saved with "
                "what is trained: template=plain, or the path of a .jinja"
            )
        return tokenizer

    def limit(self, base: Path) -> int:
        """Most tokens of a row: max_length, or the model's context where there is none."""
        from transformers import AutoConfig

        context = AutoConfig.from_pretrained(base).get_text_config().max_position_embeddings
        wanted = self.args.get("max_length")
        if wanted and wanted > context:
            raise RunError(
                f"{self.makes}: args.max_length={wanted} is longer than the context of the role {self.model}, "
                f"{context} tokens; lower it"
            )
        return wanted or context

    def bounds(self, limit: int) -> dict[str, int]:
        """How TRL calls the most tokens of a row."""
        return {"max_length": limit}

    def length(self, rows: int) -> tuple[float, int]:
        """(epochs, steps): num_train_epochs, or max_steps where that is set, as in transformers."""
        epochs, each = float(self.args.get("num_train_epochs", 3)), max(1, math.ceil(rows / self.effective_batch))
        steps = int(self.args.get("max_steps", -1))
        return (steps / each, steps) if steps > 0 else (epochs, math.ceil(each * epochs))

    def plan(self, records: Sequence[Record]) -> tuple[str, float]:
        """What a run would train, and the tokens of all epochs, estimated from the length of the texts."""
        records = [record for record in records if not self.passes(record)]
        tokens = sum(len(record.prompt) + len(record.output) for record in records) / CHARACTERS_PER_TOKEN
        epochs, steps = self.length(len(records))
        told = f"{len(records)} rows, about {tokens:,.0f} tokens an epoch, {epochs:.4g} epochs, {steps} steps"
        return told, tokens * epochs
