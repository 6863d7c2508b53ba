from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.evolution.evol_instruct import EvolInstruct
from evodistill.metric.judged_reward import JudgedReward
from evodistill.results import summarize

EVOLUTION = EvolInstruct(model="evolver")


def child(parent, instruction):
    return parent.child(instruction, parent.input, step="evol_instruct", operation="deepening", round=1)


def judged(records, *replies, **settings):
    judge = Fake.scripted(*replies)
    return JudgedReward(model="judge", evolution=EVOLUTION, **settings)(records, {"judge": judge}), judge


def test_a_judge_is_shown_request_and_reply(seeds):
    made = child(seeds[0], "Name three green teas.")
    scores, judge = judged([seeds[0], made], "8")
    text = judge.asked[0].chat[0]["content"]
    assert EVOLUTION.asked(seeds[0], made)[0]["content"] in text and text.endswith("Rating from 0 to 10:")
    assert text.index(seeds[0].instruction) < text.index('Reply:\n"""\nName three green teas.\n"""')
    assert [score.values for score in scores] == [{}, {"judged_reward": 8.0}]


def test_a_judge_that_rambles_gives_reasons_and_no_means(seeds):
    records = [child(seed, f"Harder {number}.") for number, seed in enumerate(seeds)]
    replies = ("I would say that 3 of the points are met.", "11", "", Completion("", "error", error="timeout"), "7/10")
    scores, _ = judged([*seeds, *records], *replies)
    assert [score.reason for score in scores[5:]] == ["no_score", "out_of_range", "empty", "no_reply", ""]
    summary = summarize([score.to_dict() for score in scores], 0)["judged_reward"]
    assert set(summary) == {"1"} and (summary["1"]["mean"], summary["1"]["n"], summary["1"]["unparsed"]) == (7, 1, 4)
