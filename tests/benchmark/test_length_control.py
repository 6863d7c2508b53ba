import numpy as np
import pytest

from evodistill.benchmark.length_control import controlled, fit, logistic


def test_a_judge_who_likes_length_alone_is_undecided_at_equal_lengths():
    """P(win) = σ(2 tanh(Δ/sd)), without any quality: half, though the longer model wins most"""
    rng = np.random.default_rng(0)
    difference = rng.normal(300, 400, 4000)
    chance = logistic(2 * np.tanh(difference / difference.std(ddof=1)))
    assert chance.mean() > 0.65
    assert controlled(chance, difference) == pytest.approx(0.5, abs=1e-3)


def test_quality_and_difficulty_come_out_as_they_were_put_in():
    rng = np.random.default_rng(1)
    difference, difficulty = rng.normal(100, 300, 5000), rng.normal(0, 1, 5000)
    length = np.tanh(difference / difference.std(ddof=1))
    truth = np.array([1.5, 0.4, -0.8])
    design = np.stack([length, np.ones(5000), difficulty], axis=1)
    chance = logistic(design @ truth)
    assert fit(design, chance) == pytest.approx(truth, abs=2e-3)
    wanted = logistic(0.4 - 0.8 * difficulty).mean()
    assert controlled(chance, difference, difficulty) == pytest.approx(wanted, abs=1e-3)
    votes = (rng.random(5000) < chance).astype(float)
    assert controlled(votes, difference, difficulty) == pytest.approx(wanted, abs=0.03)


def test_the_fit_is_that_of_a_library():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    design = np.stack([rng.normal(size=300), np.ones(300)], axis=1)
    votes = (rng.random(300) < logistic(design @ [1.0, -0.3])).astype(float)
    known = LogisticRegression(C=1000, fit_intercept=False, tol=1e-10).fit(design, votes).coef_[0]  # a ridge of 1/1000
    assert fit(design, votes) == pytest.approx(known, abs=1e-5)


def test_without_differences_of_length_it_is_the_win_rate():
    assert controlled(np.array([1.0, 0.0, 0.0, 0.5]), np.zeros(4)) == pytest.approx(0.375, abs=1e-3)
    assert controlled(np.array([1.0]), np.array([20.0])) > 0.99


def test_a_model_that_always_wins_has_a_finite_fit():
    assert 0.99 < controlled(np.ones(50), np.linspace(-100, 100, 50)) <= 1
