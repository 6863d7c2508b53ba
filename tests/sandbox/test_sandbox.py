"""What programs may count on, in every sandbox."""

import os
import subprocess
import sys
import tempfile
import time
from itertools import count

import pytest
from attacks import running

from evodistill.config import identity
from evodistill.sandbox import WAITING, Outcome, Program, box
from evodistill.sandbox.bubblewrap import Bubblewrap
from evodistill.sandbox.modules import HARMLESS

TRUE = Outcome(True)


def reasons(outcomes):
    return [outcome.reason for outcome in outcomes]


def test_values_come_back_as_they_are(run):
    values = [True, False, None, 0, -7, 1.5, "", "tea\n\u2028ü\ud800", [1, [True, "x"]], {"a": {"b": None}}]
    assert run("def f(x):\n    return x", *values) == [Outcome(value) for value in values]


def test_true_and_one_stay_apart(run):
    """AI11: they are equal, but not the same"""
    one, true = run("def f(x):\n    return x", 1, True)
    assert (type(one.value), type(true.value)) == (int, bool)


def test_imports_constants_and_helpers_are_seen_by_the_function(run):
    """AI9"""
    code = """
from __future__ import annotations
import re
from collections import Counter as C
from dataclasses import dataclass
LIMIT = 2
@dataclass
class Pair:
    left: int
    right: int
def helper(text):
    return len(re.findall("a", text)) >= LIMIT and Pair(1, C(text)["a"]).right > 1
def f(text):
    return helper(text)
"""
    assert run(code, "banana", "bread") == [TRUE, Outcome(False)]


def test_nothing_leaks_from_one_program_to_the_next(make):
    """AI9: in the published scripts one function could use another's helper"""
    first = (
        "import re\nhelper = re.sub\nre.sub = None\nimport random\ndraw = random.random()\ndef f(x):\n    return draw"
    )
    programs = [Program(first, "f", [[0]]), Program("def f(x):\n    return helper('a', 'b', x)", "f", [["a"]])] * 2
    one, two, again, _ = make().run(programs)
    assert two == [Outcome(None, "exception", "NameError: name 'helper' is not defined")]
    assert one == again


def test_draws_and_sets_have_one_order(make):
    """AI14"""
    code = "import random\ndef f(x):\n    return [random.random(), list({'tea', 'mill', 'river', 'sky'})]"
    program = Program(code, "f", [[0]])
    assert list(make().run([program])) == list(make().run([program]))


def test_a_main_block_is_not_run(run):
    assert run("def f(x):\n    return True\nif __name__ == '__main__':\n    exit(1)", 0) == [TRUE]


def test_a_time_out_is_a_kill_that_no_handler_survives(run):
    """AI8: an alarm is swallowed by `except Exception`"""
    code = (
        "import time\ndef f(x):\n    while x:\n        try:\n            time.sleep(9)\n        except BaseException:\n"
        "            pass\n    return True"
    )
    started = time.monotonic()
    assert reasons(run(code, 1, 0, call_seconds=0.5)) == ["timeout", ""]
    assert time.monotonic() - started < 5


def test_definitions_are_limited_too(run):
    """AI7"""
    outcomes = run("def f(x):\n    return True\nwhile True:\n    pass", 0, 1, 2, call_seconds=0.5)
    assert reasons(outcomes) == ["timeout"] * 3


def test_a_call_that_hangs_costs_itself_until_the_programs_time_is_up(run):
    code = "def f(x):\n    while x:\n        pass\n    return True"
    outcomes = run(code, 0, 1, 0, 1, 1, 1, 0, call_seconds=1.0, program_seconds=1.6)
    assert reasons(outcomes) == ["", "timeout", "", "timeout", "timeout", "timeout", "timeout"]
    assert "used up" in outcomes[-1].detail


def test_a_call_that_ends_its_process_costs_itself(run):
    code = "def f(x):\n    if x:\n        import os\n        os._exit(0)\n    return True"
    assert run(code, 0, 1, 0, allow=["os"]) == [TRUE, Outcome(None, "crash", "exit code 0"), TRUE]


