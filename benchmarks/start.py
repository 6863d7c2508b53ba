"""How long the command line takes to answer, beside a Python that only imports Hydra.

python benchmarks/start.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
RUNS = 7
HYDRA = [sys.executable, "-c", "import hydra"]
COMMANDS = {
    "run.py --help": [sys.executable, "run.py", "--help"],
    "run.py --cfg job": [sys.executable, "run.py", "+experiment=quickstart", "--cfg", "job"],
}
HEAVY = ("torch", "transformers", "vllm", "datasets", "wandb", "pandas", "matplotlib", "scipy")


def seconds(command: list[str]) -> float:
    times = []
    for _ in range(RUNS):
        started = time.monotonic()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        times.append(time.monotonic() - started)
    return median(times)


def main() -> None:
    base = seconds(HYDRA)
    print(f"{'import hydra':20s} {base:.2f} s")
    for name, command in COMMANDS.items():
        took = seconds(command)
        print(f"{name:20s} {took:.2f} s  {took / base:.1f} x import hydra")
        traced = subprocess.run(
            [sys.executable, "-X", "importtime", *command[1:]], cwd=ROOT, capture_output=True, text=True
        )
        imported = {line.rsplit("|", 1)[-1].strip() for line in traced.stderr.splitlines() if "|" in line}
        if heavy := [module for module in HEAVY if module in imported]:
            sys.exit(f"{name} imports {', '.join(heavy)}")


if __name__ == "__main__":
    main()
