"""What LLaMA-Factory wants beside the rows: an entry in `dataset_info.json`, and the settings of a training.

    cd exported && llamafactory-cli train quickstart.yaml

Its loader's rules (0.9.5, `data/parser.py` and `data/converter.py`): once an entry has `columns`, every column that it
does not name is none; `ranking` pairs need `chosen` and `rejected`; the model is asked instruction and input, joined by
a newline. Where the yaml names no `template`, the model's own chat template is taken, as here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.store import write_json

INFO = "dataset_info.json"
ASKED = {"prompt": "instruction", "query": "input"}
# where the run trains nothing itself: arXiv 2412.11231, table 6
DEFAULTS = {"learning_rate": 2e-5, "num_train_epochs": 3, "lr_scheduler_type": "cosine", "warmup_steps": 0.03}
# of transformers.TrainingArguments, which its trainers take too
SAME = (
    *("learning_rate", "num_train_epochs", "max_steps", "lr_scheduler_type", "lr_scheduler_kwargs", "weight_decay"),
    *("optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "label_smoothing_factor"),
    *("neftune_noise_alpha", "bf16", "fp16", "seed", "data_seed"),
)
# under other names, or where something is held out
OTHERWISE = ("max_length", "warmup_steps", "packing", "eval_strategy", "eval_steps")
PREFERENCE = ("beta", "loss_type", "label_smoothing")
LORA = ("r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "use_rslora", "use_dora", "task_type")
BITS = ("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "bnb_4bit_compute_dtype")
LOSSES = ("sigmoid", "hinge", "ipo")  # called the same by TRL


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


def settings(name: str, paired: bool, n: int, trainer: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The training of `n` rows, with the numbers of the run's own trainer where it has one, but for the model; and what
    it leaves to whoever trains."""
    own = trainer.get("args") or {}
    given = DEFAULTS | {"bf16": True} | own
    told: dict[str, Any] = {"stage": "dpo" if paired else "sft", "do_train": True}
    told |= {"finetuning_type": "lora" if trainer.get("lora") else "full", "dataset": name, "dataset_dir": "."}
    told |= adapter(trainer.get("lora") or {}) | bits(trainer.get("quantization") or {})
    told |= {"cutoff_len": given.get("max_length") or 2048, "output_dir": f"saves/{name}"}
    told |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": trainer.get("effective_batch", 64)}
    told |= {key: given[key] for key in SAME if key in given}
    if held_out := trainer.get("held_out"):
        told |= {"val_size": held_out, "eval_strategy": given.get("eval_strategy", "epoch")}
        told |= {"per_device_eval_batch_size": 1}
        told |= {"eval_steps": given["eval_steps"]} if "eval_steps" in given else {}
    if trainer.get("best"):
        told |= {"save_strategy": told["eval_strategy"], "load_best_model_at_end": True}
        told |= {"save_steps": given["eval_steps"]} if "eval_steps" in given else {}
    if trainer.get("patience") is not None:
        told |= {"early_stopping_steps": trainer["patience"]}
    # a number of steps: transformers 4 and 5 disagree on how to name a share of them
    rows = n * (1 - (held_out or 0))
    steps = math.ceil(rows / told["gradient_accumulation_steps"]) * given["num_train_epochs"]
    steps = given["max_steps"] if given.get("max_steps", -1) > 0 else steps
    warmup = given.get("warmup_steps", 0)
    told |= {"warmup_steps": math.ceil(warmup * steps) if warmup < 1 else int(warmup)}
    if given.get("packing"):
        told |= {"packing": True, "neat_packing": True}  # rows do not see one another, as here
    return told | (preference(given) if paired else {}), [*left(trainer, paired)]


def adapter(lora: Mapping[str, Any]) -> dict[str, Any]:
    """All of peft.LoraConfig's numbers, since its defaults are not LLaMA-Factory's."""
    if not lora:
        return {}
    told: dict[str, Any] = {"lora_rank": lora.get("r", 8), "lora_alpha": lora.get("lora_alpha", 8)}
    told |= {"lora_dropout": lora.get("lora_dropout", 0.0)}
    for key, name in (("target_modules", "lora_target"), ("modules_to_save", "additional_target")):
        modules = lora.get(key)
        if modules:
            told[name] = (
                "all" if modules == "all-linear" else modules if isinstance(modules, str) else ",".join(modules)
            )
    return told | {key: True for key in ("use_rslora", "use_dora") if lora.get(key)}


def bits(quantization: Mapping[str, Any]) -> dict[str, Any]:
    if quantization.get("load_in_8bit"):
        return {"quantization_bit": 8}
    if not quantization.get("load_in_4bit"):
        return {}
    told = {"quantization_bit": 4, "quantization_type": quantization.get("bnb_4bit_quant_type", "fp4")}
    return told | {"double_quantization": bool(quantization.get("bnb_4bit_use_double_quant"))}


def preference(given: Mapping[str, Any]) -> dict[str, Any]:
    (loss, *more) = listed(given.get("loss_type", "sigmoid"))
    told = {"pref_beta": given.get("beta", 0.1)}
    told |= {"pref_loss": loss} if loss in LOSSES and not more else {}
    return told | ({"dpo_label_smoothing": given["label_smoothing"]} if given.get("label_smoothing") else {})


def left(trainer: Mapping[str, Any], paired: bool) -> Iterator[str]:
    """What is to be set by hand, and what of the run's training it does not do."""
    if template := trainer.get("template"):
        near = "; alpaca is near" if template == "plain" else ""
        yield f"template is to be set: the run states one of its own, {Path(template).name}{near}"
    elif not trainer:
        yield "template is to be set where the model has no chat template of its own"
    if trainer.get("lora") and not trainer["lora"].get("target_modules"):
        yield "lora_target is to be set: the run leaves it to PEFT, which adapts some of the layers; here it is all"
    args = trainer.get("args") or {}
    if trainer and not args.get("max_length"):
        yield "cutoff_len is to be set: the run's is the context of the model"
    if args.get("packing") and 0 < args.get("warmup_steps", 0) < 1 and args.get("max_steps", -1) <= 0:
        share = f"{args['warmup_steps']:.0%} of the steps"
        yield f"warmup_steps is to be set: the run's is {share}, of which there are fewer once rows are packed"
    if trainer.get("truncate") is False:
        yield "rows longer than cutoff_len are cut; the run leaves them out"
    if trainer.get("max_length_ratio"):
        yield "the run leaves out pairs of much unlike length (max_length_ratio), which are here"
    loss = listed(args.get("loss_type", "sigmoid"))
    if paired and (len(loss) > 1 or loss[0] not in LOSSES):
        yield f"pref_loss is to be set: the run's is {' and '.join(loss)}; without it sigmoid is taken"
    if str(trainer.get("_target_")).endswith(".KD"):
        yield "the run distils a teacher's distribution too; here the answers alone are learned"
    taken = (*SAME, *OTHERWISE, *(PREFERENCE if paired else ()))
    for group, known in (("args", taken), ("lora", LORA), ("quantization", BITS)):
        for key, value in (trainer.get(group) or {}).items():
            if key not in known:
                yield f"{group}.{key}={value!r} of the run is not taken over"


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [*value]
