"""Supervised fine-tuning: our trainer against a bare TRL script, on the same rows, settings and threads.

    python benchmarks/sft.py                                    # 96 synthetic rows
    python benchmarks/sft.py --data alpaca.json --rows 256      # rows of instruction, input, output

Four ways, each in a process of its own: TRL as its documentation starts it (bare), ours with batches in random order,
as the bare script has them, ours with batches of like length, and ours with packed rows. A way's tokens are those of
its rows, without padding. Expected: ours within 5 % of bare; like lengths or packing at least 1.3 × of random order.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ifd import named, read

from evodistill.backend.local import multiplies_bfloat16
from evodistill.backend.transformers import Transformers
from evodistill.record import Record
from evodistill.trainer.job import TRAINED, Job
from evodistill.trainer.sft import SFT

WAYS = {
    "bare": {},
    "random": {},
    "like lengths": {"train_sampling_strategy": "group_by_length"},
    "packed": {"packing": True},
}


def main() -> None:
    args = arguments()
    if args.way:
        print(json.dumps(measure(args)))
        return
    found = {}
    for way in args.ways:
        found[way] = run(way)
        told = found[way]
        print(f"{way:<13} {told['speed']:7.0f} tokens/s {told['seconds']:7.1f} s", end="")
        print(f" ({told['processor']:.0f} s of processor)", end="")
        padding = "as random" if told["padding"] is None else f"{told['padding']:.1%}"
        print(f"   padding {padding:<9}   loss {told['loss']:.4f}   peak {told['peak']:.2f} GiB", flush=True)
    if {"bare", "random"} <= found.keys():
        print(f"ours / bare              {ratio(found, 'random', 'bare')}")
    for way in ("like lengths", "packed"):
        if {way, "random"} <= found.keys():
            print(f"{way + ' / random':<24} {ratio(found, way, 'random')}")


def ratio(found: dict[str, dict[str, Any]], way: str, other: str) -> str:
    """By the clock, and by processor time where other work shares the machine; the latter has loading in it."""
    a, b = found[way], found[other]
    return f"{a['speed'] / b['speed']:.3f} (by processor time {b['processor'] / a['processor']:.3f})"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Tokens per second of SFT, ours against bare TRL.")
    parser.add_argument("--data", type=Path, help="JSON or JSONL of instruction, input, output; default: synthetic")
    parser.add_argument("--rows", dest="limit", type=int, default=96)
    parser.add_argument("--model", default="smollm2-135m", help="a name in conf/model, or a folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=8, help="rows of a batch")
    parser.add_argument("--effective", type=int, default=32, help="rows of a step")
    parser.add_argument("--max-length", type=int, default=512, help="most tokens of a row, and of a packed row")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--way", choices=list(WAYS), help="one way only, its figures as JSON")
    return parser.parse_args()


def run(way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(args.threads)
    base = Transformers(**named(args.model)).weights.folder
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        told = (bare if args.way == "bare" else ours)(args, base, Path(folder))
    told |= {"speed": told["tokens"] / told["seconds"], "processor": time.process_time() - started}
    return told | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What both ways are told."""
    return {
        **{"learning_rate": 2e-5, "num_train_epochs": 1, "max_length": args.max_length, "bf16": bf16(), "seed": 0},
        **{"logging_steps": 1, "save_strategy": "no", "gradient_checkpointing": False},
        "per_device_train_batch_size": args.at_once,
    }


def ours(args: argparse.Namespace, base: Path, folder: Path) -> dict[str, Any]:
    from evodistill.trainer.fit import fit

    told = settings(args) | WAYS[args.way]
    rows = args.at_once if args.way != "packed" else 1  # a packed row is a batch by itself
    engine = {"per_device_train_batch_size": rows, "logging_steps": 1, "save_strategy": "no"}
    engine |= {"gradient_checkpointing": told["gradient_checkpointing"]}
    given = {key: value for key, value in told.items() if key not in engine}
    trainer = SFT("student", "tuned", effective_batch=args.effective, args=given, engine=engine, folder=str(folder))
    (folder / "rows").mkdir()
    tokenizer, limit = trainer.tokenizer(base), trainer.limit(base)
    _, facts = trainer.rows(records(args), tokenizer, limit)
    tokenizer.save_pretrained(folder / "rows")
    fit(Job(trainer, str(base), limit))
    made = json.loads((folder / "rows" / TRAINED).read_text())
    losses = [row["loss"] for row in made["curve"] if "loss" in row]
    return {
        **{key: made[key] for key in ("seconds", "padding")},
        **{"tokens": facts["tokens"], "loss": sum(losses) / len(losses)},
    }


def bare(args: argparse.Namespace, base: Path, folder: Path) -> dict[str, Any]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {
            "prompt": [{"role": "user", "content": record.prompt}],
            "completion": [{"role": "assistant", "content": record.output}],
        }
        for record in records(args)
    ]
    config = SFTConfig(
        output_dir=str(folder),
        use_cpu=not torch_has_gpu(),
        report_to="none",
        disable_tqdm=True,
        gradient_accumulation_steps=args.effective // args.at_once,
        **settings(args),
    )
    trainer = SFTTrainer(str(base), args=config, train_dataset=Dataset.from_list(rows))
    lengths = [len(row["input_ids"]) for row in trainer.train_dataset]
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {"seconds": seconds, "tokens": sum(lengths), "padding": None, "loss": sum(losses) / len(losses)}


def bf16() -> bool:
    """Whether this machine multiplies it."""
    return torch_has_gpu() or multiplies_bfloat16()


def torch_has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def records(args: argparse.Namespace) -> list[Record]:
    return [replace(Record.seed(question), output=answer) for question, answer in read(args)]


if __name__ == "__main__":
    main()
