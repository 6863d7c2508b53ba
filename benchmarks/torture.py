"""Break it, and count: what was tried, what survived, what was lost.

    python benchmarks/torture.py [kill] [processes] [hostile] [long] [--kills 50] [--pipelines evol_instruct …]

All models are answered by a local server that keeps its own books, so that what was asked twice is known even of a
process that was killed. Ends with an exit code where anything was lost.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "backend"), str(ROOT / "tests")]

from repository import FAKES  # noqa: E402
from stub_server import Fault, StubServer  # noqa: E402

from evodistill.backend import Request, Sampling, chat  # noqa: E402
from evodistill.backend.api import API  # noqa: E402
from evodistill.backend.fake import Fake  # noqa: E402

CONCURRENCY = 8
UNSTORED = 3 * CONCURRENCY  # under way, and answered but not yet stored: twice as many wait at most
ASKED = ("evolver", "teacher", "judge", "optimizer")  # roles behind the server; the others do not write
# every evolution, and every stage that makes or chooses records
PIPELINES = {
    "evol_instruct": ["+experiment=smoke", "dataset.limit=20"],
    "auto_evol": ["+experiment=auto_evol_search", "dataset=tiny", "dataset.limit=16", "tracker=none"],
    "autoif": ["+experiment=autoif_tiny", "dataset@queries.dataset=tiny", "dataset.limit=10", "tracker=none"],
    "distilqwen2": ["+experiment=distilqwen2_data", "dataset=tiny", "dataset.limit=16", "tracker=none"],
    "tapir": ["+experiment=tapir", "dataset=tiny", "dataset.limit=16", "tracker=none"],
    "documents": ["+experiment=document_seeds", "dataset=tiny", "dataset.limit=8", "quality.min_chars=10"],
}
FAULTS = {
    "429 with Retry-After": Fault("429", retry_after="0.02"),
    "500": Fault("500"),
    "502": Fault("502"),
    "reset": Fault("reset"),
    "time-out": Fault("time_out"),
    "half a body": Fault("half_body"),
    "invalid JSON": Fault("invalid_json"),
    "empty choices": Fault("empty_choices"),
    "wrong ids": Fault("wrong_ids"),
    "slow drip": Fault("slow_drip"),
}


class Answering(StubServer):
    """Replies by the rules of the fake backend, and counts the bodies that it was asked."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        rules = yaml.safe_load((ROOT / "conf/backend/fake.yaml").read_text(encoding="utf-8"))["rules"]
        self.fake = Fake("fake", rules=rules)

    def reply(self, body: dict[str, Any], kind: str) -> dict[str, Any]:
        made = super().reply(body, kind)
        if made["choices"]:
            request = Request(body["messages"], Sampling(), 0, f"{2 * body['seed']:016x}")
            answer = self.fake.reply(request)
            made["choices"][0] |= {"finish_reason": answer.finish_reason}
            made["choices"][0]["message"]["content"] = answer.text
        return made

    @property
    def repeated(self) -> int:
        """Requests that were asked again."""
        bodies = Counter(json.dumps(asked.body, sort_keys=True) for asked in self.asked)
        return sum(bodies.values()) - len(bodies)


@dataclass
class Line:
    """A row of the table."""

    what: str
    tried: int
    survived: int
    lost: int
    note: str = ""


