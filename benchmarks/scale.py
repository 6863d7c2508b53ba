"""How memory and time grow with the records: seeds → one round of Evol-Instruct → answers → a metric, fake backend.

    python benchmarks/scale.py [--records 100000 300000 1000000] [--folder DIR] [--all-at-once]

A record is one of the evolution: half of them are seeds. Each stage is a process of its own, which takes the stages
before it from the store: a script that was stopped goes on where it was, given the same --folder. Seconds are those of
the CPU, so that they mean something on a busy machine too. `--all-at-once` keeps the pool of near-duplicates, which
needs all lines in memory.
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
from dataclasses import asdict, dataclass
from pathlib import Path

from overhead import ROOT, WORDS

STAGES = {
    "dataset": ["steps=[dataset]", "metric=[]", "instructions=null"],
    "evolution": ["steps=[dataset,evolution]", "metric=[]"],
    "respond": ["steps=[dataset,evolution,respond]", "metric=[]"],
    "metric": ["steps=[dataset,evolution,respond]", "metric=[length]"],
}


def write_seeds(path: Path, n: int) -> None:
    """Answered seeds about as long as Alpaca's."""
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(n):
            asked, said = (" ".join(rng.choices(WORDS, k=rng.randint(8, most))) for most in (24, 80))
            row = {"instruction": f"Explain how the {asked} works in case {number}.", "input": "", "output": said}
            file.write(json.dumps(row) + "\n")


@dataclass(frozen=True)
class Measured:
    stage: str
    wall: float
    cpu: float
    peak: float  # MiB
    disk: float  # MiB of the store when it ended
    requests: int


def measure(folder: Path, records: int, stage: str, settings: list[str]) -> Measured:
    """One stage, or what is known of it."""
    known = folder / f"{stage}.json"
    if known.exists():
        return Measured(**json.loads(known.read_text()))
    seeds, out = folder / "seeds.jsonl", folder / f"run-{stage}"
    if not seeds.exists():
        folder.mkdir(parents=True)
        write_seeds(seeds, records // 2)
    command = [
        *(sys.executable, "run.py", "+experiment=smoke", "evolution.rounds=1", *settings),
        *("dataset=jsonl", f"dataset.path={seeds}"),
        *(f"artifacts={folder}/artifacts", f"hydra.run.dir={out}", "~hydra.callbacks.finish"),
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed: {' '.join(command)}")
    rows = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    disk = sum(path.stat().st_size for path in (folder / "artifacts").rglob("*") if path.is_file())
    found = Measured(
        stage,
        time.monotonic() - started,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 2**10,
        disk / 2**20,
        sum(row["requests"] for row in rows),
    )
    known.write_text(json.dumps(asdict(found)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="kept; without it a temporary one")
    parser.add_argument("--all-at-once", action="store_true")
    given = parser.parse_args()
    pool = [] if given.all_at_once else ["evolution.eliminator.pool_similarity=null"]
    with tempfile.TemporaryDirectory() as temp:
        found: dict[int, list[Measured]] = {}
        print("  records stage       requests   wall s   CPU s  peak MiB  store MiB")
        for records in given.records:
            found[records] = []
            for stage, settings in STAGES.items():
                folder = (given.folder or Path(temp)) / f"{records}{'-pool' if given.all_at_once else ''}"
                one = measure(folder, records, stage, [*settings, *pool])
                found[records].append(one)
                print(
                    f"{records:9d} {stage:10s} {one.requests:9d} {one.wall:8.1f} {one.cpu:7.1f} {one.peak:9.0f} "
                    f"{one.disk:10.0f}",
                    flush=True,
                )
        few, many = min(found), max(found)
        peaks = [max(one.peak for one in found[n]) for n in (few, many)]
        seconds = [sum(one.cpu for one in found[n]) for n in (few, many)]
        grown = (peaks[1] - peaks[0]) * 2**20 / max(many - few, 1)
        print(
            f"{many / few:.1f} x the records: {peaks[1] / peaks[0]:.2f} x the peak memory ({grown:.0f} bytes for each "
            f"record more), {seconds[1] / seconds[0]:.1f} x the CPU time"
        )


if __name__ == "__main__":
    main()
