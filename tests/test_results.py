import random

import numpy as np
import pytest
from scipy.stats import bootstrap

from evodistill import results
from evodistill.metric import Score
from evodistill.record import Record
from evodistill.results import RESAMPLES, by_round, summarize, summary


def test_a_mean_comes_with_interval_n_and_unparsed():
    found = summary([1.0, 2.0, None, 3.0, 4.0], "seed")
    low, high = found["ci95"]
    assert (found["mean"], found["n"], found["unparsed"]) == (2.5, 4, 1)
    assert 1 <= low < 2.5 < high <= 4


def test_the_interval_is_the_same_every_time_and_covers_about_95_percent():
    rng = np.random.default_rng(0)
    inside = 0
    for number in range(200):
        values = list(rng.normal(5, 2, 40))
        low, high = summary(values, f"{number}")["ci95"]
        inside += low <= 5 <= high
    assert 0.90 <= inside / 200 <= 0.99
    assert summary(values, "a") == summary(values, "a")


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(1).exponential(size=60) ** 2
    rng = np.random.default_rng(random.Random("a seed").getrandbits(64))
    low, high = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=rng).confidence_interval
    assert results.interval(values, "a seed") == pytest.approx([low, high], rel=1e-12)


def test_the_interval_of_very_many_values_is_that_of_the_bootstrap_but_for_chance(monkeypatch):
    values = np.random.default_rng(1).exponential(size=20_000)
    low, high = results.interval(values, "a seed")
    monkeypatch.setattr(results, "MANY", 10_000)
    assert results.interval(values, "a seed") == pytest.approx([low, high], abs=0.05 * (high - low))


@pytest.mark.parametrize(("values", "interval"), [([], None), ([3.0], None), ([None], None), ([2.0] * 5, [2.0, 2.0])])
def test_too_few_or_equal_values_have_no_made_up_interval(values, interval):
    assert summary(values, "seed")["ci95"] == interval


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_missing(odd):
    """one NaN would be the mean of all"""
    found = summary([1.0, odd, None, 3.0], "seed")
    assert (found["mean"], found["n"], found["unparsed"]) == (2.0, 2, 2)
    score = Score("a", "a", 0, "", {"x": odd, "y": 1.0})
    assert (dict(score.values), score.reason) == ({"x": None, "y": 1.0}, "not_finite")


def test_rounds_are_summed_up_apart():
    rows = [{"round": number % 2, "values": {"x": float(number)}, "label": None} for number in range(10)]
    found = summarize(rows, 0)["x"]
    assert (found["0"]["mean"], found["1"]["mean"]) == (4.0, 5.0)


def test_every_record_is_counted_once_in_its_round():
    seed = Record.seed("a")
    good = seed.child("b", round=1, operation="deepening")
    bad = seed.child("c", round=1, operation="deepening").reject("unchanged")
    stand_in = seed.child("a", round=1, operation="keep_parent")
    cut = seed.child("a", round=2, operation="keep_parent").reject("answer_truncated")
    counts = by_round([seed, good, stand_in], [bad, cut, seed.reject("refined")])  # its refined form stands for it
    assert counts["1"] == {
        "made": 2,
        "kept": 1,
        "rejected": 1,
        "carried": 1,
        "carried_rejected": 0,
        "reasons": {"unchanged": 1},
    }
    assert (counts["2"]["made"], counts["2"]["carried_rejected"], counts["2"]["reasons"]) == (0, 1, {})