NURSERY = """
import json, os, sys
import httpx, numpy, pandas, rapidfuzz, rensa, scipy.stats, typeguard
from pathlib import Path
from hydra import compose, initialize_config_dir
from evodistill.pipeline import run
for line in sys.stdin:
    overrides, out = json.loads(line)
    if (pid := os.fork()) == 0:
        os.setsid()
        with initialize_config_dir(sys.argv[1], version_base="1.3"):
            run(compose("config", overrides=overrides), Path(out))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Nursery:
    """Runs are forked from a process that has imported everything: a kill meets work, not the start of Python."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(ROOT / "conf")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        )

    def run(self, overrides: list[str], out: Path, seconds: float | None = None) -> bool:
        """Whether the run came to its end; killed after so many seconds."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps([overrides, str(out)]), file=self.process.stdin, flush=True)
        pid = int(self.process.stdout.readline())
        if seconds is not None:
            ready = select.select([self.process.stdout], [], [], seconds)[0]
            if not ready:
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.killpg(pid, signal.SIGKILL)
        code = int(self.process.stdout.readline())
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"the run failed:\n{self.log.read_text()[-3000:]}")
        return code == 0

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def settings(folder: Path, url: str, overrides: list[str]) -> list[str]:
    words = [*overrides, *FAKES, f"artifacts={folder}/artifacts"]
    for role in ASKED:
        words += [f"backend@{role}=api", f"{role}.base_url={url}", f"{role}.served_name=fake", f"{role}.key_env=null"]
        words += [f"{role}.engine.concurrency={CONCURRENCY}", f"{role}.engine.backoff_s=0.01"]
    return words


def digest_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the artifacts but the manifests, which hold times."""
    files = [path for path in sorted((folder / "artifacts").glob("*/*")) if path.name != "manifest.json"]
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kill(kills: int, names: list[str]) -> Iterator[Line]:
    """kill -9 at random moments, the same command again, until all kills are done; then once to the end."""
    rng = random.Random(0)
    for number, name in enumerate(names):
        overrides = PIPELINES[name]
        share = kills // len(names) + (number < kills % len(names))
        with tempfile.TemporaryDirectory() as temp, Answering(latency=0.03) as server:
            whole, hurt, nursery = Path(temp) / "whole", Path(temp) / "hurt", Nursery(Path(temp))
            started = time.monotonic()
            nursery.run(settings(whole, server.url, overrides), whole / "run")
            seconds, asked, twice = time.monotonic() - started, len(server.asked), server.repeated
            good, done, again, notes = 0, 0, 0, Counter[str]()
            while (
                done < share
            ):  # several kills of one run, until it ends or all are done; then what it left is looked at
                server.asked.clear()
                struck = 0
                while done + struck < share and not nursery.run(
                    settings(hurt, server.url, overrides), hurt / "run", rng.uniform(0.02, 0.6) * seconds
                ):
                    struck += 1
                nursery.run(settings(hurt, server.url, overrides), hurt / "run")
                repeated = server.repeated - twice
                lost = digest_of(whole) != digest_of(hurt)
                left = len(list(hurt.rglob("*.tmp")))
                notes += Counter(
                    {"other bytes": lost, "temp files": left, "too many repeated": repeated > UNSTORED * struck}
                )
                good += 0 if lost or left or repeated > UNSTORED * struck else struck
                done, again = done + struck, again + repeated
                shutil.rmtree(hurt)
            nursery.close()
            note = f"{asked} requests in {seconds:.1f} s, {again} repeated after {done} kills"
            note += "".join(f", {what} {n}" for what, n in notes.items() if n)
            yield Line(f"kill -9: {name}", done, good, done - good, note)


def processes() -> Iterator[Line]:
    """Several processes with the same settings on one store and one cache; then with last steps of their own."""
    for n in (2, 4):
        for what, differ in (("the same steps", False), ("another last step each", True)):
            with tempfile.TemporaryDirectory() as temp, Answering(latency=0.03) as server:
                whole, shared = Path(temp) / "whole", Path(temp) / "shared"
                nurseries = [Nursery(Path(temp)) for _ in range(n)]
                overrides = PIPELINES["evol_instruct"]
                nurseries[0].run(settings(whole, server.url, overrides), whole / "run")
                asked, twice = len(server.asked), server.repeated
                server.asked.clear()

                def job(
                    k: int,
                    overrides: list[str] = overrides,
                    shared: Path = shared,
                    url: str = server.url,
                    d: bool = differ,
                ) -> list[str]:
                    more = [f"respond.sampling.max_tokens={2048 + k}"] if d else []
                    return settings(shared, url, [*overrides, *more])

                with ThreadPoolExecutor(n) as pool:
                    places = [shared / f"run-{k}" for k in range(n)]
                    ended = pool.map(Nursery.run, nurseries, map(job, range(n)), places)
                    good = sum(ended)
                for nursery in nurseries:
                    nursery.close()
                first, second = digest_of(whole), digest_of(shared)
                same = all(second[name] == value for name, value in first.items() if name in second)
                fine = good if same and server.repeated <= twice and (differ or first == second) else 0
                note = f"{asked} requests alone, {len(server.asked)} together, {server.repeated - twice} asked twice"
                yield Line(f"{n} processes: {what}", n, fine, n - fine, note)


