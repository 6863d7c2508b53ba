"""A day of asking a server, by a clock that runs fast: nothing may grow that is not asked for.

    python benchmarks/day.py [--hours 24] [--speed 480]

One process asks a local server all day, at most six requests a minute, in calls of 60; each goes through
the request cache. A fifth of the attempts fail, in every way that the stub server knows. All waiting (limits,
back-off, time-outs, latency) is that of a clock `speed` times as fast as ours; `--speed 1` is a real day. Printed are
memory, open handles and threads by the hour. Ends with an exit code where they grew.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import selectors
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "backend"), str(ROOT / "tests")]

from stub_server import Fault, StubServer  # noqa: E402

from evodistill.backend import Sampling, chat  # noqa: E402
from evodistill.backend.api import API  # noqa: E402
from evodistill.backend.cache import Cache, Cached  # noqa: E402

PER_MINUTE, CALL_S = 6, 600
KINDS = ("429", "500", "502", "reset", "time_out", "half_body", "invalid_json", "empty_choices", "slow_drip")
SETTLED = 0.25  # of the day, after which nothing grows
HANDLES = 2  # more or less in use at the moment of looking: the server's half of broken connections is among them
MEMORY_MIB = 8.0  # that it may still grow: pages of the heap and of SQLite


def fast(speed: float) -> type[asyncio.SelectorEventLoop]:
    """An event loop in whose time a second of ours is `speed` seconds."""

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            return super().select(timeout / speed if timeout and timeout > 0 else timeout)

    class Loop(asyncio.SelectorEventLoop):
        def __init__(self) -> None:
            super().__init__(Selector())

        def time(self) -> float:
            return super().time() * speed

    return Loop


def state() -> tuple[float, int, int]:
    """(MiB resident, open handles, threads)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd")), threading.active_count()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--speed", type=float, default=480)
    given = parser.parse_args()
    asyncio.new_event_loop = fast(given.speed)  # the server's loop and those of the API

    def now() -> float:
        return time.monotonic() * given.speed

    rng = random.Random(0)

    def fault(number: int, body: Any) -> Fault | None:
        kind = rng.choice(KINDS)
        return Fault(kind, retry_after="20" if kind == "429" else "") if rng.random() < 0.2 else None

    samples: list[tuple[float, int, int]] = []
    with tempfile.TemporaryDirectory() as temp, StubServer(latency=2.0, faults=fault) as server:
        engine = {
            "requests_per_minute": PER_MINUTE,
            "timeout_s": 600,
            "connect_timeout_s": 3600,
            "backoff_s": 5,
            "max_wait_s": 60,
            "breaker": 10**6,
        }
        api = API(name="stub", path="stub", base_url=server.url, key_env=None, engine=engine)
        api.requests_bucket.clock = api.tokens_bucket.clock = now
        api.requests_bucket.stamp = api.tokens_bucket.stamp = now()
        api.servers.clock = now
        model = Cached(api, Cache(Path(temp) / "requests.sqlite"))
        began, call, told, asked, answered, failed = now(), 0, 0, 0, 0, 0
        print("  hour  requests  answered  given up   MiB  handles  threads", flush=True)
        while now() - began < given.hours * 3600:
            call += 1
            chats = [chat(f"question {call}.{n}") for n in range(PER_MINUTE * CALL_S // 60)]
            replies = model.generate(chats, Sampling())
            asked += len(replies)
            failed += sum(bool(reply.error) for reply in replies)
            answered += sum(reply.text == f"echo: question {call}.{n}" for n, reply in enumerate(replies))
            server.asked.clear()  # the server's books are no part of what is measured
            samples.append(state())
            hours = (now() - began) / 3600
            if hours >= told:
                memory, handles, threads = samples[-1]
                print(
                    f"{hours:6.1f}  {asked:8d}  {answered:8d}  {failed:8d}  {memory:4.0f}  {handles:7d}  {threads:7d}",
                    flush=True,
                )
                told = int(hours) + 1
        seconds = (now() - began) / given.speed
    settled = samples[int(SETTLED * len(samples)) :]
    half = len(settled) // 2
    before, after = settled[:half], settled[half:]
    grown = [median(one[k] for one in after) - median(one[k] for one in before) for k in range(3)]
    print(
        f"{hours:.1f} hours in {seconds:.0f} s, {call} calls; second half of the settled day beside the first: "
        f"{grown[0]:+.1f} MiB, {grown[1]:+.0f} handles, {grown[2]:+.0f} threads; "
        f"{asked - answered - failed} requests without an answer or a reason"
    )
    sys.exit(grown[0] > MEMORY_MIB or grown[1] > HANDLES or grown[2] > 0 or asked != answered + failed)


if __name__ == "__main__":
    main()
