"""Beside distilabel, on the same machine in the same minutes.

    python benchmarks/peers.py [server] [kill] [evolve] [--distilabel PYTHON]

    python -m venv peer && peer/bin/pip install --no-deps distilabel==1.5.3
    peer/bin/pip install datasets httpx jinja2 multiprocess networkx openai orjson portalocker pydantic pyyaml rich \\
        "setuptools<81" tblib torch transformers typer universal_pathlib

`server`: 2,000 instructions answered by a local server that takes 50 ms for each, 50 at a time; `kill`: the same, ended
with kill -9 when half of the requests have been made, and begun again. The server keeps the books. `evolve`: one round
of Evol-Instruct by SmolLM2-135M in the process; model loading is not counted. Without --distilabel only our half runs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "backend"), str(ROOT / "tests")]

from repository import FAKES  # noqa: E402
from stub_server import StubServer  # noqa: E402

REQUESTS, LATENCY_S, AT_ONCE = 2_000, 0.05, 50
IDEAL_S = REQUESTS / AT_ONCE * LATENCY_S
RECORDS, TOKENS = 12, 48
DTYPE = "evolver.engine.dtype=float32"  # as the peer's script: not every CPU multiplies bfloat16
PATIENCE_S = 150  # for a run that was killed and begun again


def ours(folder: Path, seeds: Path, url: str) -> list[str]:
    settings = ["steps=[dataset,respond]", "metric=[]", "instructions=null", "dataset=jsonl", f"dataset.path={seeds}"]
    settings += ["dataset.columns={input: null, output: null}", "respond.sampling.max_tokens=2048"]
    settings += ["backend@teacher=api", f"teacher.base_url={url}", "teacher.served_name=stub", "teacher.key_env=null"]
    settings += [f"teacher.engine.concurrency={AT_ONCE}"]
    where = [f"artifacts={folder}/artifacts", f"hydra.run.dir={folder}/run", "~hydra.callbacks.finish"]
    return [sys.executable, "run.py", "+experiment=smoke", *FAKES, *settings, *where]


def our_rows(folder: Path, printed: str) -> list[list[str]]:
    (path,) = folder.glob("artifacts/respond-*/records.jsonl")
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [[row["instruction"], row["output"]] for row in rows]


def theirs(python: str) -> Callable[[Path, Path, str], list[str]]:
    script = Path(__file__).with_name("peer_distilabel.py")
    return lambda folder, seeds, url: [python, str(script), "answer", str(seeds), url, str(AT_ONCE), str(folder)]


def their_rows(folder: Path, printed: str) -> list[list[str]]:
    return json.loads(printed.splitlines()[-1])["rows"]


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str], patience: float = 600) -> str:
    printed, said = process.communicate(timeout=patience)
    if process.returncode:
        raise SystemExit(f"{process.args} failed:\n{said[-3000:]}")
    return printed


def write_seeds(path: Path) -> None:
    path.write_text("".join(json.dumps({"instruction": f"Question number {n}?"}) + "\n" for n in range(REQUESTS)))


def answered(rows: Sequence[Sequence[str]]) -> int:
    """Instructions that have the answer which belongs to them."""
    return len({asked for asked, said in rows if said == f"echo: {asked}"})


def ask(
    name: str, command: Callable[[Path, Path, str], list[str]], rows: Callable[[Path, str], list[list[str]]]
) -> None:
    with tempfile.TemporaryDirectory() as temp, StubServer(latency=LATENCY_S) as server:
        folder, seeds = Path(temp), Path(temp) / "seeds.jsonl"
        write_seeds(seeds)
        began = time.monotonic()
        printed = finish(start(command(folder, seeds, server.url)))
        wall = time.monotonic() - began
        span = server.asked[-1].at - server.asked[0].at + LATENCY_S
        print(
            f"{name:11s} {span:6.2f} s from the first request to the last answer, {span / IDEAL_S:.2f} x the ideal "
            f"{IDEAL_S:.2f} s; {wall:.1f} s the whole process; at most {server.peak} at once; "
            f"{answered(rows(folder, printed))} of {REQUESTS} answered",
            flush=True,
        )


def killed(
    name: str, command: Callable[[Path, Path, str], list[str]], rows: Callable[[Path, str], list[list[str]]]
) -> None:
    with tempfile.TemporaryDirectory() as temp, StubServer(latency=LATENCY_S) as server:
        folder, seeds = Path(temp), Path(temp) / "seeds.jsonl"
        write_seeds(seeds)
        process = start(command(folder, seeds, server.url))
        while len(server.asked) < REQUESTS // 2 and process.poll() is None:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = len(server.asked)
        again = start(command(folder, seeds, server.url))
        try:
            printed = finish(again, PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(again.pid, signal.SIGKILL)
            again.communicate()
            quiet = time.monotonic() - max((asked.at for asked in server.asked[before:]), default=0.0)
            print(
                f"{name:11s} killed after {before} requests, then {len(server.asked) - before} more; not through after "
                f"{PATIENCE_S} s" + (f", the last {quiet:.0f} s without a request" if server.asked[before:] else "")
            )
            return
        times = Counter(json.dumps(asked.body["messages"]) for asked in server.asked)
        print(
            f"{name:11s} killed after {before} requests, then {len(server.asked) - before} more; "
            f"{sum(times.values()) - len(times)} asked twice, {REQUESTS - answered(rows(folder, printed))} rows lost",
            flush=True,
        )


def evolve(python: str | None) -> None:
    from hydra import compose, initialize_config_dir

    from evodistill import config
    from evodistill.backend import Sampling, chat
    from evodistill.record import Record

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(
            "config",
            ["model@evolver=smollm2-135m", "evolution.rounds=1", f"evolution.sampling.max_tokens={TOKENS}", DTYPE],
        )
    model, step, dataset = config.build(cfg.evolver), config.build(cfg.evolution), config.build(cfg.dataset)
    seeds = [record for record in dataset([], {}) if not record.input][:RECORDS]
    records = [Record.seed(record.instruction, index=number) for number, record in enumerate(seeds)]
    model.generate([chat("Hello")], Sampling(max_tokens=8))  # opened and warm
    began, cpu = time.monotonic(), time.process_time()
    made = step(records, {"evolver": model})
    ours_s, cpu = time.monotonic() - began, time.process_time() - cpu
    written = sum(record.origin.completion_tokens for record in made)
    print(
        f"evodistill  {len(records) / ours_s:.2f} records/s, {written} tokens, {ours_s:.1f} s, {cpu:.1f} s of CPU",
        flush=True,
    )
    if not python:
        return
    with tempfile.TemporaryDirectory() as temp:
        path = Path(temp) / "seeds.jsonl"
        path.write_text("".join(json.dumps({"instruction": record.instruction}) + "\n" for record in records))
        script = str(Path(__file__).with_name("peer_distilabel.py"))
        folder = str(model.weights.folder)
        model.close()
        found = json.loads(finish(start([python, script, "evolve", str(path), folder, str(TOKENS)])).splitlines()[-1])
    theirs_s = found["seconds"]
    print(
        f"distilabel  {len(records) / theirs_s:.2f} records/s, {theirs_s:.1f} s, {found['cpu']:.1f} s of CPU; "
        f"{theirs_s / ours_s:.2f} x our time, {found['cpu'] / cpu:.2f} x our CPU time for the same records"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["server", "kill", "evolve", []], default=[])
    parser.add_argument("--distilabel", metavar="PYTHON", help="of the environment that has it")
    given = parser.parse_args()
    sides = {"evodistill": (ours, our_rows)}
    if given.distilabel:
        sides["distilabel"] = (theirs(given.distilabel), their_rows)
    for part in given.parts or ["server", "kill", "evolve"]:
        if part == "evolve":
            evolve(given.distilabel)
        for name, (command, rows) in sides.items() if part != "evolve" else ():
            (ask if part == "server" else killed)(name, command, rows)


if __name__ == "__main__":
    main()
