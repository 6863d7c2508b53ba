import random

import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.evolution.method import SLOT, Method
from evodistill.evolution.optimizer.candidate import tree
from evodistill.evolution.optimizer.failure_rate import FailureRate
from evodistill.record import Record

SEEDS = [Record.seed(f"Name {number} teas.", index=number) for number in range(12)]
START = Method(f"Start. {SLOT} Finally Rewritten Instruction:")
SMALL = {"steps": 1, "candidates": 2, "batch": 2, "dev": 4, "pool": 10}


def method(words: str) -> Method:
    return Method(f"{words}. {SLOT} Finally Rewritten Instruction:")


def block(words: str) -> str:
    return f"```Optimized Method\n{method(words).text}\n```"


class Evolver:
    """Under a method, the first so many of the rows that it is shown at a time fail; remembers what it was asked."""

    def __init__(self, fails: dict[str, int]):
        self.fails, self.asked = fails, []

    def __call__(self, pairs):
        self.asked.append(list(pairs))
        seen: dict[str, int] = {}
        return [self.child(way.text.split(".")[0], row, seen) for way, row in pairs]

    def child(self, words: str, row: Record, seen: dict[str, int]) -> Record:
        seen[words] = seen.get(words, 0) + 1
        child = row.child(f"{row.instruction} Harder by {words}.")
        return child.reject("unparsed", "no_final_heading", "raw") if seen[words] <= self.fails.get(words, 0) else child


def search(fails, *replies, scores=(), answer="Tea.", seeds=SEEDS, **settings):
    """The candidates, the scripted optimizer and the evolver."""
    optimizer, evolver = Fake.scripted(*replies), Evolver(fails)
    answerer = Fake("fake", rules=[{"match": ".", "replies": [answer]}])
    step = FailureRate("optimizer", "answerer", judge="judge" if scores else None, **SMALL | settings)
    models = {"optimizer": optimizer, "answerer": answerer, "judge": Fake.scripted(*scores)}
    return step(START, seeds, evolver, models), optimizer, evolver


def kept(tried):
    return [candidate.id for candidate in tried if candidate.kept]


def test_the_candidate_that_fails_least_is_the_method_of_the_next_step():
    replies = ["why", "why", block("A"), block("B"), "why", "why", block("C"), block("D")]
    tried, _, _ = search({"Start": 3, "A": 2, "B": 1, "C": 1}, *replies, steps=2)
    assert [(candidate.id, candidate.parent, candidate.rate) for candidate in tried] == [
        ("0", "", 0.75),
        ("1.1", "0", 0.5),
        ("1.2", "0", 0.25),
        ("2.1", "1.2", 0.25),
        ("2.2", "1.2", 0.0),
    ]
    assert kept(tried) == ["0", "1.2", "2.2"]


def test_the_best_so_far_competes_and_wins_ties():
    """Elitism: the rate never rises"""
    tried, _, _ = search({"Start": 2, "A": 2, "B": 3}, "why", "why", block("A"), block("B"))
    assert kept(tried) == ["0"] and [candidate.rate for candidate in tried] == [0.5, 0.5, 0.75]


def test_among_equals_the_shorter_one_wins():
    tried, _, _ = search({"Start": 2}, "why", "why", block("Longer"), block("A"))
    assert kept(tried) == ["0", "1.2"]


def test_or_the_one_by_which_instructions_gain_more_in_complexity():
    scores = [*["10", "20"] * 4, *["10", "30", "10", "no idea", "10", "30", "10", "30"]]
    tried, _, _ = search({"Start": 2}, "why", "why", block("A"), block("Longer"), scores=scores)
    assert kept(tried) == ["0", "1.2"] and [candidate.gain for candidate in tried] == [None, 10.0, 20.0]


def test_it_stops_when_the_rate_no_longer_falls():
    tried, optimizer, _ = search({"Start": 1, "A": 1, "B": 1}, "why", "why", block("A"), block("B"), steps=10)
    assert len(optimizer.asked) == 4 and tried[-1].step == 1
    more = ["why", "why", block("C"), block("D")]
    tried, _, _ = search(
        {"Start": 2, "A": 2, "B": 2, "C": 1, "D": 0}, "why", "why", block("A"), block("B"), *more, steps=10, patience=2
    )
    assert kept(tried) == ["0", "2.2"]  # and stops there: nothing fails any more


def test_a_method_that_never_fails_is_not_improved():
    tried, optimizer, _ = search({})
    assert (len(tried), tried[0].rate, optimizer.asked) == (1, 0.0, [])


def test_answers_tell_the_failures_by_the_form_that_was_chosen():
    """AE4"""
    polite = "Great tea is green. Do you want more?"
    strict, _, _ = search({}, answer=polite.replace("Great tea", "Tea that is great"), form="strict")
    loose, _, _ = search({}, "x", "x", "x", "x", answer=polite.replace("Great tea", "Tea that is great"), form="loose")
    assert (strict[0].rate, loose[0].rate) == (0.0, 1.0)
    assert set(loose[0].failures.values()) == {"stagnant_complexity"}


