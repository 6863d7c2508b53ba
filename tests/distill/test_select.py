from dataclasses import replace

import pytest
from repository import ROOT

from evodistill import RunError
from evodistill.backend.fake import Fake
from evodistill.config import build
from evodistill.distill.select import Select
from evodistill.evolution.evol_instruct import EvolInstruct
from evodistill.evolution.evolution import KEPT
from evodistill.metric import Score
from evodistill.metric.diversity import Diversity
from evodistill.metric.length import Length
from evodistill.metric.reward import Reward
from evodistill.record import to_line


class Scored:
    """A metric whose values are given by instruction; None and nan are missing."""

    roles, prompts = ("judge",), {}

    def __init__(self, values):
        self.values = values

    def __call__(self, records, models):
        return [Score.of(record, {"score": self.values[record.instruction]}) for record in records]


def evolved(seeds, number=1, **origin):
    return [seed.child(f"{seed.instruction} ({number})", round=number, **origin) for seed in seeds]


def written(folder, records):
    folder.mkdir()
    (folder / "records.jsonl").write_text("".join(to_line(record.to_dict()) for record in records))
    return str(folder)


def kept(records):
    return [record for record in records if not record.fault]


def reasons(records):
    return [record.fault.reason if record.fault else "" for record in records]


def test_two_evolvers_keep_the_same_seeds_equally_many(seeds, tmp_path):
    """AE3, AI18: by the id of the seed, not by row"""
    mine, theirs = evolved(seeds, model="a")[:4], evolved(seeds, model="b")[1:][::-1]
    left = Select(paired_with=[written(tmp_path / "theirs", theirs)], keep=2)(mine, {})
    right = Select(paired_with=[written(tmp_path / "mine", mine)], keep=2)(theirs, {})
    assert {record.origin.seed for record in kept(left)} == {record.origin.seed for record in kept(right)}
    assert len(kept(left)) == len(kept(right)) == 2
    assert sorted(reasons(left)) == ["", "", "not_selected", "unpaired"]


def test_a_line_with_more_records_than_its_counterpart_gives_up_the_rest(seeds, tmp_path):
    mine = [seeds[0].child(f"variant {number}", round=1) for number in range(3)]
    theirs = [seeds[0].child(f"other {number}", round=1) for number in range(2)]
    assert reasons(Select(paired_with=[written(tmp_path / "b", theirs)])(mine, {})).count("unpaired") == 1


def test_rounds_and_stand_ins_are_filters(seeds, tmp_path):
    made = [*seeds, *evolved(seeds), seeds[0].child("same", round=1, operation=KEPT)]
    assert reasons(Select(rounds=[1], stand_ins=False)(made, {})) == ["outside_rounds"] * 5 + [""] * 5 + ["stand_in"]
    # what the filters leave out on the other side is no counterpart
    other = written(tmp_path / "b", [seed.child("x", round=1, operation=KEPT) for seed in seeds])
    assert set(reasons(Select(paired_with=[other], stand_ins=False)(evolved(seeds), {}))) == {"unpaired"}


def test_the_top_share_by_a_metric(seeds):
    """SEL1, SEL3: 25 % of the records, highest first"""
    values = {seed.instruction: float(number) for number, seed in enumerate(seeds)}
    done = Select(metric=Scored(values), value="score", keep=0.4)(seeds, {})
    assert [record.id for record in kept(done)] == [seeds[3].id, seeds[4].id]
    assert done[0].fault.detail == "rank 5 of 5, score 0"
    low = Select(metric=Scored(values), value="score", keep=2, lowest=True)(seeds, {})
    assert [record.id for record in kept(low)] == [seeds[0].id, seeds[1].id]


@pytest.mark.parametrize("rounds", [None, [1]])
def test_rewards_rank_what_was_evolved_whatever_became_of_its_parents(seeds, rounds):
    """Seeds are no replies: they have no value, which is not the same as a misspelt one"""
    made = evolved(seeds, step="evol_instruct", operation="deepening")
    metric = Reward(model="reward", evolution=EvolInstruct(model="evolver"))
    reward = Fake("fake")
    out = Select(metric=metric, value="reward", keep=2, rounds=rounds)([*seeds, *made], {"reward": reward})
    rewards = {score.id: score.values.get("reward") for score in metric([*seeds, *made], {"reward": reward})}
    best = sorted((record.id for record in made), key=lambda id: -rewards[id])[:2]
    assert {record.id for record in kept(out)} == set(best)
    assert reasons(out)[:5] == ["outside_rounds" if rounds else "no_score"] * 5
    with pytest.raises(RunError, match=r"select.value=rewrad is no value of this metric; it gives reward"):
        Select(metric=metric, value="rewrad", keep=2, rounds=rounds)([*seeds, *made], {"reward": reward})