@pytest.mark.parametrize(
    ("code", "reason", "detail"),
    [
        ("def f(x) return x", "syntax", "SyntaxError"),
        ("def f(x):\n    return 0777", "syntax", "SyntaxError"),
        ("def f(x):\n    return '\0'", "syntax", "null bytes"),
        ("(" * 5_000, "syntax", ""),
        ("f = " + "-" * 100_000 + "1", "syntax", ""),
        ("", "missing", "no function f"),
        ("f = 3", "missing", "no function f"),
        ("def evaluate(x):\n    return x", "missing", "no function f"),
        ("import os\ndef f(x):\n    return x", "import", "os is not allowed"),
        ("def f(x):\n    import socket as json\n    return x", "import", "socket"),
        ("from subprocess import run as f", "import", "subprocess.run"),
        ("from . import f", "import", "..f"),
        ("import requests\ndef f(x):\n    return x", "import", "requests"),
        ("import numpy\ndef f(x):\n    return x", "import", "numpy"),
        ("1 / 0", "exception", "ZeroDivisionError"),
        ("raise SystemExit", "exception", "SystemExit"),
        ("def f(x):\n    return x.upper()", "exception", "AttributeError: 'int' object"),
        ("def f(x, y):\n    return x", "exception", "TypeError"),
        ("def f(x):\n    return __import__('os').getpid()", "import", "os is not allowed"),
        ("def f(x):\n    return eval('__import__')('os').getpid()", "import", "os is not allowed"),
        ("def f(x):\n    return input('?')", "exception", "EOFError"),
        ("def f(x):\n    return {1, 2}", "type", "returned set"),
        ("def f(x):\n    return (1, 2)", "type", "returned tuple"),
        ("def f(x):\n    return 'x' * 100_000", "output", "100002 characters, 65536 allowed"),
        ("def f(x):\n    return bytearray(10**9)", "memory", ""),
        ("held = [0] * 10**9", "memory", ""),
    ],
)
def test_what_goes_wrong_has_a_reason(run, code, reason, detail):
    """AI13"""
    (outcome,) = run(code, 1)
    assert (outcome.value, outcome.reason) == (None, reason)
    assert detail in outcome.detail


def test_code_that_is_too_long_is_not_run(run):
    assert reasons(run("def f(x):\n    return x\n" + "#" * 200_000, 1)) == ["size"]
    assert reasons(run("def f(x):\n    return x\n" + "#" * 100_000, 1)) == [""]


def test_a_function_without_arguments_is_called_once(make):
    """as a check of HumanEval is"""
    code = "def g(x):\n    return x + 1\ndef check():\n    assert g(1) == {}\n"
    programs = [Program(code.format(number), "check", [[]]) for number in (2, 3)]
    passed, failed = make().run(programs)
    assert (passed, reasons(failed)) == ([Outcome(None)], ["exception"])


def test_a_program_without_calls_has_no_outcomes(make):
    assert list(make().run([])) == []
    assert list(make().run([Program("1/0", "f", [])])) == [[]]


def test_a_detail_is_short(run):
    (outcome,) = run("def f(x):\n    raise ValueError('x' * 10_000)", 1)
    assert len(outcome.detail) <= 200


def test_other_modules_are_allowed_by_name(run):
    assert run("import os.path\ndef f(x):\n    return os.path.basename(x)", "a/b", allow=["os.path"]) == [Outcome("b")]
    assert reasons(run("from os import path\ndef f(x):\n    return True", 0, allow=["os.path"])) == [""]
    assert reasons(run("import os\ndef f(x):\n    return True", 0, allow=["os.path"])) == ["import"]
    assert reasons(run("import socket, os\ndef f(x):\n    return True", 0, allow=["*"])) == [""]


def test_an_import_is_refused_where_it_is_carried_out(run):
    """as one that fails is: correct code takes another module, or never comes there"""
    code = "try:\n    import {} as re\nexcept ImportError:\n    import re\ndef f(x):\n    return re.sub('a', 'b', x)\n"
    for name in ("regex", "os", "numpy"):
        assert run(code.format(name), "aa") == [Outcome("bb")]
    assert run("def f(x):\n    if x:\n        import os\n    return True", 0, 1, 0) == [
        TRUE,
        Outcome(None, "import", "NotAllowed: os is not allowed"),
        TRUE,
    ]
    assert run("def f(x):\n    return x\nif __name__ == '__main__':\n    import os", True) == [TRUE]


