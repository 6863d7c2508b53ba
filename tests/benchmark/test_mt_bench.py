import json

import pytest
from repository import FAKES

from evodistill import RunError
from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.benchmark.items import Answer
from evodistill.benchmark.mt_bench import MTBench, parse_rating
from evodistill.pipeline import run
from evodistill.record import read_jsonl

FAILED = Completion("", "error", error="no room")


def mt_bench(items, replies, verdicts, **settings):
    student, judge = Fake.scripted(*replies), Fake.scripted(*verdicts)
    benchmark = MTBench(model="student", judge="judge", data=items("mt_bench"), **settings)
    scores = benchmark({"student": student, "judge": judge})
    return scores, benchmark.whole([], scores), student, judge


def test_both_turns_are_asked_and_graded(items):
    replies = ("Sea.", "102", "Leaf", "Sea, free.", "51", "A leaf a day.")
    verdicts = ("Nice. [[6]]", "Poor. [[3]]", "Right. [[10]]", "[[9]]", "Short.\nRating: [[4]]", "Rating: 8")
    scores, whole, student, _ = mt_bench(items, replies, verdicts)
    assert [dict(score.values) for score in scores] == [
        {"mt_bench": mean, "mt_bench_turn_1": first, "mt_bench_turn_2": second}
        for mean, first, second in ((4.5, 6, 3), (9.5, 10, 9), (6, 4, 8))
    ]
    assert (whole["mt_bench_writing"][0]["mean"], whole["mt_bench_math"][0]["mean"]) == (5.25, 9.5)
    assert [message["content"] for message in student.asked[3].chat] == [
        "Write a postcard from a harbour town.", "Sea.", "Now write it as a rhyme.",
    ]  # fmt: skip
    assert scores[0].extra["judge"] == "fake" and scores[0].extra["judge_identity"].startswith("fake:")


def test_the_judge_sees_question_answer_reference_and_for_the_second_turn_the_first(items):
    replies = ("Sea.", "102", "Leaf", "Sea, free.", "51", "A leaf a day.")
    *_, judge = mt_bench(items, replies, ["[[5]]"] * 6)
    first, second = (judge.asked[i].chat[0]["content"] for i in (2, 3))
    assert "What is 17 times 6?" in first and "Reference answer:\n102" in first and "halved" not in first
    assert all(text in second for text in ("17 times 6", "102", "halved", "question:\n51", "second question:\n51"))
    assert "Reference" not in judge.asked[0].chat[0]["content"]


def test_an_empty_answer_has_the_lowest_mark_unasked(items):
    replies = ("", "102", "Leaf", "Sea, free.", "51", "A leaf a day.")
    scores, _, _, judge = mt_bench(items, replies, ["[[5]]"] * 5)
    assert len(judge.asked) == 5 and scores[0].values["mt_bench"] == 3


def test_a_judge_that_rambles_or_an_answer_that_is_missing_is_a_reason(items):
    replies = (FAILED, "102", "Leaf", "51", FAILED)
    scores, whole, _, _ = mt_bench(items, replies, ["Both have 2 sides.", "[[11]]", "[[7]]"])
    assert [score.reason for score in scores] == ["no_reply", "no_score", "no_reply"]
    assert scores[1].raw == "Both have 2 sides." and set(scores[1].values.values()) == {None}
    assert dict(scores[2].values) == {"mt_bench": None, "mt_bench_turn_1": 7, "mt_bench_turn_2": None}
    assert whole["mt_bench_math"][0] == {"mean": None, "ci95": None, "n": 0, "unparsed": 1}


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Good. Rating: [[8]]", 8),
        ("I first thought [[3]], but [[7]]", 7),
        ("[[ 6.5 ]]", 6.5),
        ("Rating: 4/10", 4),
        ("[[0]]", "out_of_range"),
        ("It has 3 parts and 4 faults.", "no_score"),
        ("", "empty"),
    ],
)
def test_the_rating_of_a_reply(reply, found):
    parsed, _ = parse_rating(Answer(reply))
    assert (parsed.value if parsed.value is not None else parsed.reason) == found


def test_recorded_answers_and_references_in_fastchats_form(items, file):
    answers = file(
        {"question_id": 1, "choices": [{"turns": ["Sea.", "Free."]}]}, {"question_id": 3, "turns": ["L", "M"]}
    )
    references = file({"question_id": 1, "choices": [{"turns": ["A card.", "A rhyme."]}]}, name="references.jsonl")
    scores, _, _, judge = mt_bench(items, (), ["[[5]]"] * 4, answers=answers, references=references)
    assert [score.values["mt_bench"] for score in scores] == [5, None, 5]
    assert scores[1].reason == "no_answer"
    assert "A card." in judge.asked[1].chat[0]["content"] and "A rhyme." in judge.asked[1].chat[0]["content"]


