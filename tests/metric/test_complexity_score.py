from evodistill.backend.fake import Fake
from evodistill.metric.complexity_score import ComplexityScore
from evodistill.results import summarize


def score(records, *replies, **settings):
    judge = Fake.scripted(*replies)
    return ComplexityScore(model="judge", **settings)(records, {"judge": judge}), judge


def test_scores_are_read_whatever_their_clothes(seeds):
    """CS1"""
    scores, _ = score(seeds, "85", "85/100", "Score: 85", "**85**", "85.")
    assert [row.values["complexity_score"] for row in scores] == [85] * 5


def test_nan_inf_and_out_of_range_are_no_scores(seeds):
    """CS1"""
    scores, _ = score(seeds, "nan", "inf", "-5", "900", "8/10")
    assert [row.values["complexity_score"] for row in scores] == [None] * 5
    assert [row.reason for row in scores] == ["no_score", "no_score", "out_of_range", "out_of_range", "other_scale"]


def test_failures_are_counted_and_none_valid_is_no_mean(seeds):
    """CS2: not 0.0"""
    scores, _ = score(seeds[:2], "hard to say", "?")
    summary = summarize([row.to_dict() for row in scores], 0)["complexity_score"]["0"]
    assert summary == {"mean": None, "ci95": None, "n": 0, "unparsed": 2}


def test_both_prompts_are_there(seeds):
    """CS3: the wording that the paper prints, intent first, and the short one of its script"""
    _, first = score(seeds[:1], "1")
    _, second = score(seeds[:1], "1", prompt="complexity_score/short")
    assert "what the user wants" in first.asked[0].chat[0]["content"]
    assert "what the user wants" not in second.asked[0].chat[0]["content"]


def test_input_ids_and_raw_replies_are_kept(seeds):
    """CS4, as CR3 to CR5"""
    scores, judge = score([seeds[1]], "no idea")
    assert seeds[1].input in judge.asked[0].chat[0]["content"]
    assert (scores[0].id, scores[0].reason, scores[0].raw) == (seeds[1].id, "no_score", "no idea")
