import pytest

from evodistill.autoif.quality import Quality, read_score
from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.record import Record


def passed(text, rate=1.0):
    return {"text": text, "pass_rate": rate, "passed": True}


def verified(*replies):
    return Record.seed("Q", query="What is tea?", constraint="Use two words.", replies=list(replies))


def judge(record, *verdicts, **settings):
    fake = Fake.scripted(*verdicts)
    (done,) = Quality("judge", **settings)([record], {"judge": fake})
    return done, fake


def test_the_best_of_the_good_replies_becomes_the_output():
    """AI17"""
    done, fake = judge(verified(passed("A drink."), passed("Hot leaves.")), "Fine.\nScore: 8", "Good.\nScore: 10")
    assert done.output == "Hot leaves." and not done.fault
    assert [reply["score"] for reply in done.extra["replies"]] == [8.0, 10.0]
    asked = fake.asked[0].chat[0]["content"]
    assert all(text in asked for text in ("What is tea?", "Use two words.", "A drink."))


def test_low_scores_are_a_fault_of_the_reply_and_in_the_end_of_the_record():
    done, _ = judge(verified(passed("A drink."), passed("Two words.")), "Score: 9", "Score: 7")
    assert done.output == "A drink." and done.extra["replies"][1]["fault"] == "low_quality"
    done, _ = judge(verified(passed("Two words.")), "Nothing in it.\nScore: 3")
    assert (done.fault.reason, done.fault.detail) == ("low_quality", "scores 3; >= 8 is asked for")


def test_the_codes_bound_excludes_eight():
    assert judge(verified(passed("A drink.")), "Score: 8", score="> 8")[0].fault.reason == "low_quality"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("It answers. Score: 3 would be too low.\nScore: 9", 9),
        ("Good.\n**Score: 8/10**", 8),
        ("Good.\nScore: 8.", 8),
        ("Good.\nFinal score: 7 out of 10", 7),
        ("10", 10),
        ("Score: 9\n\nI hope this helps!", 9),
        ("Off topic.\nScore: 2\nA score of 10 would need an answer.", 2),
        ("Score: 2\n(Max score: 10)", 2),
        ("It is short.\n8", 8),
        ("Score: 11", None),
        ("It is fine.", None),
        ("", None),
    ],
)
def test_scores_are_read_as_judges_write_them(text, score):
    assert read_score(Completion(text, "stop")).value == score


def test_a_verdict_without_a_score_is_none():
    done, _ = judge(verified(passed("A drink.")), "I like it.")
    assert (done.fault.reason, done.fault.raw) == ("unscored", "I like it.")
    done, _ = judge(verified(passed("A drink."), passed("Tea!")), Completion("Score: 9", "length", 5, 5), "Score: 9")
    assert done.output == "Tea!" and done.extra["replies"][0]["fault"] == "unscored"


def test_only_replies_that_passed_are_judged_the_highest_pass_rates_first():
    replies = [
        passed("a", 0.6),
        {"text": "b", "pass_rate": 0.1, "passed": False},
        passed("c", 0.9),
        {"text": "d", "fault": "truncated"},
    ]
    done, fake = judge(verified(*replies), "Score: 9", candidates=1)
    assert len(fake.asked) == 1 and done.output == "c"
    done, fake = judge(verified(*replies), "Score: 8", "Score: 9")
    assert len(fake.asked) == 2 and done.output == "a"


def test_rejected_records_pass_through():
    bad = Record.seed("x").reject("empty")
    assert Quality("judge")([bad], {"judge": Fake.scripted()}) == [bad]


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="a bound is a number"):
        Quality("judge", score="good")
    with pytest.raises(ValueError, match="candidates must be ≥ 1"):
        Quality("judge", candidates=0)


def test_passed_replies_that_nobody_judged_are_neither_output_nor_chosen():
    done, fake = judge(verified(passed("Judged."), passed("Unseen.", 0.9)), "Score: 9", candidates=1)
    assert done.output == "Judged." and len(fake.asked) == 1
    assert [reply.get("fault") for reply in done.extra["replies"]] == [None, "not_judged"]


def test_without_a_verified_reply_it_says_which_step_is_missing():
    done, fake = judge(verified({"text": "A drink."}))
    assert (done.fault.reason, fake.asked) == ("none_passed", []) and "step: verification" in done.fault.detail
