from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.metric.complexity_rate import ComplexityRate
from evodistill.results import summarize


def rate(records, *replies, **settings):
    judge = Fake.scripted(*replies)
    return ComplexityRate(model="judge", **settings)(records, {"judge": judge}), judge


def test_labels_become_one_to_five(seeds):
    scores, _ = rate(seeds, "very easy", "easy", "medium", "hard", "very hard")
    assert [score.values["complexity_rate"] for score in scores] == [1, 2, 3, 4, 5]
    assert [score.label for score in scores] == ["very easy", "easy", "medium", "hard", "very hard"]


def test_dressed_labels_count(seeds):
    """CR1"""
    scores, _ = rate(seeds, "Hard", "hard.", '{"rating": "hard"}', "Rating: hard", "I think it is\n**hard**")
    assert [score.label for score in scores] == ["hard"] * 5


def test_the_prompt_asks_for_a_label_only_and_separates_its_headings(seeds):
    """CR2"""
    for template in ("complexity_rate/intent", "complexity_rate/short"):
        _, judge = rate(seeds[:1], "easy", prompt=template)
        text = judge.asked[0].chat[0]["content"]
        assert f"\n\nInstruction:\n{seeds[0].instruction}\n" in text and text.endswith("\n\nRating:")


def test_the_input_is_judged_too(seeds):
    """CR3"""
    _, judge = rate([seeds[1]], "easy")
    assert seeds[1].input in judge.asked[0].chat[0]["content"]


def test_every_record_has_a_row_with_its_id_and_the_raw_reply_where_unparsed(seeds):
    """CR4, CR5: rows by id, one JSON object each"""
    scores, _ = rate(seeds, "easy", "hmm", Completion("", "error", error="timeout"), "hard", "")
    assert [score.id for score in scores] == [seed.id for seed in seeds]
    assert [score.reason for score in scores] == ["", "no_label", "no_reply", "", "empty"]
    assert [score.raw for score in scores] == ["", "hmm", "timeout", "", ""]


def test_unparsed_replies_are_counted_and_stay_out_of_the_mean(seeds):
    """CR1, CR5"""
    scores, _ = rate(seeds, "easy", "hmm", "hard", "", "hard")
    summary = summarize([score.to_dict() for score in scores], 0)["complexity_rate"]["0"]
    assert (summary["n"], summary["unparsed"]) == (3, 2)
    assert summary["mean"] == (2 + 4 + 4) / 3
    assert summary["counts"] == {"easy": 1, "hard": 2}


def test_each_of_two_judges_has_the_counts_of_its_own_labels(seeds):
    judges = {"judge": Fake.scripted("easy", "hmm", "hard"), "other": Fake.scripted("very easy", "hard", "hmm")}
    judges["other"].name = "another"
    scores = ComplexityRate("judge", second="other")(seeds[:3], judges)
    found = summarize([score.to_dict() for score in scores], 0)
    assert found["complexity_rate"]["0"]["counts"] == {"easy": 1, "hard": 1}
    assert found["complexity_rate_second"]["0"]["counts"] == {"very easy": 1, "hard": 1}


def test_no_records():
    assert rate([])[0] == []
