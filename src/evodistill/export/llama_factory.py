"""What LLaMA-Factory wants beside the rows: an entry in `dataset_info.json`, and the settings of a training.

    cd exported && llamafactory-cli train quickstart.yaml

Its loader's rules (0.9.5, `data/parser.py` and `data/converter.py`): once an entry has `columns`, every column that it
does not name is none; `ranking` pairs need `chosen` and `rejected`; the model is asked instruction and input, joined by
a newline. Where the yaml names no `template`, the model's own chat template is taken, as here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.store import write_json

INFO = "dataset_info.json"
ASKED = {"prompt": "instruction", "query": "input"}
# where the run trains nothing itself: arXiv 2412.11231, table 6
DEFAULTS = {"learning_rate": 2e-5, "num_train_epochs": 3, "lr_scheduler_type": "cosine", "warmup_steps": 0.03}
SAME = ("learning_rate", "num_train_epochs", "lr_scheduler_type", "weight_decay", "bf16", "seed")


def entry(file: Path, paired: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"file_name": file.name, "formatting": "alpaca"}
    if paired:
        return told | {"ranking": True, "columns": {**ASKED, "chosen": "chosen", "rejected": "rejected"}}
    return told | {"columns": {**ASKED, "response": "output"}}


def add_entry(folder: Path, name: str, told: Mapping[str, Any]) -> Path:
    """Add the dataset to those that `dataset_info.json` names already."""
    file = folder / INFO
    try:
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if not isinstance(known, dict):
            raise ValueError("it is no JSON object")
    except ValueError as error:
        raise RunError(f"{file} cannot be read ({error}); mend it, or choose another folder with --to") from None
    write_json(file, known | {name: dict(told)})
    return file


def settings(name: str, paired: bool, n: int, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The training of `n` rows, with the numbers of the run's own trainer where it has one; without the model."""
    given = DEFAULTS | {"bf16": True} | dict(trainer.get("args") or {})
    told: dict[str, Any] = {"stage": "dpo" if paired else "sft", "do_train": True}
    told |= {"finetuning_type": "lora" if trainer.get("lora") else "full", "dataset": name, "dataset_dir": "."}
    told |= {"cutoff_len": given.get("max_length") or 2048, "output_dir": f"saves/{name}"}
    told |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": trainer.get("effective_batch", 64)}
    told |= {key: given[key] for key in SAME if key in given}
    # a number of steps: transformers 4 and 5 disagree on how to name a share of them
    steps = math.ceil(n / told["gradient_accumulation_steps"]) * given["num_train_epochs"]
    warmup = given.get("warmup_steps", 0)
    told |= {"warmup_steps": math.ceil(warmup * steps) if warmup < 1 else int(warmup)}
    if paired:
        told |= {"pref_beta": given.get("beta", 0.1), "pref_loss": "sigmoid"}
    return told
