"""AutoIF's own sample files: what we keep of them, beside what its published rule keeps (docs/autoif.md explains each
difference). The files hold no cross-validation of the same constraints, so the rule is stated again here."""

import json
import re

import pytest

from evodistill.autoif.cross_validation import CrossValidation
from evodistill.autoif.functions import Functions
from evodistill.backend.fake import Fake
from evodistill.record import Record
from evodistill.sandbox import Program

CODE = {
    "case_agreement": "> 0",
    "function_accuracy": ">= 0.8",
    "min_functions": 3,
    "min_cases": 10,
    "leave_own_reply_out": False,
    "both_outcomes": False,
}


def rows(shared, name):
    with (shared / "data/autoif_sample" / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def published(row, sandbox):
    """(cases kept, cases, replies of the functions kept): fenced valid JSON only, functions equal as text, `==`."""
    functions, cases = {}, {}
    for number, reply in enumerate(row["gpt-answer"]):
        try:
            value = json.loads(re.findall(r"```json(.*?)```", reply, re.S)[0])
        except json.JSONDecodeError:
            continue
        functions.setdefault(value["func"], []).append(number)
        cases |= {json.dumps([case["input"], case["output"]]): None for case in value["cases"]}
    listed = [json.loads(case) for case in cases]
    outcomes = list(sandbox.run(Program(code, "evaluate", [[text] for text, _ in listed]) for code in functions))
    right = [[outcome.value == said for outcome, (_, said) in zip(line, listed, strict=True)] for line in outcomes]
    kept = [column for column in range(len(listed)) if any(line[column] for line in right)]
    good = [sum(line[column] for column in kept) >= 0.8 * len(kept) for line in right]
    replies = [numbers for numbers, keep in zip(functions.values(), good, strict=True) if keep]
    return len(kept), len(listed), replies


@pytest.fixture(scope="module")
def sample(shared):
    return rows(shared, "eval_func_rft.jsonl")


def ours(sample, sandbox):
    constraints = [Record.seed(row["instruction"], index=index) for index, row in enumerate(sample)]
    writer = Fake.scripted(*(reply for row in sample for reply in row["gpt-answer"]))
    made = Functions("writer", samples=8)(constraints, {"writer": writer})
    assert len(made) == len(constraints)  # every reply is of use
    out = []
    for record in CrossValidation(sandbox, **CODE)(made, {}):
        written = record.extra["cross_validation"]["cases_written"]
        replies = [function["replies"] for function in record.extra["functions"]]
        out.append((len(record.extra["cases"]), written, replies))
    return out


def test_the_published_rule_keeps_this(sample, sandbox):
    assert [published(row, sandbox) for row in sample] == [
        (16, 23, [[2], [5]]),
        (13, 18, [[0], [5], [7]]),
        (21, 24, []),
        (13, 17, [[0], [3], [5], [6], [7]]),
        (10, 24, [[0, 5], [1], [2], [3], [4], [6], [7]]),
    ]


def test_the_preset_code_keeps_all_of_that_and_what_was_lost_by_mistake(sample, sandbox):
    """AI6, AI11: outcomes in words. AI12: \\n in cases. AI13: replies with True or an invalid escape. Functions that
    differ in comments only are one."""
    assert ours(sample, sandbox) == [
        (21, 23, [[2], [5]]),
        (20, 24, [[0], [4], [5], [7]]),
        (24, 24, []),
        (14, 18, [[0], [1], [3], [5], [6], [7]]),
        (15, 24, [[0, 5], [1], [2, 3], [4], [6], [7]]),
    ]


@pytest.mark.parametrize("name", ["back_trans.jsonl", "query_rft.jsonl"])
def test_the_accuracies_that_its_next_files_store_come_out_again(shared, sandbox, name):
    """To the last digit; of query_rft.jsonl also the 0.0 of functions that its own threshold of 0.8 excludes."""
    found = {row["instruction"]: row for row in rows(shared, name)}
    for row in found.values():
        texts = [[text] for text, _ in row["cases"]]
        outcomes = sandbox.run(Program(code, "evaluate", texts) for code, _ in row["eval_func"])
        for (_, accuracy), line in zip(row["eval_func"], outcomes, strict=True):
            right = [outcome.value is said for outcome, (_, said) in zip(line, row["cases"], strict=True)]
            assert sum(right) / len(right) == accuracy, row["instruction"]


def test_one_constraint_of_its_next_file_proves_nothing(shared, sandbox):
    """AI15: ten cases, all of them False; a function that looks for a hyphen before the "ing" is right about each."""
    (row,) = (row for row in rows(shared, "back_trans.jsonl") if "-ing" in row["instruction"])
    assert {said for _, said in row["cases"]} == {False}
    record = Record.seed(
        row["instruction"],
        functions=[{"code": code, "replies": [number]} for number, (code, _) in enumerate(row["eval_func"])],
        cases=[{"text": text, "follows": said, "replies": [9]} for text, said in row["cases"]],
    )
    (done,) = CrossValidation(sandbox)([record], {})
    assert done.fault and done.fault.reason == "one_sided_cases"
