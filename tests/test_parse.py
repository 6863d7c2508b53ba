import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill.metric.complexity_rate import LABELS
from evodistill.parse import Parsed, parse_label, parse_score, parse_tag


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("hard", "hard"),
        ("Hard", "hard"),
        ("hard.", "hard"),
        (" **Very Hard** \n", "very hard"),
        ('{"rating": "very easy"}', "very easy"),
        ('```json\n{"difficulty": "medium"}\n```', "medium"),
        ("The user wants a poem.\nRating: easy", "easy"),
        ("Rating: [very hard]", "very hard"),
        ("This is hardly easy to see.\n\nmedium", "medium"),
        ("very-hard", "very hard"),
        ("Rating: Very-hard", "very hard"),
        ("Rating: hard\nReason: it is easy to misread", "hard"),
        ("I would call it hard.\nIt needs proofs.", "hard"),
    ],
)
def test_a_label_is_found_whatever_its_clothes(reply, label):
    """CR1"""
    assert parse_label(reply, LABELS) == Parsed(label)


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("Not easy, I would say.\nHence I rate this as hard.", "hard"),
        ("Intent: explain hard drives\nThe difficulty is **medium**.", "medium"),
        ("1. very easy\n2. easy\n3. medium\n4. hard\n5. very hard\n\nThe label is hard", "hard"),
    ],
)
def test_a_reply_that_reasons_has_the_label_that_it_ends_with(reply, label):
    assert parse_label(reply, LABELS) == Parsed(label)


def test_labels_that_differ_in_their_marks_alone():
    labels = ["C", "C#", "+", "Python"]
    assert [parse_label(reply, labels).value for reply in ("C#", "C", "The answer is C.", "+")] == ["C#", "C", "C", "+"]
    assert parse_label("-", ["+", "-"]).value == "-" and parse_label("a sum", ["+", "-"]).reason == "no_label"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("I cannot say.", "no_label"),
        ("It is easy or medium.", "several_labels"),
        ("very easy, easy, medium, hard, very hard", "several_labels"),
        ("This looks hard\nbut may be easy or hard", "several_labels"),
        ("harder", "no_label"),
        ("I would call it hard.\nIt is easy to misread.", "several_labels"),
        ("very easy\neasy\nmedium\nhard\nvery hard", "several_labels"),
        ("Rating: hard\nRating: easy", "several_labels"),
        ("So it is easy.\nOr is it hard? It may be.", "several_labels"),
    ],
)
def test_a_reply_without_one_label_has_a_reason(reply, reason):
    assert parse_label(reply, LABELS) == Parsed(reason=reason)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("85", 85),
        ("85/100", 85),
        ("Score: 85", 85),
        ("**Score:** 85/100", 85),
        ("85.", 85),
        ("72.5", 72.5),
        ("0", 0),
        ("100", 100),
        ("85 out of 100", 85),
        ('{"score": 40}', 40),
        ("Step 1 is simple. Step 2 is not.\nScore: 8", 8),
        ("I would give it a rating of 60.", 60),
        ("It takes 3 steps and I see 40/100 here", 40),
        ("Score: 20\nA score of 100 would need an answer.", 20),
        ("Score: 20. (Maximum score: 100)", 20),
        ("7,5", 7.5),
    ],
)
def test_a_score_is_found(reply, score):
    """CS1"""
    assert parse_score(reply, 0, 100) == Parsed(score)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("nan", "no_score"),
        ("inf", "no_score"),
        ("-5", "out_of_range"),
        ("900", "out_of_range"),
        ("Score: 101", "out_of_range"),
        ("8/10", "other_scale"),
        ("It takes 3 steps.", "no_score"),
        ("hard", "no_score"),
        ("Score: 70 or 80", "several_scores"),
        ("1,000", "out_of_range"),
    ],
)
def test_a_reply_without_a_score_in_range_has_a_reason(reply, reason):
    """CS1, CS2: no default, no 0.0"""
    assert parse_score(reply, 0, 100) == Parsed(reason=reason)


def test_a_tag_gives_its_last_complete_content():
    assert parse_tag("<answer>a</answer> or <answer> b </answer>", "answer") == Parsed("b")
    assert parse_tag("<answer>a", "answer") == Parsed(reason="tag_not_closed")
    assert parse_tag("a", "answer") == Parsed(reason="no_tag")
    assert parse_tag("<answer> </answer>", "answer") == Parsed(reason="empty")


@given(st.text(max_size=300))
def test_parsers_are_total(text):
    for parsed in (parse_label(text, LABELS), parse_score(text, 0, 100), parse_tag(text, "answer")):
        assert (parsed.value is None) == bool(parsed.reason)