def hostile(n: int = 300) -> Iterator[Line]:
    """A server that fails 30 % of all attempts, in one way or in all of them."""
    for what, kinds in [*((name, [fault]) for name, fault in FAULTS.items()), ("all of them", list(FAULTS.values()))]:
        rng = random.Random(0)

        def fault(number: int, body: Any, kinds: list[Fault] = kinds, rng: random.Random = rng) -> Fault | None:
            return rng.choice(kinds) if rng.random() < 0.3 else None

        with StubServer(faults=fault, latency=0.002) as server:
            # long enough for sound replies on a busy machine: what comes too late is billed and told to nobody
            wait = 3.0 if any(fault.kind in ("time_out", "slow_drip") for fault in kinds) else 60.0
            engine = {"backoff_s": 0.002, "timeout_s": wait, "breaker": 10_000, "concurrency": 32, "retries": 6}
            api = API(name="stub", path="stub", base_url=server.url, key_env=None, engine=engine)
            started = time.monotonic()
            answers = api.generate([chat(f"question {i}") for i in range(n)], Sampling())
            seconds = time.monotonic() - started
            right = sum(answer.text == f"echo: question {i}" for i, answer in enumerate(answers))
            told = sum(bool(answer.error) for answer in answers)
            books = (api.ledger.prompt_tokens, api.ledger.completion_tokens, api.ledger.attempts)
            agree = books == (server.prompt_tokens, server.completion_tokens, len(server.asked))
            note = f"{right} answers, {told} with a reason, {len(server.asked)} attempts, {seconds:.1f} s, books "
            survived = right + told if agree else 0
            yield Line(f"server: {what}", n, survived, n - survived, note + ("agree" if agree else "DIFFER"))


def long(seconds: float = 30.0) -> Iterator[Line]:
    """The same work over and over in one process, with new requests each time: nothing may grow."""
    code = f"""
import gc, os, sys, threading, time
sys.path[:0] = {[str(ROOT / "tests")]!r}
from pathlib import Path
import tempfile
from hydra import compose, initialize_config_dir
from evodistill.pipeline import run
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
def handles():
    return len(os.listdir("/proc/self/fd"))
ended, n = time.monotonic() + {seconds}, 0
with initialize_config_dir({str(ROOT / "conf")!r}, version_base="1.3"), tempfile.TemporaryDirectory() as temp:
    while time.monotonic() < ended or n < 10:
        n += 1
        settings = ["+experiment=smoke", f"artifacts={{temp}}/artifacts", "dataset.limit=24", f"seed={{n}}"]
        run(compose("config", overrides=settings), Path(temp) / f"run-{{n}}")
        gc.collect()
        print(n, round(resident(), 1), handles(), threading.active_count(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    rows = [[float(part) for part in line.split()] for line in done.stdout.splitlines()]
    settled, last = rows[len(rows) // 3], rows[-1]
    rounds = last[0] - settled[0]
    grown = (last[1] - settled[1]) / max(rounds, 1)
    fine = grown < 0.25 and last[2] <= settled[2] and last[3] <= settled[3]
    note = f"{last[1]:.0f} MiB after {settled[1]:.0f}, {last[2]:.0f} handles after {settled[2]:.0f}, "
    note += f"{last[3]:.0f} threads after {settled[3]:.0f}"
    n = int(last[0])
    yield Line(f"long run: {n} whole runs in one process", n, n if fine else 0, 0 if fine else n, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["kill", "processes", "hostile", "long", []], default=[])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--pipelines", nargs="*", choices=PIPELINES, default=list(PIPELINES), help="to kill")
    given = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[Line]]] = {
        "kill": lambda: kill(given.kills, given.pipelines),
        "processes": processes,
        "hostile": hostile,
        "long": long,
    }
    lost = 0
    print(f"{'what':44s} {'tried':>6s} {'survived':>9s} {'lost':>5s}")
    for name in given.parts or parts:
        for line in parts[name]():
            lost += line.lost
            print(f"{line.what:44s} {line.tried:6d} {line.survived:9d} {line.lost:5d}  {line.note}", flush=True)
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
