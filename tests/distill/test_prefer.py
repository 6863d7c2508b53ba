from dataclasses import replace

import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.prefer import Prefer


@pytest.fixture
def answered(seeds):
    return [replace(seed, output=f"The teacher's answer {number}.") for number, seed in enumerate(seeds)]


def prefer(answered, *replies, **given):
    judge = {"judge": Fake.scripted(*given.pop("scores", ()))}
    return Prefer("student", **given)(answered, {"student": Fake.scripted(*replies), **judge})


def test_the_students_own_answer_is_the_rejected_one(answered):
    """B1: each record keeps its own answer, the teacher's stays the output"""
    made = prefer(answered, *(f" Mine {number}.\n" for number in range(5)))
    assert [record.extra["rejected"] for record in made] == [f"Mine {number}." for number in range(5)]
    assert [record.output for record in made] == [record.output for record in answered]
    assert made[0].extra["rejected_model"] == "fake" and made[0].extra["rejected_finish_reason"] == "stop"


def test_the_student_is_asked_what_it_was_trained_on(answered):
    """C4"""
    student = Fake.scripted(*"abcde")
    Prefer("student")(answered, {"student": student})
    assert [request.chat for request in student.asked] == [
        [{"role": "user", "content": record.prompt}] for record in answered
    ]


def test_equal_prompts_keep_answers_of_their_own(answered):
    """C5: nothing is joined by text"""
    twins = [answered[0], replace(answered[0], id="twin", output="Another answer.")]
    made = prefer(twins, "one", "two")
    assert [(record.output, record.extra["rejected"]) for record in made] == [
        ("The teacher's answer 0.", "one"),
        ("Another answer.", "two"),
    ]


def test_an_answer_that_was_cut_off_says_so(answered):
    """C9: the trainer leaves it out"""
    (made,) = prefer(answered[:1], Completion("Mine", "length"))
    assert made.extra["rejected_finish_reason"] == "length" and not made.fault


def test_a_student_that_gives_no_reply_is_a_reason(answered):
    (made,) = prefer(answered[:1], Completion("", "error", error="prompt too long"))
    assert made.fault.reason == "no_reply" and made.fault.detail == "prompt too long"


def test_records_without_an_answer_or_with_a_fault_are_not_asked(seeds, answered):
    bad = replace(answered[1]).reject("empty")
    assert prefer([seeds[0], bad]) == [seeds[0], bad]


def test_a_judge_gives_the_margin(answered):
    made = prefer(answered[:3], *"abc", judge="judge", scores=["80", "30", "Score: 40", "70/100", "50", "no idea"])
    assert [record.extra["margin"] for record in made] == [50, -30, None]
    assert made[2].extra["margin_reason"] == "no_score"


def test_each_answer_is_judged_alone(answered):
    judge = Fake.scripted("1", "2")
    Prefer("student", judge="judge")(answered[:1], {"student": Fake.scripted("Mine."), "judge": judge})
    first, second = (request.chat[-1]["content"] for request in judge.asked)
    assert "The teacher's answer 0." in first and "Mine." not in first
    assert "Mine." in second and first.endswith("Score:")
