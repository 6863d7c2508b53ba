"""A causal language model of two layers with random weights, and jobs that train it in milliseconds a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evodistill.dataset.tiny import FILE
from evodistill.record import Record
from evodistill.trainer import Trainer
from evodistill.trainer.job import Job
from evodistill.trainer.sft import SFT

# in the manner of ChatML: turns end with the end token, and something stands behind it (C1)
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SPECIAL = ["<|pad|>", "<|start|>", "<|end|>"]
ARGS = {"learning_rate": 5e-3, "num_train_epochs": 2, "max_length": 256, "bf16": False, "seed": 0}


def llama(
    folder: Path,
    template: str | None = TEMPLATE,
    context: int = 512,
    *,
    seed: int = 0,
    words: int = 500,
    padding: int = 0,
    sharp: float = 1.0,
) -> Path:
    """Weights in bfloat16, a byte-level tokenizer of 500 tokens, a chat template unless there is to be none. `padding`:
    rows of the weights' vocabulary that are no tokens; `sharp`: how much surer it is than random weights are."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train([str(FILE)], vocab_size=words, special_tokens=SPECIAL, show_progress=False)
    names = {"pad_token": SPECIAL[0], "eos_token": SPECIAL[2], "additional_special_tokens": [SPECIAL[1]]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, **names)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    sizes |= {"vocab_size": len(tokenizer) + padding, "max_position_embeddings": context}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **ends))
    model.lm_head.weight.data *= sharp
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def records(n: int = 12) -> list[Record]:
    """Questions with answers of very different lengths."""
    return [
        Record.seed(
            f"How many is {number} and {number}?", output=f"It is {2 * number}. " * (1 + number % 4), index=number
        )
        for number in range(n)
    ]


def job(trainer: Trainer, base: Path, given: list[Record]) -> Job:
    """What `Trainer.__call__` does before it starts a process."""
    (Path(trainer.folder) / "rows").mkdir(parents=True, exist_ok=True)
    spoken = trainer.tokenizer(base)
    limit = trainer.limit(base)
    made = Job(trainer, str(base), limit)
    made.write()
    trainer.rows(given, spoken, limit)
    spoken.save_pretrained(made.folder / "rows")
    return made


def trained(folder: Path, base: Path, **given: Any) -> tuple[dict[str, Any], list[float]]:
    """What 30 steps of SFT leave, and the loss of each."""
    args = ARGS | {"num_train_epochs": 30}
    engine = {"per_device_train_batch_size": 2, "logging_steps": 1, "save_strategy": "no"} | given.pop("engine", {})
    trainer = SFT("student", "tuned", folder=str(folder), effective_batch=8, args=args, engine=engine, **given)
    made = job(trainer, base, records(8))
    trainer.launch.run("tuned", made.folder / "job.json")
    told = json.loads((folder / "rows" / "trained.json").read_text())
    return told, [row["loss"] for row in told["curve"] if "loss" in row]
