import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from evodistill import RunError
from evodistill.backend.fake import Fake
from evodistill.benchmark.mbpp import MBPP, written
from evodistill.sandbox.process import Process

SANDBOX = Process(workers=1)


def mbpp(items, *replies, **settings):
    student = Fake.scripted(*replies)
    return MBPP(model="student", data=items("mbpp"), sandbox=SANDBOX, **settings)({"student": student}), student


def test_code_runs_with_the_tests_of_its_item(items):
    right = "```python\ndef twice(n):\n    return n + n\n```"
    wrong = "def broken(text):\n    return False"
    scores, student = mbpp(items, right, wrong, "I cannot write code.")
    assert [score.values["mbpp"] for score in scores] == [1, 0, 0]
    assert [score.label for score in scores] == ["passed", "exception", "no_code"]
    assert "AssertionError" in scores[1].extra["why"]
    asked = student.asked[0].chat[0]["content"]
    assert "a number times two" in asked and "assert twice(-1) == -2\n" in asked


def test_the_code_of_each_item_passes_and_its_setup_is_there(items, file):
    """Rows of `full` and of `sanitized`; a line break within a test stays one."""
    rows = [{"id": 11, "code": "def twice(n):\n  return 2 * n"}, {"id": 12, "code": "broken = lambda t: '\\n' in t"}]
    rows += [{"id": 13, "code": "def walk(n): return walk(n.left) + [n.value] + walk(n.right) if n else []"}]
    answers = file(*({"task_id": row["id"], "completion": row["code"]} for row in rows))
    scores = MBPP(model="student", data=items("mbpp"), answers=answers, sandbox=SANDBOX)({})
    assert [score.label for score in scores] == ["passed", "no_code", "passed"]  # a bare lambda begins no program
    rows[1]["code"] = f"```\n{rows[1]['code']}\n```"
    answers = file(*({"task_id": row["id"], "completion": row["code"]} for row in rows))
    scores = MBPP(model="student", data=items("mbpp"), answers=answers, sandbox=SANDBOX)({})
    assert [score.label for score in scores] == ["passed"] * 3


def test_code_cannot_replace_the_tests(items):
    forged = "def twice(n):\n    return 0\n\ndef all_tests_passed():\n    return True\n"
    scores, _ = mbpp(items, forged, "", "")
    assert [score.label for score in scores] == ["exception", "empty", "empty"]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("```python\nprint(1)\n```\n```python\ndef up(x):\n    return x\n```", "def up(x):\n    return x\n"),
        ("```\nup = abs\n```\n```\nassert up(1)\n```", "up = abs\n"),
        ("Here it is:\nimport math\ndef up(x):\n    return math.ceil(x)\n\nAs asked.", "import math"),
        ("  ```py\n  def up(x):\n      return x\n  ```", "def up(x):\n    return x\n"),
        ("```python\ndef up(x):\n    return x", "def up(x):\n    return x"),
    ],
)
def test_the_block_that_the_tests_call(reply, code):
    found = written(["assert up(1) == 1"], reply)
    assert found and found.startswith(code)
    ast.parse(found)


@pytest.mark.parametrize("reply", ["", "No.", "```\n```", "```python\n(((\n```", "def ("])
def test_a_reply_without_code_is_none(reply):
    assert written(["assert up(1) == 1"], reply) is None


def test_an_item_whose_tests_are_no_python_is_named(file):
    data = file({"task_id": 1, "text": "Add.", "test_list": ["assert add(1, 2 == 3"]})
    with pytest.raises(RunError, match=r"given.jsonl:1: no item of mbpp \('assert add\(1, 2 == 3' of its tests is no"):
        MBPP(model="student", data=data, sandbox=SANDBOX).ready()


def test_the_published_solutions_pass(file):
    """The three rows of the split `prompt` that the harness carries as examples."""
    harness = find_spec("lm_eval")  # of the extra `dev`; not imported, since its code evaluates what it downloads
    assert harness and harness.submodule_search_locations
    source = (Path(harness.submodule_search_locations[0]) / "tasks" / "mbpp" / "utils.py").read_text(encoding="utf-8")
    (made,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == "list_fewshot_samples"
    ]
    assert isinstance(made.body[-1], ast.Return) and made.body[-1].value
    rows = ast.literal_eval(made.body[-1].value)
    assert len(rows) == 3
    data = file(*rows, name="mbpp.jsonl")
    answers = file(*({"task_id": row["task_id"], "completion": row["code"]} for row in rows))
    scores = MBPP(model="student", data=data, answers=answers, sandbox=SANDBOX)({})
    assert [score.label for score in scores] == ["passed"] * 3
