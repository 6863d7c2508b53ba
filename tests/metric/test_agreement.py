import numpy as np
import pytest

from evodistill import RunError
from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.config import check
from evodistill.metric import Score
from evodistill.metric.agreement import agreement, kappa
from evodistill.metric.complexity_rate import ComplexityRate
from evodistill.metric.complexity_score import ComplexityScore
from evodistill.results import summarize


def scores(pairs, round=1):
    return [
        Score(str(number), str(number), round, "", {"a": first, "b": second})
        for number, (first, second) in enumerate(pairs)
    ]


def test_kappa_by_hand():
    """Squared differences 0, 1, 4, 0: mean 1.25; over all 16 pairs of a mark of each: mean 3"""
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 1.0, 4.0])
    assert np.mean((x[:, None] - y[None]) ** 2) == 3
    assert kappa(x, y) == pytest.approx(1 - 1.25 / 3)


def test_kappa_is_the_weighted_kappa_of_the_library():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    for spread in (0, 1, 3):
        x = rng.integers(1, 6, 200)
        y = np.clip(x + rng.integers(-spread, spread + 1, 200), 1, 5)
        assert kappa(x.astype(float), y.astype(float)) == pytest.approx(cohen_kappa_score(x, y, weights="quadratic"))


def test_perfect_chance_and_opposed_judges():
    marks = [float(mark) for mark in (1, 2, 3, 4, 5)]
    assert agreement(scores(zip(marks, marks, strict=True)), "a", "b")[1]["mean"] == 1
    assert agreement(scores(zip(marks, marks[::-1], strict=True)), "a", "b")[1]["mean"] == -1
    crossed = [(a, b) for a in (1.0, 5.0) for b in (1.0, 5.0)]
    assert agreement(scores(crossed), "a", "b")[1]["mean"] == pytest.approx(0)


def test_the_interval_holds_the_value_and_narrows_with_n():
    rng = np.random.default_rng(1)
    widths = []
    for n in (20, 2000):
        x = rng.integers(1, 6, n).astype(float)
        found = agreement(scores(zip(x, np.clip(x + rng.integers(-1, 2, n), 1, 5), strict=True)), "a", "b")[1]
        low, high = found["ci95"]
        assert low < found["mean"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


def test_a_mark_that_is_no_number_is_missing():
    found = agreement(scores([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]), "a", "b")[1]
    odd = scores([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (2.0, float("nan")), (float("inf"), 1.0)])
    assert agreement(odd, "a", "b")[1] == found | {"unparsed": 2}


def test_judges_who_always_say_the_same_have_no_kappa():
    (found,) = agreement(scores([(3.0, 3.0)] * 4), "a", "b").values()
    assert found == {"mean": None, "ci95": None, "n": 4, "unparsed": 0}


def test_a_record_that_one_judge_did_not_rate_is_counted_and_left_out():
    found = agreement(
        [*scores([(1.0, 1.0), (5.0, None), (None, 4.0), (5.0, 5.0)]), *scores([(None, None)], 2)], "a", "b"
    )
    assert (found[1]["mean"], found[1]["n"], found[1]["unparsed"]) == (1, 2, 2)
    assert found[2] == {"mean": None, "ci95": None, "n": 0, "unparsed": 1}


@pytest.mark.parametrize(
    ("metric", "marks", "other"),
    [
        (
            ComplexityRate(model="judge", second="teacher"),
            ["easy", "medium", "hard", "easy"],
            ["easy", "medium", "easy", "hmm"],
        ),
        (ComplexityScore(model="judge", second="teacher"), ["20", "30", "40", "20"], ["20", "30", "20", "hmm"]),
    ],
)
def test_two_judges_are_asked_the_same_and_compared(seeds, metric, marks, other):
    judge, teacher = Fake.scripted(*marks), Fake.scripted(*other)
    teacher.name = "another"
    assert metric.roles == ("judge", "teacher")
    found = metric(seeds[:4], {"judge": judge, "teacher": teacher})
    assert [one.chat for one in judge.asked] == [one.chat for one in teacher.asked]
    name = next(iter(found[0].values))
    assert found[2].values[name] != found[2].values[f"{name}_second"]
    assert (found[3].reason, found[3].raw, found[3].values[f"{name}_second"]) == (
        "second_no_" + ("label" if "rate" in name else "score"),
        "hmm",
        None,
    )
    whole = metric.whole(seeds[:4], found)
    assert list(whole) == [f"{name}_kappa"] and whole[f"{name}_kappa"][0]["n"] == 3
    summary = summarize([one.to_dict() for one in found], 0)
    assert summary[name]["0"]["n"] == 4 and summary[f"{name}_second"]["0"]["unparsed"] == 1


def test_a_model_is_no_second_judge_of_its_own(seeds, cfg, tmp_path):
    """By identity when it is asked; at the start where its weights are here"""
    metric = ComplexityRate(model="judge", second="teacher")
    same = r"complexity_rate.second=teacher has the same model as judge, .* model@teacher=NAME, or second=null"
    with pytest.raises(RunError, match=same):
        metric(seeds, {"judge": Fake("fake"), "teacher": Fake("fake")})
    with pytest.raises(ValueError, match="second=judge is the role that judges already"):
        ComplexityScore(model="judge", second="judge")
    (tmp_path / "config.json").write_text("{}")
    roles = [f"{role}.{key}={value}" for role in ("judge", "teacher") for key, value in
             {"name": "mine", "path": tmp_path, "package": "null"}.items()]  # fmt: skip
    with pytest.raises(RunError, match=same):
        check(cfg("metric=[complexity_rate]", "metric.complexity_rate.second=teacher", *roles))


def test_one_judge_alone_measures_no_agreement(seeds):
    metric = ComplexityRate(model="judge")
    found = metric(seeds[:1], {"judge": Fake.scripted(Completion("easy", "stop"))})
    assert metric.roles == ("judge",) and metric.whole(seeds[:1], found) == {}
    assert set(found[0].values) == {"complexity_rate"}


def test_a_judge_that_gives_one_mark_agrees_as_by_chance():
    """Exactly 0: nearly 0 would be a figure of rounding errors"""
    marks = np.array([3.0] * 23 + [4.0])
    assert kappa(np.full(24, 4.0), marks) == 0.0
