"""What the request cache and the store cost on a real engine: the same requests bare, and through both.

    python benchmarks/cache.py [--model smollm2-135m] [--requests 96]

Bare and cached runs alternate, each on fresh requests of the same lengths; the last line asks the known ones again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from hydra import compose, initialize_config_dir

from evodistill.backend import Sampling, chat
from evodistill.backend.cache import Cache, Cached
from evodistill.config import build
from evodistill.record import Record, to_line
from evodistill.store import Store

ROOT = Path(__file__).parents[1]
PAIRS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--requests", type=int, default=96)
    given = parser.parse_args()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        model = build(compose("config", overrides=[f"model@teacher={given.model}"]).teacher)
    sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=32)

    def chats(part: int) -> list:
        return [chat(f"Tell me {number} things about the number {1000 + part}.") for number in range(given.requests)]

    model.generate(chats(0)[:8], sampling)  # open the engine
    times: dict[str, list[float]] = {"bare": [], "cached": []}
    with tempfile.TemporaryDirectory() as temp:
        cached = Cached(model, Cache(Path(temp) / "requests.sqlite"))
        store = Store(Path(temp))
        for pair in range(PAIRS):
            # the same chats, so that the same tokens are drawn; the order within a pair changes
            for kind in ("bare", "cached") if pair % 2 else ("cached", "bare"):
                started = time.monotonic()
                replies = (model if kind == "bare" else cached).generate(chats(pair), sampling)
                if kind == "cached":
                    lines = (to_line(Record.seed(reply.text, index=i).to_dict()) for i, reply in enumerate(replies))
                    store.write(store.folder("bench", {"pair": pair}), {"records.jsonl": lines}, {})
                times[kind].append(time.monotonic() - started)
        bare, kept = median(times["bare"]), median(times["cached"])
        ratio = median(b / a for a, b in zip(times["bare"], times["cached"], strict=True))
        print(
            f"{given.requests} requests to {given.model}: bare {bare:.2f} s, "
            f"with cache and store {kept:.2f} s, ratio {ratio:.3f}"
        )
        before = cached.usage.requests
        started = time.monotonic()
        cached.generate(chats(0), sampling)
        print(f"the same again: {time.monotonic() - started:.3f} s, {cached.usage.requests - before} requests")


if __name__ == "__main__":
    main()
