"""What our own code costs: seeds × rounds of Evol-Instruct on the fake backend, as a whole process.

    python benchmarks/overhead.py [--seeds 52000] [--rounds 3]

Prints wall time, peak memory, how time grows with ten times the records, and that a second run asks nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = [
    a + b
    for a in ("ka", "lo", "mi", "ru", "ste", "tra", "vo", "ple")
    for b in ("ban", "dor", "fin", "gus", "lar", "met", "nor", "pil")
]


def write_seeds(path: Path, n: int) -> None:
    """Seeds about as long as Alpaca's (20 words), none near another."""
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(n):
            words = " ".join(rng.choices(WORDS, k=rng.randint(8, 24)))
            file.write(
                json.dumps({"instruction": f"Explain how the {words} works in case {number}.", "input": ""}) + "\n"
            )


def run(folder: Path, seeds: Path, rounds: int) -> tuple[float, float, float, list[dict]]:
    """(wall seconds, CPU seconds, peak GiB, rows of steps.jsonl) of one process."""
    out = folder / f"run-{time.monotonic_ns()}"
    command = [
        *(sys.executable, "run.py", "+experiment=smoke", "steps=[dataset,evolution]", "metric=[]"),
        *("dataset=jsonl", f"dataset.path={seeds}", "dataset.columns.output=null", f"evolution.rounds={rounds}"),
        *(f"artifacts={folder}/artifacts", f"hydra.run.dir={out}", "~hydra.callbacks.finish"),
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        raise SystemExit(f"the run failed: {' '.join(command)}")
    return (
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 2**20,
        [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=52_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        seconds = {}
        for n in (given.seeds // 10, given.seeds):
            seeds = folder / f"{n}.jsonl"
            write_seeds(seeds, n)
            place = folder / str(n)
            place.mkdir()
            seconds[n], cpu, memory, rows = run(place, seeds, given.rounds)
            print(
                f"{n:7d} seeds x {given.rounds} rounds  {seconds[n]:7.1f} s ({cpu:.1f} s of CPU)  "
                f"{memory:5.2f} GiB peak  {rows[-1]['requests']:7d} requests"
            )
            again, _, _, rows = run(place, seeds, given.rounds)
            asked = sum(row["requests"] for row in rows)
            print(f"{'':7s} the same again       {again:7.1f} s  {'':31s}  {asked:7d} requests")
        few, many = seconds
        print(f"10 x the records: {seconds[many] / seconds[few]:.1f} x the time")


if __name__ == "__main__":
    main()