def test_a_metric_that_does_not_look_at_parents_is_asked_for_those_left_alone(seeds):
    made = evolved(seeds)
    values = {record.instruction: 1.0 for record in made}
    assert len(kept(Select(metric=Scored(values), value="score", keep=3, rounds=[1])([*seeds, *made], {}))) == 3


def test_equal_texts_of_which_one_is_measured(seeds):
    twice = [*seeds, *(seed.child(seed.instruction, "again") for seed in seeds)]
    metric = Diversity(model="embedder", unique=True)
    out = Select(metric=metric, value="neighbour_distance", keep=10)(twice, {"embedder": Fake("fake")})
    assert reasons(out) == [""] * 5 + ["no_score"] * 5 and out[-1].fault.detail == "not_drawn"


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_a_record_without_a_value_is_never_selected(seeds, missing):
    """SEL3"""
    values = {seed.instruction: 1.0 for seed in seeds} | {seeds[2].instruction: missing}
    assert reasons(Select(metric=Scored(values), value="score", keep=5)(seeds, {})) == ["", "", "no_score", "", ""]


def test_ties_and_random_choices_follow_the_seed_not_the_order(seeds):
    """SEL3"""
    forward, backward = Select(keep=2)(seeds, {}), Select(keep=2)(seeds[::-1], {})
    assert {record.id for record in kept(forward)} == {record.id for record in kept(backward)}
    chosen = {frozenset(record.id for record in kept(Select(keep=2, seed=seed)(seeds, {}))) for seed in range(20)}
    assert len(chosen) > 3


def test_a_share_of_each_group(seeds):
    made = evolved(seeds, 1) + evolved(seeds[:2], 2)
    done = kept(Select(keep=0.5, per="round")(made, {}))
    assert [record.origin.round for record in done].count(1) == 2 and len(done) == 3


def test_the_length_baseline_keeps_the_shortest(seeds):
    """SEL2: needs no model"""
    done = Select(metric=Length(), value="instruction_words", keep=1, lowest=True)(seeds, {})
    assert [record.instruction for record in kept(done)] == [min(seeds, key=lambda seed: len(seed.prompt)).instruction]


def test_an_unknown_value_names_those_there_are(seeds):
    with pytest.raises(RunError, match=r"select.value=ifd is no value of this metric; it gives instruction_words"):
        Select(metric=Length(), value="ifd", keep=1)(seeds, {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 0}, "keep must be a share"),
        ({"keep": 1.5}, "keep must be a share"),
        ({"value": "ifd"}, "belong together"),
        ({"metric": Length(), "value": "output_words"}, "metric without keep"),
        ({"per": "model"}, "per must be one of"),
        ({"paired_with": ["nowhere"]}, "nowhere/records.jsonl does not exist"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Select(**settings)


def test_rejected_records_pass_through(seeds):
    bad = replace(seeds[0]).reject("empty")
    assert Select(keep=1)([bad], {}) == [bad]


def test_a_mark_says_who_was_chosen_and_rejects_nobody(seeds):
    values = {seed.instruction: float(rank) for rank, seed in enumerate(seeds)}
    out = Select(metric=Scored(values), value="score", keep=2, mark="by_score")(seeds, {})
    assert [record.extra["by_score"] for record in out] == [False, False, False, True, True]
    again = Select(metric=Scored(values), value="score", keep=2, lowest=True, mark="easy")(out, {})
    assert [record.extra["easy"] for record in again] == [True, True, False, False, False]
    assert all("by_score" in record.extra for record in again)
    assert not any(record.fault for record in again)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/selection").glob("*.yaml")))
def test_every_selection_composes(cfg, name):
    composed = cfg("+experiment=selection", f"selection@select={name}")
    assert build(composed.select).keep == (None if name == "all" else 0.25)


def test_the_random_baseline_asks_no_model(cfg, seeds):
    select = build(cfg("+experiment=selection", "selection@select=random", "select.rounds=null").select)
    assert select.roles == () and reasons(select(seeds, {})).count("not_selected") == 4
