"""How fast generated code is checked in the sandbox: cross-validation's shape, beside one process per call.

    python benchmarks/sandbox.py [--instructions 1000] [--replies eval_func_rft.jsonl] [--sandbox bubblewrap]

Each instruction has 8 functions, each called with 24 texts. Functions are ours, or those of a file of AutoIF.
The baseline starts a bare Python for each call of a sample, as many at a time, without any limit or namespace.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

from hydra.utils import get_class

from evodistill.autoif import function_reply
from evodistill.sandbox import Outcome, Program

FUNCTIONS, CASES, SAMPLE = 8, 24, 96
OURS = [
    "def evaluate(response):\n    return ',' not in response",
    "import re\ndef evaluate(response):\n    return len(re.findall(r'\\b\\w+\\b', response)) <= 12",
    "import string\ndef words(text):\n    return [word.strip(string.punctuation).lower() for word in text.split()]\n"
    "def evaluate(response):\n    found = [word for word in words(response) if word]\n"
    "    return all(a[0] != b[0] for a, b in zip(found, found[1:]))",
    "import json\ndef evaluate(response):\n    try:\n        return isinstance(json.loads(response), dict)\n"
    "    except ValueError:\n        return False",
    "from collections import Counter\ndef evaluate(response):\n"
    "    return max(Counter(response.lower().split()).values(), default=0) <= 2",
    "def evaluate(response):\n    lines = [line for line in response.splitlines() if line.strip()]\n"
    "    return len(lines) > 1 and all(line.lstrip().startswith(('-', '*')) for line in lines)",
    "def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))\n"
    "def evaluate(response):\n    return is_prime(len(response.split()))",
    "def evaluate(response):\n    return response[0].isupper() and response.rstrip()[-1] in '.!?'",  # fails on ''
]
TEXTS = [
    "",
    "A short answer.",
    "tea, coffee, water",
    '{"a": 1}',
    "- one\n- two\n- three",
    "Why? Because it is so. " * 8,
]

ALONE = """
import json, sys
code, text = json.load(sys.stdin)
space = {"__name__": "program"}
try:
    exec(code, space)
    value = space["evaluate"](text)
except Exception:
    value = None
print(json.dumps(value))
"""


def material(path: Path | None) -> tuple[list[str], list[str]]:
    """Functions and texts."""
    if path is None:
        return OURS, TEXTS
    codes, texts = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        for reply in json.loads(line)["gpt-answer"]:
            if (written := function_reply.read(reply).value) is not None:
                codes.append(written.code)
                texts += [text for text, _ in written.cases]
    return codes, texts


def programs(codes: list[str], texts: list[str], n: int) -> Iterator[Program]:
    for code, start in islice(zip(cycle(codes), cycle(range(len(texts)))), n):
        yield Program(code, "evaluate", [[text] for text in islice(cycle(texts), start, start + CASES)])


def alone(call: tuple[str, str]) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE], input=json.dumps(call), capture_output=True, text=True
    )
    return Outcome(json.loads(done.stdout))


def resident() -> float:
    """MiB held by this process and by all that it has started."""
    total = 0
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
        except OSError:
            continue  # it has ended
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", type=int, default=1000)
    parser.add_argument("--replies", type=Path)
    parser.add_argument("--sandbox", default="bubblewrap")
    given = parser.parse_args()
    codes, texts = material(given.replies)
    sandbox = get_class(f"evodistill.sandbox.{given.sandbox}.{given.sandbox.capitalize()}")()
    n = given.instructions * FUNCTIONS
    reasons: Counter[str] = Counter()
    held: list[float] = []
    started = time.monotonic()
    for number, outcomes in enumerate(sandbox.run(programs(codes, texts, n)), 1):
        reasons.update(outcome.reason or "value" for outcome in outcomes)
        if number % max(1, n // 10) == 0:
            held.append(resident())
    seconds = time.monotonic() - started
    checks = reasons.total()
    told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    print(
        f"{given.instructions} instructions x {FUNCTIONS} functions x {CASES} cases, {len(codes)} different functions"
    )
    print(f"sandbox {given.sandbox}: {seconds:.1f} s, {checks / seconds:,.0f} checks/s ({told})")
    print(f"memory, this process and all workers: {held[0]:.0f} MiB after a tenth, {max(held):.0f} MiB at most")

    sample = [(program, call) for program in programs(codes, texts, n) for call in program.calls][
        :: max(1, checks // SAMPLE)
    ]
    started = time.monotonic()
    with ThreadPoolExecutor(sandbox.workers or os.cpu_count()) as pool:
        bare = list(pool.map(alone, [(program.code, str(call[0])) for program, call in sample]))
    each = len(sample) / (time.monotonic() - started)
    print(f"one process per call: {each:,.0f} checks/s on {len(sample)} calls; ratio {checks / seconds / each:.0f} x")
    again = [outcomes[0].value for outcomes in sandbox.run(Program(p.code, "evaluate", [call]) for p, call in sample)]
    print(f"the same values: {again == [outcome.value for outcome in bare]}")


if __name__ == "__main__":
    main()
