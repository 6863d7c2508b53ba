from collections import Counter

import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.rewrite_cot import RewriteCot
from evodistill.record import Record

LONG = "\n\n".join(f"Step {n}: take {n} away from what is left and check it twice." for n in range(1, 9))
SHORT = "Take the numbers away one by one.\n\nNothing is left."


def record(reasoning: str = LONG, question: str = "What is left?") -> Record:
    return Record.seed(question, "", "Nothing.", reasoning=reasoning, topic="sums")


def rewrite(records, *replies, **settings):
    writer = Fake.scripted(*replies)
    return RewriteCot(model="teacher", **settings)(records, {"teacher": writer}), writer


def test_only_the_reasoning_changes_and_what_it_was_is_kept():
    made, writer = rewrite([record()], f"<think>{SHORT}</think>")
    assert len(made) == 1 and (made[0].id, made[0].output) == (record().id, "Nothing.")
    assert made[0].extra == {"topic": "sums", "reasoning": SHORT, "reasoning_before": LONG}
    asked = writer.asked[0].chat[0]["content"]
    assert all(part in asked for part in ("What is left?", "Answer: Nothing.", LONG))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (LONG, "length_ratio"),
        (Completion(SHORT, "length", 9, 9), "truncated"),
        (Completion("", "error", error="context"), "no_reply"),
        ("I am sorry, I cannot do that.", "refusal"),
        ("  ", "empty"),
    ],
)
def test_a_failed_rewrite_is_a_reject_and_the_record_keeps_its_reasoning(reply, reason):
    made, _ = rewrite([record(), record("Other. " * 40, "What else?")], reply, SHORT)
    kept, _, failed = made
    assert kept == record() and failed.fault and failed.fault.reason == reason and failed.origin.parent == kept.id


def test_extending_must_make_it_longer():
    made, writer = rewrite([record(SHORT), record(SHORT, "What else?")], LONG, SHORT, direction="extend")
    assert made[0].extra["reasoning"] == LONG and "longer and easier" in writer.asked[0].chat[0]["content"]
    assert Counter(r.fault.reason for r in made if r.fault) == {"length_ratio": 1}


def test_each_answer_is_rewritten_with_its_own_instruction():
    """C2: the last of a batch is not written against all of them"""
    records = [Record.seed(f"Question {n}?", "", f"{n}.", reasoning=f"Reason {n}. " * 20) for n in range(40)]
    made, writer = rewrite(records, *(f"Short {n}." for n in range(40)))
    for n, (one, request) in enumerate(zip(made, writer.asked, strict=True)):
        assert one.extra["reasoning"] == f"Short {n}." and f"Question {n}?" in request.chat[0]["content"]
        assert one.instruction == f"Question {n}?"


def test_records_without_reasoning_pass_through():
    plain = [Record.seed("Name a tea.", "", "Sencha."), record().reject("truncated")]
    assert rewrite(plain)[0] == plain


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="direction must be shorten or extend, got 'turn'"):
        RewriteCot(model="teacher", direction="turn")
    with pytest.raises(ValueError, match=r"0 < max_ratio < 1 < min_ratio must hold, got 1\.2"):
        RewriteCot(model="teacher", max_ratio=1.2)
