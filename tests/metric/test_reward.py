from dataclasses import replace

import pytest
from repository import FAKES

from evodistill.backend import Backend, Rewarded
from evodistill.config import build
from evodistill.evolution.evol_instruct import EvolInstruct
from evodistill.metric.judged_reward import JudgedReward
from evodistill.metric.reward import Reward
from evodistill.pipeline import run
from evodistill.record import read_jsonl, read_records
from evodistill.results import summarize

EVOLUTION = EvolInstruct(model="evolver")


class Given(Backend):
    """Gives each chat the reward it is told to; remembers what it was asked."""

    def __init__(self, *values: float | str):
        super().__init__("given")
        self.given, self.asked = values, []

    identity = "given"

    def rewards(self, chats):
        self.asked = list(chats)
        yield [(i, Rewarded(reason=v) if isinstance(v, str) else Rewarded(v)) for i, v in enumerate(self.given)]


def child(parent, instruction, operation="deepening", round=1):
    return parent.child(instruction, parent.input, step="evol_instruct", operation=operation, round=round)


def reward(records, *values, **settings):
    model = Given(*values)
    return Reward(model="reward", evolution=EVOLUTION, **settings)(records, {"reward": model}), model


def test_the_request_is_the_prompt_of_the_parent_with_the_operation_really_used(seeds):
    """RW1, RW3: not the prompt of the evolved text, whatever the place of the record says of its operation"""
    seed = seeds[1]
    first = child(seed, "Summarise it in ten words.", "breadth")
    second = child(first, "Summarise it in ten words that rhyme.", "constraints", round=2)
    scores, model = reward([second, first, seed], 1.5, -2.0)
    (asked, reply), (asked_first, reply_first) = ((chat[0]["content"], chat[1]["content"]) for chat in model.asked)
    assert (reply, reply_first) == (second.instruction, first.instruction)
    assert asked == EVOLUTION.asked(first, second)[0]["content"]
    assert first.instruction in asked and second.instruction not in asked
    assert seed.instruction in asked_first and seed.input in asked_first and first.instruction not in asked_first
    assert "different and less common" in asked_first, "breadth was used"
    assert [score.values.get("reward") for score in scores] == [1.5, -2.0, None]


def test_what_has_no_reward_has_a_reason_and_seeds_are_not_missing(seeds):
    first = child(seeds[0], "Name three green teas.")
    orphan = child(child(seeds[1], "gone"), "Whose parent is not here?", round=2)
    stand_in = child(seeds[2], seeds[2].instruction, "keep_parent")
    other = seeds[3].child("From elsewhere.", step="auto", operation="?", round=1)
    refused = child(seeds[4], "Fix the bug and say why.")
    scores, model = reward([*seeds, first, orphan, stand_in, other, refused], 0.5, "the reward is nan")
    assert len(model.asked) == 2
    assert [score.reason for score in scores] == [
        *["seed"] * 5, "", "no_parent", "not_evolved", "no_prompt", "no_reward"
    ]  # fmt: skip
    assert scores[-1].raw == "the reward is nan"
    summary = summarize([score.to_dict() for score in scores], 0)["reward"]
    assert set(summary) == {"1", "2"} and summary["1"]["mean"] == 0.5
    assert (summary["1"]["n"], summary["1"]["unparsed"], summary["2"]["unparsed"]) == (1, 3, 1)


def test_the_raw_reward_stands_whatever_else_is_wanted_RW2(seeds):
    """by hand: lengths 10, 20 and 30, their mean 20; a negative reward is only made worse by `multiply`"""
    records = [child(seed, "x" * length) for seed, length in zip(seeds, (10, 20, 30), strict=False)]
    scores, _ = reward([*seeds, *records], 2.0, 1.0, -3.0, length=["multiply", "divide"])
    found = [score.values for score in scores[5:]]
    assert [values["reward"] for values in found] == [2.0, 1.0, -3.0]
    assert [values["reward_times_length"] for values in found] == [1.0, 1.0, -4.5]
    assert [values["reward_by_length"] for values in found] == [4.0, 1.0, -2.0]
    assert set(reward([*seeds, *records], 2.0, 1.0, -3.0)[0][5].values) == {"reward"}


def test_the_mean_length_is_that_of_the_round(seeds):
    one, two = child(seeds[0], "x" * 10), child(seeds[1], "x" * 1000, round=2)
    scores, _ = reward([*seeds, one, two], 2.0, 2.0, length=["multiply"])
    assert [score.values["reward_times_length"] for score in scores[5:]] == [2.0, 2.0]


def test_responses_are_rewarded_as_replies_to_their_instructions(seeds):
    records = [replace(seeds[1], output="A flood took the mill."), replace(seeds[0], output=" ")]
    scores, model = reward(records, 3.0, target="response")
    assert model.asked == [
        [
            {"role": "user", "content": f"{seeds[1].instruction}\n{seeds[1].input}"},
            {"role": "assistant", "content": "A flood took the mill."},
        ]
    ]
    assert scores[0].values == {"response_reward": 3.0}
    assert (scores[1].values, scores[1].reason) == ({"response_reward": None}, "no_answer")


@pytest.mark.parametrize("metric", [Reward, JudgedReward])
def test_an_evolution_that_cannot_say_what_it_asked_is_refused(metric):
    with pytest.raises(ValueError, match=r"evolution null cannot say what it asked.*target=response"):
        metric(model="m")
    with pytest.raises(ValueError, match="evolution int cannot"):
        metric(model="m", evolution=3)
    with pytest.raises(ValueError, match="target must be instruction or response, got 'both'"):
        metric(model="m", evolution=EVOLUTION, target="both")
    assert metric(model="m", target="response")


def test_unknown_adjustments_are_refused():
    with pytest.raises(ValueError, match="length knows multiply, divide, got 'add'"):
        Reward(model="m", target="response", length=["add"])


def test_both_run_in_the_pipeline_beside_each_other(cfg, tmp_path):
    """RW3, RW4, RW5: a row for every record of the run's own data, with its round and operation"""
    settings = [
        "dataset.limit=6",
        "evolution.rounds=2",
        "metric=[reward,judged_reward]",
        "metric.reward.length=[divide]",
    ]
    run(cfg("+experiment=smoke", *FAKES, *settings, f"artifacts={tmp_path}/artifacts"), tmp_path / "run")
    rows = list(read_jsonl(tmp_path / "run" / "scores" / "reward.jsonl"))
    rewarded = [row for row in rows if not row["reason"]]
    (made,) = (tmp_path / "artifacts").glob("evolution-*/records.jsonl")
    assert {row["id"]: row["round"] for row in rows} == {r.id: r.origin.round for r in read_records(made)}
    assert rewarded and all({"reward", "reward_by_length"} == set(row["values"]) for row in rewarded)
    assert {row["reason"] for row in rows} <= {"", "seed", "not_evolved"}
    assert not any(row["reason"] for row in rows if row["round"] == 2 and row["operation"] != "keep_parent")


@pytest.mark.parametrize("name", ["reward", "judged_reward"])
def test_the_yaml_takes_the_evolution_of_the_run(cfg, name):
    composed = cfg(f"metric=[{name}]", "evolution.breadth=false")
    assert build(composed.metric[name]).evolution.breadth is False