def test_every_module_of_the_list_can_be_imported(run):
    code = "".join(f"import {name}\n" for name in HARMLESS if name != "__future__") + "def f(x):\n    return True"
    assert run(code, 0, call_seconds=10.0) == [TRUE]


def test_a_module_from_outside_the_standard_library_can_be_allowed(run):
    code = "import numpy as np\ndef f(x):\n    return float(np.mean(x))"
    assert run(code, [1, 2, 6], allow=["numpy"], memory_mb=1024, call_seconds=10.0) == [Outcome(3.0)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"call_seconds": 0}, "call_seconds must be > 0, got 0"),
        ({"memory_mb": -1}, "memory_mb must be > 0, got -1"),
        ({"workers": 0}, "workers must be ≥ 1, or null for one per core, got 0"),
        ({"allow": ["nothing_of_the_kind"]}, "allow names 'nothing_of_the_kind', which is not installed"),
    ],
)
def test_bad_settings_are_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_the_number_of_workers_is_no_part_of_the_identity():
    assert identity(Bubblewrap(workers=1)) == identity(Bubblewrap(workers=2))
    assert identity(Bubblewrap(call_seconds=1.0)) != identity(Bubblewrap(call_seconds=2.0))


def test_results_come_in_order_and_programs_are_drawn_as_needed(make):
    """flat memory: an endless stream of programs can be run"""
    drawn = []

    def programs():
        for number in count():
            drawn.append(number)
            yield Program(f"def f(x):\n    return {number}", "f", [[0]])

    outcomes = make(workers=2).run(programs())
    assert [next(outcomes) for _ in range(50)] == [[Outcome(number)] for number in range(50)]
    outcomes.close()
    assert len(drawn) <= 50 + 2 * WAITING


def test_no_more_workers_are_started_than_there_are_programs_or_cores_to_use(make, monkeypatch):
    sandbox, opened = make(workers=8), []
    real = type(sandbox).open
    monkeypatch.setattr(type(sandbox), "open", lambda self: opened.append(real(self)) or opened[-1])
    assert list(sandbox.run([])) == [] and not opened
    programs = [Program("def f(x):\n    return x", "f", [[1]])] * 2
    assert list(sandbox.run(programs)) == [[Outcome(1)]] * 2 and len(opened) <= 2
    opened.clear()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert list(make(workers=None).run(programs)) == [[Outcome(1)]] * 2 and len(opened) == 1


def test_a_run_that_is_given_up_ends_at_once(make):
    hanging = Program("def f(x):\n    while True:\n        pass", "f", [[0]])
    outcomes = make(call_seconds=30.0, program_seconds=30.0).run([Program("f = abs", "f", [[-1]]), hanging])
    assert next(outcomes) == [Outcome(1)]
    started = time.monotonic()
    outcomes.close()
    assert time.monotonic() - started < 5


def test_files_of_one_program_are_gone_for_the_next(make):
    write = Program("def f(x):\n    open('left', 'w').write(x)\n    return open('left').read()", "f", [["tea"]])
    read = Program("def f(x):\n    return open('left').read()", "f", [[0]])
    written, gone = make().run([write, read])
    assert written == [Outcome("tea")]
    assert reasons(gone) == ["exception"]


def test_check_passes_where_the_sandbox_works(make):
    make().check()


def test_workers_end_with_the_process_that_started_them(make, tmp_path, monkeypatch):
    """however that ends; what hangs in them too"""
    sandbox = make(call_seconds=60.0, program_seconds=60.0, memory_mb=206)
    code = (
        f"from {type(sandbox).__module__} import {type(sandbox).__name__}\nfrom evodistill.sandbox import Program\n"
        f"next({sandbox!r}.run([Program('while True: pass', 'f', [[0]])]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)})
    wait_until(lambda: len(running(sandbox)) >= 2)
    process.kill()
    process.wait()
    wait_until(lambda: not running(sandbox))
    # the next one sweeps up their folders, and leaves those in use
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(box, "YOUNG_S", 0.0)
    left = set(tmp_path.iterdir())
    assert left
    outcomes = make().run([Program("def f(): return 1", "f", [[]])] * 3)
    next(outcomes)
    assert not left & set(tmp_path.iterdir()) and any(tmp_path.iterdir())
    assert len(list(outcomes)) == 2 and not any(tmp_path.iterdir())


def wait_until(true, seconds=10.0):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)
