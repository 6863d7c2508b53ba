import math
from dataclasses import replace

import pytest
from repository import FAKES

from evodistill import RunError
from evodistill.backend import Completion, Sampling, chat
from evodistill.backend.fake import Fake
from evodistill.config import check
from evodistill.evolution.confidence import confidence
from evodistill.evolution.evol_instruct import EvolInstruct
from evodistill.metric.logprob import Logprob
from evodistill.results import summarize

HALF, QUARTER = math.log(0.5), math.log(0.25)
# chosen, then alternatives: the second position drew a token that was not the most probable one (LP2)
REPLY = Completion(
    "Name two teas and compare them in detail.", "stop", 9, 3,
    logprobs=((("Name", 0.0),), (("two", QUARTER), ("some", HALF)), (("teas", HALF), ("cups", QUARTER))),
)  # fmt: skip


def evolved(seeds, top, chosen=None, round=1):
    kept = {"logprobs": {"chosen": chosen or top, "top": top}}
    return [seed.child(f"Harder {seed.instruction}", extra=kept, operation="deepening", round=round) for seed in seeds]


def test_what_is_kept_is_the_chosen_and_the_most_probable_token_of_every_position():
    """LP1, LP2"""
    assert confidence(REPLY) == {"logprobs": {"chosen": [0.0, -1.3863, -0.6931], "top": [0.0, -0.6931, -0.6931]}}
    assert confidence(REPLY, 2)["logprobs"]["top"] == [0.0, -0.6931]
    assert confidence(replace(REPLY, logprobs=())) == {}


def test_a_token_of_no_probability_is_kept_as_a_number_json_knows():
    reply = replace(REPLY, logprobs=((("a", -math.inf), ("b", 0.0)),))
    assert confidence(reply)["logprobs"] == {"chosen": [-100.0], "top": [0.0]}


def test_a_log_probability_that_is_no_number_leaves_none(seeds):
    """before, and where a record of an earlier run has one"""
    nan = math.nan
    for position in ((("a", nan), ("b", -1.0)), (("a", -1.0), ("b", nan))):
        assert confidence(replace(REPLY, logprobs=(((("a", 0.0)),), position))) == {}
    (score,) = Logprob()(evolved(seeds[:1], [0.0, nan]), {})
    assert set(score.values.values()) == {None} and score.reason == "no_logprobs"


def test_the_evolution_keeps_them_with_the_record_that_they_made(seeds):
    """LP4"""
    step = EvolInstruct(model="evolver", rounds=1, max_positions=2, sampling=Sampling(logprobs=1))
    made = step(seeds[:1], {"evolver": Fake.scripted(REPLY)})
    assert made[1].extra == {"logprobs": {"chosen": [0.0, -1.3863], "top": [0.0, -0.6931]}}
    plain = EvolInstruct(model="evolver", rounds=1)(seeds[:1], {"evolver": Fake.scripted(REPLY.text)})
    assert plain[1].extra == {} and plain[1].id == made[1].id


def test_values_by_hand(seeds):
    (score,) = Logprob(first=2)(evolved(seeds[:1], [0.0, HALF, HALF, HALF], [0.0, QUARTER, HALF, HALF]), {})
    assert score.values == pytest.approx(
        {"top_probability": 2.5 / 4, "top_probability_first": 0.75, "chosen_probability": 2.25 / 4, "top_chosen": 0.75}
    )
    assert score.extra == {"top": [1.0, 0.5, 0.5, 0.5]}


def test_what_has_none_has_a_reason_and_stays_out_of_means(seeds):
    stand_in = seeds[1].child("x", operation="keep_parent", round=1)
    bare = seeds[2].child("y", operation="deepening", round=1)
    scores = Logprob()([seeds[0], stand_in, bare, *evolved(seeds[3:4], [HALF])], {})
    assert [score.reason for score in scores] == ["seed", "not_evolved", "no_logprobs", ""]
    summary = summarize([score.to_dict() for score in scores], 0)["top_probability"]
    assert list(summary) == ["1"]
    assert (summary["1"]["mean"], summary["1"]["n"], summary["1"]["unparsed"]) == (pytest.approx(0.5), 1, 2)


def test_the_curve_by_position_is_of_the_records_that_get_there(seeds):
    records = [*evolved(seeds[:1], [0.0, HALF, HALF]), *evolved(seeds[1:2], [HALF])]
    metric = Logprob()
    whole = metric.whole(records, metric(records, {}))
    assert {name: rounds[1]["mean"] for name, rounds in whole.items()} == pytest.approx(
        {"top_probability@1": 0.75, "top_probability@2-5": 0.5}
    )
    assert [rounds[1]["n"] for rounds in whole.values()] == [2, 1]
    long = metric(evolved(seeds[:1], [HALF] * 150), {})
    assert list(metric.whole([], long))[-1] == "top_probability@101-"


def test_an_evolution_that_keeps_none_is_refused_before_it_runs(cfg):
    with pytest.raises(RunError, match=r"metric.logprob: .*set evolution.sampling.logprobs=1"):
        check(cfg("+experiment=smoke", *FAKES, "metric=[logprob]"))
    check(cfg("+experiment=smoke", *FAKES, "metric=[logprob]", "evolution.sampling.logprobs=1"))


def test_asking_for_log_probabilities_changes_no_draw():
    fake = Fake("fake")
    warm = Sampling(temperature=0.7)
    plain = fake.requests([chat("a")] * 2, warm)
    looked = fake.requests([chat("a")] * 2, replace(warm, logprobs=1))
    assert [request.seed for request in plain] == [request.seed for request in looked]
    assert not {request.key for request in plain} & {request.key for request in looked}, "another request to the cache"


@pytest.mark.slow
def test_a_real_model_keeps_raw_probabilities_of_every_position_LP3(smollm2, seeds):
    """Those of tests/backend/test_transformers.py, as the evolution keeps them: nothing of temperature and top_p"""
    from evodistill.backend.transformers import Transformers

    engine = {"dtype": "float32", "compile": False, "threads": 2}
    model = Transformers("smollm2-135m", path=str(smollm2.folder), engine=engine)
    sampling = Sampling(temperature=0.1, top_p=0.1, max_tokens=24, logprobs=1)
    step = EvolInstruct(model="evolver", rounds=1, sampling=sampling)
    made = [record for record in step(seeds[:2], {"evolver": model}) if record.origin.round and record.extra]
    assert len(made) == 2
    for record in made:
        kept = record.extra["logprobs"]
        assert len(kept["top"]) == len(kept["chosen"]) == record.origin.completion_tokens
        assert all(one <= best <= 0 for one, best in zip(kept["chosen"], kept["top"], strict=True))
        assert any(best < -0.1 for best in kept["top"]), "cut at top_p, a token that is alone would have all the mass"
