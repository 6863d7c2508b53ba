import pytest

from evodistill.autoif.replies import Replies
from evodistill.backend import Completion, Sampling
from evodistill.backend.fake import Fake
from evodistill.record import Record

ASKED = Record.seed("What is tea? Use two words.")


def reply(record, *texts, **settings):
    fake = Fake.scripted(*texts)
    (done,) = Replies("teacher", samples=len(texts), **settings)([record], {"teacher": fake})
    return done, fake


def test_the_prompt_is_what_the_student_sees():
    """AI20"""
    _, fake = reply(ASKED, "a", "b")
    assert [request.chat for request in fake.asked] == [[{"role": "user", "content": ASKED.prompt}]] * 2
    columns = Record.seed("Use two words.", "What is tea?")
    assert reply(columns, "a")[1].asked[0].chat[0]["content"] == columns.prompt


def test_replies_that_are_no_use_have_a_fault():
    texts = [
        "A drink.",
        Completion("A drink that", "length", 5, 5),
        "",
        " A drink. ",
        Completion("", "error", error="x"),
    ]
    done, _ = reply(ASKED, *texts)
    assert [r.get("fault", "") for r in done.extra["replies"]] == ["", "truncated", "empty", "repeated", "no_reply"]
    assert not done.fault and done.extra["replies"][0] == {"text": "A drink."}


def test_without_any_use_the_record_is_rejected_with_counts():
    done, _ = reply(ASKED, "", "", Completion("A", "length", 5, 5))
    assert (done.fault.reason, done.fault.detail) == ("no_usable_reply", "empty 2, truncated 1")


def test_each_record_gets_its_own_replies_and_rejected_ones_none():
    bad = Record.seed("x").reject("empty")
    other = Record.seed("Name a tea. Use two words.")
    fake = Fake.scripted("1", "2", "3", "4")
    made = Replies("teacher", samples=2)([ASKED, bad, other], {"teacher": fake})
    assert [[r["text"] for r in record.extra.get("replies", [])] for record in made] == [["1", "2"], [], ["3", "4"]]
    assert [record.id for record in made] == [ASKED.id, bad.id, other.id]


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="samples must be ≥ 1"):
        Replies("teacher", samples=0)
    with pytest.raises(ValueError, match="samples=4 greedy replies are all the same"):
        Replies("teacher", samples=4, sampling=Sampling())
    assert Replies("teacher", samples=1, sampling=Sampling()).samples == 1
