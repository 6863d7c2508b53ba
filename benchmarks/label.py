"""How often is a task class told right? Instructions whose class is known by where they come from, model after model.

    python benchmarks/label.py                                                    # the shipped seeds
    python benchmarks/label.py --data Math=gsm8k.jsonl "Code Generation|Code Debug|Computer Science=code.json"
    python benchmarks/label.py --models qwen25-coder-1.5b --n 60

An embedder takes the nearest description, any other model is asked. The baseline is the most frequent class of all.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir

from evodistill.backend import Backend
from evodistill.config import build
from evodistill.dataset import rows
from evodistill.dataset.tiny import FILE
from evodistill.distill.label import Label
from evodistill.record import Record

CONF = Path(__file__).parents[1] / "conf"
CODE = ("Code Generation", "Code Debug", "Computer Science")
# tasks of the shipped seeds that have a class; the others could be of several
TASKS = {
    "maths": ("Math",),
    "code": CODE,
    "regex": CODE,
    "sql": CODE,
    "writing": ("Writing",),
    "poetry": ("Writing", "Literature"),
    "summarise": ("Paraphrase",),
    "rewrite": ("Paraphrase", "Grammar", "Writing"),
    "translate": ("Multilingual",),
    "extract": ("Complex Format",),
    "table": ("Complex Format",),
    "roleplay": ("Roleplay",),
    "puzzle": ("Reasoning", "Math"),
}
Known = tuple[Record, tuple[str, ...]]


def shipped() -> list[Known]:
    found = [row.value for row in rows.read(FILE) if isinstance(row.value, dict)]
    named = [(row, TASKS[row["task"]]) for row in found if row["task"] in TASKS]
    return [(Record.seed(row["instruction"], row["input"], index=i), names) for i, (row, names) in enumerate(named)]


def of_file(named: str, n: int) -> list[Known]:
    classes, _, path = named.rpartition("=")
    values = [row.value for row in rows.read(Path(path)) if isinstance(row.value, dict)]
    texts = [(value.get("instruction") or value["question"], value.get("input") or "") for value in values]
    drawn = random.Random(0).sample(texts, min(n, len(texts)))
    return [(Record.seed(*text, index=i), tuple(classes.split("|"))) for i, text in enumerate(drawn)]


def interval(right: int, n: int) -> str:
    """Wilson's 95 % interval."""
    share, z = right / n, 1.96
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{right} of {n} right, {100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def told(step: Label, known: list[Known], model: Backend) -> list[str | None]:
    return [step.of(record) for record in step([record for record, _ in known], {"judge": model})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], metavar="CLASS|CLASS=FILE")
    parser.add_argument("--models", nargs="+", default=["all-minilm-l6-v2"], help="names in conf/model")
    parser.add_argument("--n", type=int, default=200, help="rows of each file")
    given = parser.parse_args()
    sources = {"tiny": shipped()} | {Path(name).name: of_file(name, given.n) for name in given.data}
    for name in given.models:
        print(name)
        model, step = opened(name)
        for source, known in sources.items():
            started = time.perf_counter()
            found = told(step, known, model)
            seconds = time.perf_counter() - started
            right = sum(label in names for label, (_, names) in zip(found, known, strict=True))
            wrong = Counter(str(label) for label, (_, names) in zip(found, known, strict=True) if label not in names)
            print(f"  {source:24s} {interval(right, len(known))}; {seconds:.1f} s; else {dict(wrong.most_common(4))}")


def opened(name: str) -> tuple[Backend, Label]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[f"model@judge={name}", "+distill@label=label"])
    step: Label = build(cfg.label)
    return build(cfg.judge), replace(step, by="nearest" if cfg.judge._target_.endswith("Embedder") else "ask")


if __name__ == "__main__":
    main()
