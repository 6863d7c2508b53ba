import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.mfd import MFD, hard, parse_pair, value
from evodistill.record import Record

ANSWERED = [Record.seed(f"Question {n}?", "", f"Teacher {n}.") for n in range(3)]


def fit(records, answers, verdicts, **settings):
    student, judge = Fake.scripted(*answers), Fake.scripted(*verdicts)
    return MFD(**settings)(records, {"student": student, "judge": judge}), student, judge


def verdict(first, second) -> str:
    return f"First: {first}\nSecond: {second}"


def test_difficulty_is_the_teachers_score_minus_the_students():
    """§11: the only sign that works; a model card has it the other way round"""
    made, student, _ = fit(ANSWERED[:1], ["Student 0."], [verdict(9, 4), verdict(5, 8)])
    assert value(made[0]) == 4.0 and hard(made[0])
    assert made[0].extra["mfd"] == {"value": 4.0, "hard": True, "teacher": [9, 8], "student": [4, 5]}
    assert made[0].extra["student_answer"] == "Student 0." and student.asked[0].chat[0]["content"] == "Question 0?"


def test_a_judge_that_likes_the_first_place_says_nothing():
    made, _, _ = fit(ANSWERED[:1], ["Student 0."], [verdict(9, 3), verdict(9, 3)])
    assert value(made[0]) == 0 and not hard(made[0])


def test_both_answers_are_shown_in_both_orders():
    _, _, judge = fit(ANSWERED[:1], ["Student 0."], [verdict(5, 5)] * 2)
    first, second = (request.chat[0]["content"] for request in judge.asked)
    assert first.index("Teacher 0.") < first.index("Student 0.") and second.index("Student 0.") < second.index(
        "Teacher 0."
    )


def test_delta_is_the_least_difficulty_of_a_hard_record():
    verdicts = [verdict(8, 6), verdict(6, 8), verdict(7, 6), verdict(6, 8), verdict(5, 9), verdict(9, 5)]
    made, _, _ = fit(ANSWERED, ["a", "b", "c"], verdicts, delta=2)
    assert [(value(record), hard(record)) for record in made] == [(2.0, True), (1.5, False), (-4.0, False)]


def test_a_verdict_that_cannot_be_read_makes_no_difficulty():
    made, _, _ = fit(ANSWERED[:2], ["a", "b"], [verdict(9, 2), "Both are fine.", verdict(11, 2), verdict(1, 1)])
    assert [record.extra["mfd"]["reason"] for record in made] == ["no_pair_of_scores", "out_of_range"]
    assert made[0].extra["mfd"]["raw"] == [verdict(9, 2), "Both are fine."]
    assert [value(record) for record in made] == [None, None] and not any(map(hard, made))


def test_a_student_that_is_cut_off_is_judged_and_one_that_fails_is_not():
    answers = [Completion("Stu", "length", 3, 3), Completion("", "error", error="context")]
    made, _, judge = fit(ANSWERED[:2], answers, [verdict(9, 2), verdict(2, 9)])
    assert hard(made[0]) and made[1].extra["mfd"]["reason"] == "context" and len(judge.asked) == 2


def test_recorded_answers_are_taken_and_the_student_is_not_asked():
    records = [Record.seed("Question?", "", "Teacher.", student_says="Student."), ANSWERED[0]]
    step = MFD(recorded="student_says")
    made = step(records, {"judge": Fake.scripted(verdict(9, 2), verdict(2, 9))})
    assert step.roles == ("judge",) and hard(made[0]) and made[1].extra["mfd"]["reason"] == "not_recorded"


def test_records_without_an_answer_pass_through():
    records = [Record.seed("Question?"), ANSWERED[0].reject("truncated")]
    assert fit(records, [], [])[0] == records


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("First: 8\nSecond: 4", (8, 4)),
        ("**First answer:** 8/10\n**Second answer:** 7.5/10", (8, 7.5)),
        ("8 4", (8, 4)),
        ("8, 4.", (8, 4)),
        ("第一个：8\n第二个：4", (8, 4)),
        ("first: 3 out of 10\nsecond: 9 out of 10", (3, 9)),
    ],
)
def test_two_scores_are_read(text, pair):
    assert parse_pair(text, 1, 10).value == pair


NONE = ["", "8", "First: 8", "The first is better.", "First: 8\nSecond: 4\nFirst: 2", "0 4", "8 4 2"]


@pytest.mark.parametrize("text", NONE)
def test_what_is_not_two_scores_is_none(text):
    assert parse_pair(text, 1, 10).reason


def test_a_scale_upside_down_is_refused():
    with pytest.raises(ValueError, match="low must be below high, got 10 and 1"):
        MFD(low=10, high=1)