@pytest.mark.parametrize("form", ["turns", "choices"])
def test_a_run_reads_recorded_answers(cfg, items, file, tmp_path, form):
    turns = ["Sea.", "Free."]
    path = file(
        {"question_id": 1, "turns": turns} if form == "turns" else {"question_id": 1, "choices": [{"turns": turns}]}
    )
    settings = [f"benchmark.mt_bench.data={items('mt_bench')}", f"benchmark.mt_bench.answers={path}"]
    run(
        cfg(*FAKES, "+benchmark=[mt_bench]", "steps=[]", "metric=[]", f"artifacts={tmp_path}/a", *settings),
        tmp_path / "run",
    )
    rows = list(read_jsonl(tmp_path / "run/scores/mt_bench.jsonl"))
    assert [row["reason"] == "no_answer" for row in rows] == [False, True, True]


def test_a_turn_of_null_is_no_answer(items, file):
    path = file({"question_id": 1, "turns": ["Sea.", None]}, {"question_id": 2, "turns": [None, None]})
    scores, _, _, judge = mt_bench(items, (), ["[[5]]"], answers=path)
    assert [(score.reason, score.values["mt_bench_turn_1"]) for score in scores[:2]] == [
        ("no_answer", 5),
        ("no_answer", None),
    ]
    assert len(judge.asked) == 1


@pytest.mark.parametrize("row", [{"question_id": 1, "reply": "x"}, {"question_id": 1, "choices": [{}]}, ["x"]])
def test_references_of_another_form_are_one_line(items, file, row):
    benchmark = MTBench(model="student", judge="judge", data=items("mt_bench"), references=file(row))
    with pytest.raises(RunError, match=r"given.jsonl:1: no reference answers \(this row needs 'turns' as a list"):
        benchmark.ready()


def test_a_row_that_is_no_pair_of_turns_is_one_line(items, file):
    with pytest.raises(RunError, match="this row needs 'turns' as a list of the two answers"):
        mt_bench(items, (), (), answers=file({"question_id": 1, "turns": ["only one"]}))
    with pytest.raises(RunError, match="turns are no list of two texts"):
        MTBench(model="student", judge="judge", data=file({"question_id": 1, "turns": ["only one"]})).items()


def test_the_public_questions_and_references_are_read(shared):
    folder = shared / "data/mt_bench"
    references = folder / "reference_answer_gpt-4.jsonl"
    benchmark = MTBench(
        model="student", judge="judge", data=str(folder / "question.jsonl"), references=str(references),
        answers=str(references),
    )  # fmt: skip
    judge = Fake.scripted(*["[[9]]"] * 60)
    scores = benchmark({"judge": judge})
    assert len(scores) == 80 and sum(score.reason == "no_answer" for score in scores) == 50
    given = [json.loads(line) for line in references.read_text(encoding="utf-8").splitlines()]
    assert given[0]["choices"][0]["turns"][0] in judge.asked[0].chat[0]["content"].split("Answer of the assistant")[0]
    whole = benchmark.whole([], scores)
    assert {name for name, rows in whole.items() if rows[0]["mean"]} == {
        "mt_bench_reasoning", "mt_bench_math", "mt_bench_coding",
    }  # fmt: skip


@pytest.mark.parametrize("reference", ["42", 7, ["a", "b", "c"], [["a"], "b"]])
def test_a_reference_that_is_no_list_of_two_texts_is_refused_at_the_start(file, reference):
    row = {"question_id": 1, "turns": ["What is 6 times 7?", "And halved?"], "reference": reference}
    with pytest.raises(RunError, match=r"given.jsonl:1: no item of mt_bench \(reference is no list of two texts"):
        MTBench(model="student", judge="judge", data=file(row)).ready()


def test_references_of_no_item_are_refused_at_the_start_and_a_number_is_a_text(items, file):
    path = file({"question_id": 99, "turns": ["a", "b"]})
    with pytest.raises(RunError, match=r"none of its reference answers names an item; .* \(question_id or "):
        MTBench(model="student", judge="judge", data=items("mt_bench"), references=path).ready()
    path = file({"question_id": 2, "turns": [102, 51]})
    benchmark = MTBench(model="student", judge="judge", data=items("mt_bench"), references=path, limit=1)
    benchmark.ready()  # whatever the limit draws
    assert benchmark.referred() == {"2": ["102", "51"]}
