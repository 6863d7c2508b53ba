"""No pattern of the package takes more time than in proportion to the text: what small models repeat, they repeat to
the end of their budget, and a file from outside may hold lines of megabytes."""

import importlib
import re
import time
from itertools import product
from pathlib import Path

import pytest
from repository import ROOT

SOURCE = ROOT / "src"
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if re.search(r"^[A-Z_]+ = re\.compile", path.read_text(), re.M)]
UNITS = [
    " ",
    "\t",
    "\n",
    "a",
    "1",
    *"*#_-.`([<{\"'|:>",
    "a ",
    "a\n",
    "\n ",
    "- ",
    "1.",
    "a|",
    "a-",
    '"\\',
    ", ",
    "```\n",
]
LENGTH = 10_000
SECONDS = 0.3  # of this process: in proportion it takes some milliseconds, with the square seconds


def module(path: Path):
    return importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE / "evodistill")))
def test_a_pattern_takes_time_in_proportion_to_the_text(path):
    patterns = {name: value for name, value in vars(module(path)).items() if isinstance(value, re.Pattern)}
    assert patterns
    for name, pattern in patterns.items():
        source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
        words = list(dict.fromkeys(re.findall(r"(?<!\\)\b[A-Za-z]{3,}|[\u4e00-\u9fff]+", source)))[:3]
        heads = ["", *words[:2], *(f"{word}:" for word in words[:1])]
        for head, unit in product(heads, [*UNITS, *words, *(f"{word}\n" for word in words)]):
            text = head + unit * (LENGTH // len(unit)) + "!\0"
            started = time.process_time()
            for _ in pattern.finditer(text if isinstance(pattern.pattern, str) else text.encode()):
                pass
            took = time.process_time() - started
            assert took < SECONDS, (
                f"{name}: {took:.1f} s for {head!r}, then {LENGTH} characters of {unit!r}; is \\A missing?"
            )
