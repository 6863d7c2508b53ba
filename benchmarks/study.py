"""What the end of a study costs: 200 jobs × 1,000 records to tables, comparison, figures and report.

    python benchmarks/study.py [--jobs 200] [--records 1000] [--folder FOLDER]

The folders are written by the runner's own code (2 evolvers × 4 data sets × random seeds, four rounds, three metrics).
Each part is timed in a process of its own, with its peak memory.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from evodistill import results
from evodistill.metric import Score
from evodistill.record import Record, to_line
from evodistill.store import Store, write_json, write_lines

ROOT = Path(__file__).parents[1]
EVOLVERS = ("small-1b", "large-70b")
DATASETS = ("alpaca", "gsm8k", "code_alpaca", "tiny")
ROUNDS = 3
LABELS = ("very easy", "easy", "medium", "hard", "very hard")
PARTS = {
    "collect": "from analysis.collect import collect; collect(folder)",
    "compare": "from analysis.load import load; load(folder)",
    "all of it, with figures and report": "from analysis.study import finish; print(finish(folder))",
}


def write_study(folder: Path, jobs: int, records: int) -> None:
    store = Store(folder / "artifacts")
    for number in range(jobs):
        evolver, dataset = EVOLVERS[number % 2], DATASETS[number // 2 % 4]
        seed = number // 8
        facts = {"study": "synthetic", "seed": seed, "dataset": dataset, "evolution": "evol_instruct"}
        facts |= {"evolver": evolver, "teacher": "teacher-72b", "student": "student-8b", "judge": "judge-72b"}
        write_job(folder / f"synthetic-{number}", store, facts, records // (ROUNDS + 1))


def write_job(out: Path, store: Store, facts: dict, seeds: int) -> None:
    rng = random.Random(f"{facts}")
    out.mkdir(parents=True)
    made, lost = [], []
    for index in range(seeds):
        record = Record.seed(f"Explain case {index} of {facts['dataset']} to a friend.", index=index)
        made.append(record)
        for number in range(1, ROUNDS + 1):
            text = f"{record.instruction} Give reason {rng.random():.6f} and compare it with another one."
            child = record.child(text, step="evolution", round=number, operation="deepening", model=facts["evolver"])
            (lost if rng.random() < 0.1 else made).append(child)
            record = child
    lost = [record.reject("unchanged", raw="…") for record in lost]
    files = {
        "records.jsonl": (to_line(record.to_dict()) for record in made),
        "rejects.jsonl": (to_line(record.to_dict()) for record in lost),
    }
    place = store.folder("evolution", facts)
    manifest = store.write(
        place, files, {"step": "evolution", "key": facts, "in": seeds, "made": len(made) + len(lost)}
    )
    metrics: dict = {}
    for name, scores in measured(made, facts["evolver"] == EVOLVERS[0], rng):
        rows = [score.to_dict() for score in scores]
        (out / "scores").mkdir(exist_ok=True)
        write_lines(out / "scores" / f"{name}.jsonl", (to_line(row) for row in rows))
        metrics |= results.summarize(rows, facts["seed"])
    counts = {key: manifest.get(key, 0) for key in ("in", "made", "out", "rejected")}
    step = {"step": "evolution", "hash": "0", "path": str(place), **counts, "seconds": 1.0, "reused": False}
    step |= {"requests": seeds * ROUNDS, "cached": 0, "prompt_tokens": 9_000, "completion_tokens": 9_000}
    write_lines(out / "steps.jsonl", [to_line(step)])
    write_json(out / "metrics.json", {"metrics": metrics, "rounds": results.by_round(made, lost)})
    write_json(out / "status.json", {"status": "completed", "error": "", "seconds": 1.0, "run": out.name} | facts)
    (out / ".hydra").mkdir()
    overrides = [f"model@evolver={facts['evolver']}", f"dataset={facts['dataset']}", f"seed={facts['seed']}"]
    (out / ".hydra" / "overrides.yaml").write_text("".join(f"- {word}\n" for word in overrides))
    (out / ".hydra" / "config.yaml").write_text(f"study: synthetic\nseed: {facts['seed']}\n")


def measured(records: list[Record], small: bool, rng: random.Random) -> Iterator[tuple[str, list[Score]]]:
    def hard(record: Record) -> int:
        return min(4, max(0, record.origin.round + small + rng.choice((-1, 0, 0, 1))))

    rates = [(record, hard(record)) for record in records]
    yield "complexity_rate", [Score.of(r, {"complexity_rate": k + 1.0}, label=LABELS[k]) for r, k in rates]
    yield "complexity_score", [Score.of(r, {"complexity_score": 20.0 * k + rng.random()}) for r, k in rates]
    yield (
        "ifd",
        [Score.of(r, {"ifd": rng.random(), "ic_ifd": rng.random(), "loss_answer": rng.random()}) for r in records],
    )


def timed(code: str, folder: Path) -> tuple[float, float, float]:
    """(seconds, seconds of processor, peak GiB) of a process."""
    program = f"from pathlib import Path; folder = Path({str(folder)!r}); {code}"
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {code}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="where to write the study and leave it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        folder = (given.folder or Path(temp)) / "study"
        started = time.monotonic()
        write_study(folder, given.jobs, given.records)
        print(f"{given.jobs} jobs × {given.records} records written in {time.monotonic() - started:.1f} s")
        baseline = {"(the libraries alone)": "import pandas, scipy.stats, matplotlib.figure"}
        for name, code in (baseline | PARTS).items():
            seconds, busy, memory = timed(code, folder)
            print(f"{name:36s} {seconds:6.1f} s ({busy:.1f} s of processor)  {memory:5.2f} GiB peak", flush=True)


if __name__ == "__main__":
    main()
