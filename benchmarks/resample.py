"""Resampling beside the plain way: draw per class with floors, as the published script does, with no ids and no report.

    python benchmarks/resample.py [--rows 100000]

The rows have their class already: what is timed is the draw itself, with ids, reasons and the table of the mix.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections import Counter
from pathlib import Path

from omegaconf import OmegaConf

from evodistill.distill.label import Label
from evodistill.distill.resample import Resample
from evodistill.record import Record

CONF = Path(__file__).parents[1] / "conf" / "distill"


def rows(n: int, classes: list[str]) -> list[Record]:
    """Rows of all classes, the first ones far more often than the last."""
    rng = random.Random(0)
    weights = [1 / (number + 1) for number in range(len(classes))]
    drawn = rng.choices(classes, weights, k=n)
    return [
        Record.seed(f"Instruction {number} of {name}", index=number, category=name) for number, name in enumerate(drawn)
    ]


def plainly(records: list[Record], shares: dict[str, float]) -> list[dict[str, str]]:
    by: dict[str, list[Record]] = {}
    for record in records:
        by.setdefault(record.extra["category"], []).append(record)
    out = []
    for name, share in shares.items():
        there, n = by.get(name, []), int(len(records) * share)
        if there:
            whole, rest = divmod(n, len(there))
            out += [*there * whole, *random.sample(there, rest)]
    return [{"instruction": record.instruction, "category": record.extra["category"]} for record in out]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    logging.disable(logging.INFO)
    classes = OmegaConf.to_container(OmegaConf.load(CONF / "label.yaml").classes)
    shares = OmegaConf.to_container(OmegaConf.load(CONF / "resample.yaml").shares)
    records = rows(given.rows, list(classes))
    started = time.perf_counter()
    baseline = plainly(records, shares)
    plain = time.perf_counter() - started
    print(f"{'plain':14s} {plain:6.2f} s  {len(baseline):7d} of {given.rows} rows kept")
    for deficit in ("repeat", "cap_repeat", "redistribute"):
        step = Resample(labels=Label(classes, model=None), shares=shares, deficit=deficit)
        started = time.perf_counter()
        made = step(records, {})
        seconds = time.perf_counter() - started
        kept = Counter(record.fault is None for record in made.records)[True]
        print(f"{deficit:14s} {seconds:6.2f} s  {kept:7d} of {given.rows} rows kept  {seconds / plain:5.1f} x")


if __name__ == "__main__":
    main()