def test_an_evolved_text_that_cannot_be_read_is_a_failure_by_its_reason():
    tried, _, _ = search({"Start": 3}, "why", "why", "", "")
    assert tried[0].to_dict()["reasons"] == {"unparsed": 3}


def test_a_reply_without_a_method_is_kept_with_its_reason_and_never_tried():
    """AE4"""
    cut = Completion("```Optimized Method\nx", "length")
    tried, _, evolver = search(
        {"Start": 1},
        *["why"] * 5,
        "I cannot.",
        "```\nno place\n```",
        cut,
        Completion("", "error", error="timeout"),
        block("Start"),
        candidates=5,
    )
    assert [(candidate.refused, candidate.rate) for candidate in tried[1:]] == [
        ("no_block", None),
        ("no_slot", None),
        ("truncated", None),
        ("no_reply", None),
        ("known", None),
    ]
    assert tried[1].raw == "I cannot." and kept(tried) == ["0"]
    assert len(evolver.asked) == 3 and evolver.asked[2] == []  # the initial method, the trajectories, no candidate


def test_dev_rows_are_the_same_for_all_candidates_and_in_any_order_of_the_records():
    shuffled = random.Random(1).sample(SEEDS, len(SEEDS))
    replies = ["why", "why", block("A"), block("B")]
    (_, _, first), (_, _, second) = (search({"Start": 1}, *replies, seeds=seeds) for seeds in (SEEDS, shuffled))
    assert first.asked == second.asked
    dev = [row.id for _, row in first.asked[0]]
    assert [row.id for _, row in first.asked[2]] == dev * 2 and len(set(dev)) == 4
    assert not {row.id for _, row in first.asked[1]} & set(dev)  # the optimizer never reads the dev rows


def test_all_candidates_of_a_step_are_asked_for_in_one_call_each_a_draw_of_its_own():
    tried, optimizer, _ = search({"Start": 2}, "first", "second", block("A"), block("B"))
    analyses, rewrites = optimizer.asked[:2], optimizer.asked[2:]
    assert [request.draw for request in analyses] == [0, 1]
    assert ["first" in rewrites[0].chat[0]["content"], "second" in rewrites[1].chat[0]["content"]] == [True, True]
    assert [candidate.feedback for candidate in tried] == ["", "first", "second"]
    assert {(request.sampling.temperature, request.sampling.top_p) for request in optimizer.asked} == {(0.6, 0.95)}


def test_the_optimizer_reads_the_stages_and_the_raw_text_of_a_failed_one():
    replies = ["why", "why", block("A"), block("B")]
    _, optimizer, evolver = search({"Start": 1}, *replies, rounds=2)
    asked = optimizer.asked[0].chat[0]["content"]
    first, second = (row for _, row in evolver.asked[1])
    assert f"Stage 0: {first.instruction}\nStage 1: [failed: unparsed no_final_heading] raw" in asked
    assert f"Stage 1: {second.instruction} Harder by Start.\nStage 2: [failed" in asked  # it fails in the next round
    assert START.text in optimizer.asked[2].chat[0]["content"]


def test_what_a_model_writes_is_never_rendered():
    """AE7"""
    evil = f"```Optimized Method\n{{{{ 7*7 }}}} {{% endraw %}} {SLOT} Finally Rewritten Instruction:\n```"
    feedback = "{{ 7*7 }} {% raw %}"
    tried, optimizer, evolver = search({"Start": 2}, feedback, feedback, evil, block("A"))
    assert tried[1].method and tried[1].method.text.startswith("{{ 7*7 }} {% endraw %}")
    assert feedback in optimizer.asked[2].chat[0]["content"]
    assert evolver.asked[2][0][0].fill(SEEDS[0]).startswith("{{ 7*7 }} {% endraw %} Name 0 teas.")


def test_few_records_make_fewer_dev_rows(caplog):
    _, _, evolver = search({}, seeds=SEEDS[:5], dev=4)
    assert len(evolver.asked[0]) == 2 and "5 records are too few for dev=4: 2 dev rows" in caplog.text
    assert search({}, seeds=SEEDS[:1])[0][0].rate == 0.0


def test_the_tree_shows_parents_rates_and_refusals():
    tried, _, _ = search({"Start": 3, "A": 1}, "why", "why", block("A"), "none")
    assert tree(tried) == "0      0.750 *\n  1.1    0.250 *\n  1.2    refused: no_block"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be ≥ 1"),
        ({"candidates": 0}, "candidates must be ≥ 1"),
        ({"form": "lax"}, "form must be one of strict, loose"),
        ({"pool": 4}, "pool must be larger than dev=4"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FailureRate("optimizer", "evolver", **SMALL | settings)
