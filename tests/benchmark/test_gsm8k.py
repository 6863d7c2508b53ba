import json

import pytest

from evodistill.backend.fake import Fake
from evodistill.benchmark.gsm8k import GSM8K, flexible, strict


@pytest.mark.parametrize(
    ("reply", "marked", "last"),
    [
        ("so it is 5.\n#### 18", 18, 18),
        ("#### $1,250.50 in 3 days", "1250.5", 3),
        ("**#### -4**", -4, -4),
        ("#### 5\nNo, that was wrong.\n#### 6", 6, 6),
        ("The answer is **$34**.", None, 34),
        ("She has 16-3-4 eggs", None, 4),
        ("x=-3", None, -3),
        ("It costs .5", None, "0.5"),
        ("2,000 words", None, 2000),
        ("Final answer - 18", None, 18),
        ("Eggs left:\n- 9", None, 9),
        ("so 20 - 2 = 18 - done", None, 18),
        ("#### - 18", 18, 18),
        ("It is -18", None, -18),
        ("$-5", None, -5),
        ("-$5", None, -5),
        ("a loss of −$ 1,234.50.", None, "-1234.5"),
        ("from $3-$5", None, 5),
        ("The answer is...18", None, 18),
        ("Rs.500", None, 500),
        ("about -.5", None, "-0.5"),
        ("It is 18.", None, 18),
        ("1,2,3", None, 3),
        ("12,345,678 or 1,2345", None, 2345),
        ("release 1.5.3", None, "1.5"),
        ("version2 of it", None, None),
        ("####", None, None),
        ("", None, None),
    ],
)
def test_the_number_of_a_reply(reply, marked, last):
    assert strict(reply) == (None if marked is None else pytest.approx(float(marked)))
    assert flexible(reply) == (None if last is None else pytest.approx(float(last)))


def test_a_reply_without_a_number_is_wrong_and_says_so(items):
    student = Fake.scripted("#### 22", "about 34", "many words", "  ", "#### 7")
    scores = GSM8K(model="student", data=items("gsm8k"))({"student": student})
    assert [score.label for score in scores] == ["marked", "last", "no_number", "empty", "marked"]
    assert [dict(score.values) for score in scores] == [
        {"gsm8k": right, "gsm8k_strict": marked} for right, marked in ((1, 1), (1, 0), (0, 0), (0, 0), (0, 0))
    ]
    assert scores[1].extra == {"said": "34"}


def test_the_prompt_holds_the_question_and_asks_for_the_mark(items):
    student = Fake.scripted(*["#### 1"] * 5)
    GSM8K(model="student", data=items("gsm8k"))({"student": student})
    asked = student.asked[0].chat[0]["content"]
    assert "12 jars of honey" in asked and "#### number" in asked


def test_the_worked_answers_of_the_test_set_are_all_right(shared, tmp_path):
    test = shared / "data/gsm8k/test.jsonl"
    path = tmp_path / "answers.jsonl"
    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps({"question": r["question"], "response": r["answer"]}) + "\n" for r in rows))
    scores = GSM8K(model="student", data=str(test), answers=str(path))({})
    assert len(scores) == 1319
    assert all(set(score.values.values()) == {1.0} for score in scores)
