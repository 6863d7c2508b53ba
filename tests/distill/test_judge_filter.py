import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.judge_filter import JudgeFilter, parse
from evodistill.record import Record

ANSWERED = [Record.seed(f"Question {n}?", "", f"Answer {n}.") for n in range(4)]
TWO = {"helpfulness": 6, "correctness": 1}


def judged(records, *replies, least=TWO, **settings):
    judge = Fake.scripted(*replies)
    return JudgeFilter(model="judge", least=least, **settings)(records, {"judge": judge}), judge


def reasons(made) -> list[str]:
    return [record.fault.reason if record.fault else "" for record in made]


def test_each_criterion_is_a_question_with_instruction_and_answer():
    made, judge = judged(ANSWERED[:1], "7", "1")
    first, second = (request.chat[0]["content"] for request in judge.asked)
    assert "help the person" in first and "0 to 9" in first and "1 for correct" in second
    assert all("Question 0?" in text and "Answer 0." in text for text in (first, second))
    assert made[0].extra["judged"] == {"helpfulness": 7, "correctness": 1} and not made[0].fault


def test_a_record_below_a_threshold_says_which():
    made, _ = judged(ANSWERED[:3], "5", "1", "9", "0", "6", "1")
    assert reasons(made) == ["below_threshold", "below_threshold", ""]
    assert [record.fault.detail for record in made if record.fault] == [
        "helpfulness 5, at least 6 is wanted",
        "correctness 0, at least 1 is wanted",
    ]


@pytest.mark.parametrize("reply", ["Very good.", "12", "7 or 8", "-1", Completion("", "error", error="context")])
def test_a_reply_that_is_no_score_is_none(reply):
    """1.x stores -1 as a score"""
    made, _ = judged(ANSWERED[:1], reply, "1")
    assert made[0].fault and made[0].fault.reason == "unscored" and made[0].fault.detail.startswith("helpfulness: ")
    assert made[0].extra["judged"] == {"correctness": 1}


def test_the_first_number_anywhere_is_no_score():
    """§9 of the operators' facts: "Step 1 … Score: 8" is 8, and 7.5 is not 7"""
    assert parse("Step 1: read. Step 2: compare.\nScore: 8", 9).value == 8
    assert parse("<score>7.5</score>", 9).value == 7.5
    assert parse("In step 1 it is wrong.", 9).reason == "no_score"
    assert parse("0.5", 1).reason == "neither_0_nor_1"


def test_the_top_share_is_by_the_mean_of_the_scores_up_to_9():
    """C8: correctness enters no mean with them"""
    replies = ["6", "9", "1", "8", "8", "1", "7", "6", "1", "9", "9", "1"]
    made, _ = judged(ANSWERED, *replies, least={"helpfulness": 6, "informativeness": 6, "correctness": 1}, top=0.5)
    assert reasons(made) == ["not_in_top", "", "not_in_top", ""]
    assert made[0].fault and made[0].fault.detail == "rank 3 of 4, mean 7.500"


def test_ties_are_drawn_by_seed_and_id_and_not_by_order():
    replies = ["7", "1"] * 4
    first = {r.id for r in judged(ANSWERED, *replies, top=0.5)[0] if not r.fault}
    assert first == {r.id for r in judged(ANSWERED[::-1], *replies, top=0.5)[0] if not r.fault} and len(first) == 2


def test_a_record_without_an_answer_is_not_judged():
    made, judge = judged([Record.seed("Question?"), ANSWERED[0].reject("truncated")])
    assert reasons(made) == ["no_answer", "truncated"] and not judge.asked


def test_chinese():
    made, judge = judged([Record.seed("北京在哪里？", "", "在中国。")], "评分：8", "1", language="zh")
    assert "请评判" in judge.asked[0].chat[0]["content"] and reasons(made) == ["unscored"]
    assert reasons(judged([Record.seed("北京在哪里？", "", "在中国。")], "8", "1", language="zh")[0]) == [""]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"least": {}}, "least is empty"),
        ({"least": {"helpfulness": 10}}, "least.helpfulness must be from 0 to 9, got 10"),
        ({"least": {"correctness": 2}}, "least.correctness must be from 0 to 1, got 2"),
        ({"least": {"correctness": 1}, "top": 0.5}, "top needs a criterion to rank by"),
        ({"top": 0}, r"top must be in \(0, 1\], got 0"),
    ],
)
def test_bad_values_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        JudgeFilter(**{"model": "judge", "least": TWO} | settings)
