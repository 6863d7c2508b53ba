import gzip
import json
from textwrap import dedent

import pytest

from evodistill.backend import Completion, Sampling
from evodistill.backend.fake import Fake
from evodistill.benchmark.humaneval import HumanEval, written
from evodistill.benchmark.pass_at_k import pass_at_k
from evodistill.sandbox.process import Process

SANDBOX = Process(workers=1)
HEAD = 'import math\n\n\ndef up(x):\n    """ Round up. """\n'


def humaneval(items, *replies, **settings):
    student = Fake.scripted(*replies)
    benchmark = HumanEval(model="student", data=items("humaneval"), sandbox=SANDBOX, **settings)
    return benchmark({"student": student}), student


def test_code_runs_with_the_tests_of_its_item(items):
    right = "```python\ndef twice(number):\n    return number + number\n```"
    wrong = "```python\ndef quarter_up(number):\n    return 3\n```"
    scores, student = humaneval(items, right, wrong, "I cannot write code.")
    assert [score.values["humaneval"] for score in scores] == [1, 0, 0]
    assert [score.label for score in scores] == ["passed", "exception", "no_code"]
    assert "AssertionError" in scores[1].extra["why"]
    assert "def twice(number: int)" in student.asked[0].chat[0]["content"]


@pytest.mark.parametrize(
    "code",
    [
        "import os, sys\nfrom pathlib import Path\ndef twice(number):\n    return number + number",
        "try:\n    import regex as re\nexcept ImportError:\n    import re\ndef twice(n):\n    return 2 * n",
        "def twice(number):\n    return 2 * number\nif __name__ == '__main__':\n    import doctest, os\n",
    ],
)
def test_what_a_correct_program_imports_does_not_fail_it(items, code):
    scores, _ = humaneval(items, f"```python\n{code}\n```", "", "")
    assert scores[0].label == "passed"


def test_imports_can_be_kept_to_the_list(items):
    code = "```python\nimport os\ndef twice(number):\n    return 2 * number\n```"
    scores, _ = humaneval(items, code, "", "", allow=[])
    assert scores[0].label == "import"


def test_an_empty_answer_a_failed_request_and_code_without_end(items):
    forever = "```python\ndef longest(words):\n    while True:\n        pass\n```"
    failed = Completion("", "error", error="no room")
    scores, _ = humaneval(items, "", failed, forever)
    assert [score.label for score in scores] == ["empty", None, "timeout"]
    assert [(score.values["humaneval"], score.reason) for score in scores] == [(0, ""), (None, "no_reply"), (0, "")]


@pytest.mark.parametrize(
    "reply",
    [
        "    return math.ceil(x)\n",
        "return math.ceil(x)",
        "y = math.ceil(x)\n    return y",
        "```python\ndef up(x):\n    return math.ceil(x)\n```\nIt works because of `ceil`.",
        "Sure:\n\n  ```py\n  def up(x):\n      return math.ceil(x)\n  ```",
        "```\n    return math.ceil(x)\n```",
        "Here you are:\ndef up(x):\n    return math.ceil(x)\n\nThis rounds up, as you asked.",
        "from math import ceil\n\ndef helper(x):\n    return ceil(x)\n\ndef up(x):\n    return helper(x)",
        "```python\nprint('first')\n```\nthen\n```python\ndef up(x):\n    return math.ceil(x)",
    ],
)
def test_the_code_of_a_chat_reply_or_a_completion(reply):
    space: dict = {}
    exec(written(HEAD, "up", reply) or "", space)
    assert space["up"](1.2) == 2


@pytest.mark.parametrize("reply", ["", "Explain how it goes.", "```\n```", "```python\n\n```", "def (", "(" * 5000])
def test_a_reply_without_code_is_none(reply):
    assert written(HEAD, "up", reply) is None


def test_pass_at_k_by_hand():
    """equation 1: 1 - C(n - c, k) / C(n, k); of 5 answers 2 are right"""
    assert pass_at_k(5, 2, 1) == pytest.approx(0.4)
    assert pass_at_k(5, 2, 2) == pytest.approx(1 - 3 / 10)
    assert pass_at_k(5, 2, 4) == 1
    assert pass_at_k(5, 0, 3) == 0


def test_pass_at_k_of_several_answers_an_item(items, file):
    right, wrong = "    return 2 * number\n", "    return 0\n"
    rows = [{"task_id": "Own/0", "completion": code} for code in (right, wrong, wrong, right)]
    rows += [{"task_id": "Own/1", "completion": wrong}]
    scores, _ = humaneval(items, answers=file(*rows), samples=4, k=[1, 2])
    first, second, third = scores
    assert first.values == {"humaneval": pytest.approx(0.5), "humaneval_pass_at_2": pytest.approx(1 - 1 / 6)}
    assert first.extra["fates"] == {"passed": 2, "exception": 2}
    assert (dict(second.values), second.reason) == (
        {"humaneval": 0, "humaneval_pass_at_2": None},
        "too_few_answers",
    )
    assert third.reason == "no_answer"


def test_more_answers_are_draws(items):
    body = "    return 2 * number"
    scores, student = humaneval(items, *[body] * 6, samples=2, k=[2], sampling=Sampling(temperature=0.8))
    assert len(student.asked) == 6 and [score.values["humaneval_pass_at_2"] for score in scores] == [1, 0, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": [2]}, r"each k must be from 1 to samples=1, got \[2\]"),
        ({"k": []}, "each k must be"),
        ({"samples": 3}, "samples=3 needs sampling.temperature > 0"),
    ],
)
def test_bad_values_are_refused(items, settings, message):
    with pytest.raises(ValueError, match=message):
        HumanEval(model="student", data=items("humaneval"), sandbox=SANDBOX, **settings)


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        (lambda row: row["canonical_solution"], 164),
        (lambda row: dedent(row["canonical_solution"]), 164),
        (lambda row: f"Sure!\n```python\n{row['prompt']}{row['canonical_solution']}```\nIt is simple.", 164),
        (lambda row: row["prompt"], 0),
        (lambda row: "    pass", 0),
    ],
    ids=["completion", "without indent", "chat reply", "prompt alone", "no body"],
)
def test_the_canonical_solutions_pass_and_prompts_without_a_body_do_not(shared, file, answer, passed):
    data = shared / "data/human_eval/HumanEval.jsonl.gz"
    with gzip.open(data, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    path = file(*({"task_id": row["task_id"], "completion": answer(row)} for row in rows))
    scores = HumanEval(model="student", data=str(data), answers=path, sandbox=Process())({})
    assert len(scores) == 164 and sum(score.values["humaneval"] for score in scores) == passed
    assert {score.label for score in scores} == ({"passed"} if passed else {"exception"})
