"""A teacher's log-probabilities on disk: bytes of a kept one, and a reader's memory, beside JSON that is loaded whole.

    python benchmarks/kd_store.py [--samples 4000] [--tokens 100] [--k 32]

Random values of the shape that distillation keeps. Ours is written and then read in random order, as a trainer does it,
at a tenth of the samples and at all of them; the baseline is JSON lines of {token: probability} a position, all loaded,
at a tenth. Each reader is a process of its own; its memory is what it holds itself, without mapped files. Expected: at
most 12 bytes a kept log-probability, and memory that does not grow with the positions.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from evodistill.trainer.logprobs import About, Logprobs, Sample, Writer

VOCABULARY = 49_152


def main() -> None:
    args = arguments()
    if args.read:
        print(json.dumps(read(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for samples in (args.samples // 10, args.samples):
            place, kept = Path(folder) / str(samples), samples * args.tokens * args.k
            started = time.perf_counter()
            write(place, samples, args)
            seconds = time.perf_counter() - started
            size = sum(file.stat().st_size for file in place.iterdir())
            told = process(place, "ours")
            report("ours", samples, size / kept, told)
            print(f"   {'written':>10} {kept / seconds / 1e6:5.1f} M/s", flush=True)
        few, file = args.samples // 10, Path(folder) / "dense.jsonl"
        as_json(file, few, args)
        report("JSON", few, file.stat().st_size / (few * args.tokens * args.k), process(file, "json"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--tokens", type=int, default=100, help="of an answer")
    parser.add_argument("--k", type=int, default=32, help="log-probabilities kept at each of them")
    parser.add_argument("--read", choices=("ours", "json"), help="what a reader process is started with")
    parser.add_argument("--place", type=Path)
    return parser.parse_args()


def report(name: str, samples: int, bytes: float, told: dict[str, Any]) -> None:
    print(f"{name:<5} {samples:6d} samples {bytes:6.2f} bytes a kept log-probability", end="")
    print(f"   read in {told['seconds']:6.2f} s, holding {told['memory']:7.1f} MiB")


def values(samples: int, args: argparse.Namespace) -> Any:
    draw = np.random.default_rng(0)
    for number in range(samples):
        tokens = draw.integers(0, VOCABULARY, (args.tokens, args.k), dtype=np.int32)
        yield f"{number:016x}", tokens, draw.standard_normal((args.tokens, args.k + 1)).astype(np.float16)


def write(place: Path, samples: int, args: argparse.Namespace) -> None:
    with Writer(place, About(args.k, 1.0, VOCABULARY)) as out:
        for id, tokens, logprobs in values(samples, args):
            out.add(Sample(id, tokens[:, 0].tolist(), args.tokens), tokens, logprobs)


def as_json(file: Path, samples: int, args: argparse.Namespace) -> None:
    with file.open("w") as lines:
        for _, tokens, logprobs in values(samples, args):
            chances = np.exp(logprobs[:, :-1].astype(float))
            rows = [
                dict(zip(map(int, ids), map(float, row), strict=True)) for ids, row in zip(tokens, chances, strict=True)
            ]
            lines.write(json.dumps(rows) + "\n")


def process(place: Path, what: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--read", what, "--place", str(place)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def read(args: argparse.Namespace) -> dict[str, Any]:
    before, started = memory(), time.perf_counter()
    if args.read == "json":
        held: Any = [json.loads(line) for line in args.place.open()]
    else:
        held = Logprobs(args.place)
        order = list(held.numbers)
        random.Random(0).shuffle(order)
        for id in order:  # copied, as a batch is
            np.array(held.of(id, "tokens.i32")), np.array(held.of(id, "logprobs.f16"))
    return {"seconds": time.perf_counter() - started, "memory": memory() - before, "rows": len(held)}


def memory() -> float:
    """MiB of this process's own, without mapped files."""
    told = Path("/proc/self/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in told.splitlines() if line.startswith("Anonymous:"))) / 1024


if __name__ == "__main__":
    main()
