import json
from dataclasses import replace

import pytest

from evodistill.autoif.functions import Functions
from evodistill.backend import Completion, Sampling
from evodistill.backend.fake import Fake
from evodistill.record import Record

A = Record.seed("Leave out all commas.", index=0)
B = Record.seed("Use exactly twelve words.", index=1)
CODE = 'def evaluate(response):\n    return "," not in response'
GOOD = f'```python\n{CODE}\n\nassert evaluate("a b") == True\nassert evaluate("a, b") == False\n```'
OTHER = '```python\ndef evaluate(response):\n    return response.count(",") == 0\n\nassert evaluate("a b") == True\n```'


def write(records, *replies, samples=2):
    fake = Fake.scripted(*replies)
    return Functions("teacher", samples=samples)(records, {"teacher": fake}), fake


def reasons(records):
    return [record.fault.reason if record.fault else "" for record in records]


def test_functions_and_cases_of_all_replies_with_who_wrote_them():
    (done,), _ = write([A], GOOD, OTHER)
    assert [(f["code"], f["replies"]) for f in done.extra["functions"]] == [
        (CODE, [0]),
        ('def evaluate(response):\n    return response.count(",") == 0', [1]),
    ]
    assert done.extra["cases"] == [
        {"text": "a b", "follows": True, "replies": [0, 1]},
        {"text": "a, b", "follows": False, "replies": [0]},
    ]


def test_a_sum_of_hundreds_of_terms_is_a_function():
    code = "def evaluate(response):\n    return 0 < " + " + ".join(["len(response)"] * 400)
    (done,), _ = write([A], f'```python\n{code}\n\nassert evaluate("a")\n```', samples=1)
    assert [function["code"] for function in done.extra["functions"]] == [code]


def test_the_same_function_in_another_layout_is_one():
    spaced = GOOD.replace('return "," not in response', "return (',' not in response)  # no commas")
    (done,), _ = write([A], GOOD, spaced)
    assert [f["replies"] for f in done.extra["functions"]] == [[0, 1]]


def test_a_lost_reply_does_not_shift_those_of_the_next_constraint():
    """AI5"""
    lost = Completion("", "error", error="no server")
    made, _ = write([A, B], lost, GOOD, OTHER, lost)
    assert reasons(made) == ["", "no_reply", "", "no_reply"]
    assert made[0].extra["functions"][0]["code"] == CODE and made[0].extra["functions"][0]["replies"] == [1]
    assert made[2].extra["functions"][0]["code"] != CODE and made[2].extra["functions"][0]["replies"] == [0]
    assert [made[1].origin.parent, made[3].origin.parent] == [A.id, B.id]


def test_each_reply_that_is_no_use_is_a_reject_with_its_text():
    made, _ = write(
        [A], GOOD, "Sorry.", "```python\ndef evaluate(\n```", '```json\n{"func": 3, "cases": []}\n```', samples=4
    )
    assert reasons(made) == ["", "no_code", "syntax", "json_shape"]
    assert made[1].fault.raw == "Sorry." and len({record.id for record in made}) == 4


def test_cases_of_the_wrong_type_are_told_and_the_function_stays():
    reply = "```json\n" + json.dumps({"func": CODE, "cases": [{"input": 3, "output": True}]}) + "\n```"
    made, _ = write([A], reply, reply)
    assert reasons(made) == ["", "bad_case", "bad_case"]
    assert made[0].extra["functions"][0]["replies"] == [0, 1] and made[0].extra["cases"] == []
    assert "input is no text: 3" in made[1].fault.detail


def test_a_constraint_without_any_function_says_why():
    made, _ = write([A], "Sorry.", "```python\ndef evaluate(\n```", "No.", samples=3)
    assert reasons(made) == ["no_function", "no_code", "syntax", "no_code"]
    assert made[0].fault.detail == "none of 3 replies has one: no_code 2, syntax 1"


def test_a_reply_that_never_stopped_is_read_up_to_the_line_that_was_cut():
    cut = GOOD.removesuffix("\n```") + '\nassert evaluate("a b a b a b'
    (done, *_), _ = write([A], Completion(cut, "length", 9, 9), Completion(CODE[:-8], "length", 9, 9))
    assert done.extra["functions"][0]["code"] == CODE and len(done.extra["cases"]) == 2
    assert len(done.extra["functions"]) == 1


def test_rejected_records_are_not_asked_about():
    made, fake = write([replace(A).reject("x"), B], GOOD, GOOD)
    assert len(fake.asked) == 2 and made[0].fault and "functions" in made[1].extra


def test_the_model_is_a_setting():
    """AI4"""
    assert Functions("writer").roles == ("writer",)


def test_equal_greedy_replies_are_refused():
    with pytest.raises(ValueError, match="samples=2 greedy replies are all the same"):
        Functions("teacher", samples=2, sampling=Sampling())
    with pytest.raises(ValueError, match="samples must be ≥ 1"):
        Functions("teacher", samples=0)
