import numpy as np
import pytest

from analysis.paired import (
    RESAMPLES,
    bca_interval,
    blocks,
    crossed_detectable,
    crossed_interval,
    crossed_p,
    detectable,
    effect_size,
    holm,
    mcnemar_p,
    sign_flip_p,
    wilcoxon_p,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_five_pairs_of_one_sign_have_the_exact_p_of_two_in_thirty_two():
    assert sign_flip_p(np.array([1.0, 2, 3, 4, 5]), rng()) == 2 / 32


def test_exact_p_counts_the_patterns_by_hand():
    # sums of ±1 ±2 ±3: 0 0 2 −2 4 −4 6 −6; all reach the observed 1 + 2 − 3 = 0, six of eight reach 1 − 2 + 3 = 2
    assert sign_flip_p(np.array([1.0, 2, -3]), rng()) == 1
    assert sign_flip_p(np.array([1.0, -2, 3]), rng()) == 6 / 8


def test_equal_sums_by_another_order_of_additions_count():
    assert sign_flip_p(np.array([0.1, 0.2, 0.3, -0.1, -0.2, -0.3]), rng()) == 1


def test_ties_do_not_change_p():
    assert sign_flip_p(np.array([1.0, 2, 3, 4, 5, 0, 0]), rng()) == 2 / 32


def test_monte_carlo_p_is_never_zero_and_agrees_with_the_exact_one():
    assert sign_flip_p(np.full(40, 1.0), rng()) == 1 / (RESAMPLES + 1)
    differences = rng(1).normal(0.5, 1, 12)
    exact = sign_flip_p(differences, rng())
    sampled = sign_flip_p(np.concatenate([differences, [0.0]]), rng())  # a tie: 13 pairs, the same question
    assert sampled == pytest.approx(exact, abs=0.02)


def test_no_pair_has_no_p_and_no_interval():
    assert np.isnan(sign_flip_p(np.array([]), rng()))
    assert np.isnan(bca_interval(np.array([]), rng())).all()


def test_one_pair_has_no_interval_and_equal_pairs_have_a_point():
    assert np.isnan(bca_interval(np.array([3.0]), rng())).all()
    assert bca_interval(np.array([3.0, 3, 3]), rng()) == (3, 3)


def test_bca_agrees_with_scipy():
    from scipy.stats import bootstrap

    x = rng(3).exponential(1, 40)
    theirs = bootstrap((x,), np.mean, n_resamples=20_000, method="BCa", rng=rng(4)).confidence_interval
    assert bca_interval(x, rng(5)) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_bca_covers_the_mean_of_skewed_data_about_as_often_as_it_says():
    hits = 0
    for trial in range(200):
        low, high = bca_interval(rng(trial).exponential(1, 30), rng(trial + 1000))
        hits += low <= 1 <= high
    assert 0.88 <= hits / 200 <= 0.98


def test_holm_by_hand():
    # ranks: 0.01 × 4, 0.02 × 3 = 0.06, 0.03 × 2 = 0.06, 0.5 × 1
    assert holm(np.array([0.02, 0.01, 0.5, 0.03])) == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_holm_never_decreases_never_passes_one_and_skips_missing():
    adjusted = holm(np.array([0.9, np.nan, 0.6]))
    assert adjusted[[0, 2]] == pytest.approx([1, 1])
    assert np.isnan(adjusted[1])
    assert holm(np.array([])).size == 0


@pytest.mark.parametrize("n", [1, 7, 1_000, 1_000_000])
def test_blocks_add_up(n: int):
    assert sum(blocks(n, 10_000)) == 10_000


def test_the_crossed_interval_is_wider_where_runs_differ():
    same = np.repeat(rng().normal(0.5, 1, (60, 1)), 4, axis=1)
    apart = same + np.array([-0.6, -0.2, 0.2, 0.6])
    low, high = crossed_interval(same)
    wide_low, wide_high = crossed_interval(apart)
    assert wide_high - wide_low > 2 * (high - low)
    # equal runs add nothing: the interval over seeds alone
    assert (low, high) == pytest.approx(bca_interval(same[:, 0], rng(1)), abs=0.06)


def test_many_seeds_do_not_make_up_for_few_runs():
    """Runs alone differ: the interval is Student's over their means, however many seeds there are."""
    from scipy.stats import ttest_1samp

    runs = np.array([0.5, 1.0, 1.8])
    table = np.repeat(runs[None], 1000, axis=0)
    theirs = ttest_1samp(runs, 0)
    assert crossed_interval(table) == pytest.approx(tuple(theirs.confidence_interval()))
    assert crossed_p(table) == pytest.approx(theirs.pvalue)


def test_the_crossed_interval_takes_missing_cells():
    table = np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, 1.0]])
    low, high = crossed_interval(table)
    assert low < np.nanmean(table, axis=1).mean() < high
    assert np.isnan([*crossed_interval(table[:, :1]), crossed_p(table[:1]), crossed_detectable(table[:1])]).all()


@pytest.mark.parametrize("runs", [2, 3, 5])
@pytest.mark.parametrize(
    "spread", [(0, 1, 1), (1, 1, 1), (0, 3, 1), (1, 0, 1)], ids=lambda sds: "-".join(map(str, sds))
)
def test_the_crossed_interval_covers_and_its_p_agrees(runs: int, spread: tuple[float, float, float]):
    """Of 100 samples of 40 seeds × 2, 3 or 5 runs some 95 hold the true mean, 0, whatever varies (standard deviations
    by seed, by run and of a cell); too narrow would be a false winner."""
    draw, (by_seed, by_run, cell) = rng(3), spread
    shapes = ((by_seed, (400, 40, 1)), (by_run, (400, 1, runs)), (cell, (400, 40, runs)))
    samples = sum(draw.normal(0, 1, shape) * sd for sd, shape in shapes)
    intervals = np.array([crossed_interval(table) for table in samples])
    holds = (intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)
    assert 0.93 <= holds.mean() <= (0.98 if by_run > by_seed else 1)
    assert (holds == [crossed_p(table) > 0.05 for table in samples]).all()


def test_a_crossed_p_of_equal_means_is_not_known_and_of_clear_ones_small():
    assert np.isnan(crossed_p(np.full((8, 3), 0.1)))
    assert 0 < crossed_p(1e9 + rng().normal(0, 1, (50, 8))) <= 1e-12
    assert np.isnan(crossed_p(np.array([[1.0, -1.0], [-1.0, 1.0]])))


def test_a_difference_that_runs_can_show_is_found_four_times_in_five():
    draw, shape = rng(5), (800, 40, 5)
    samples = draw.normal(0, 1, (800, 1, 5)) + draw.normal(0, 1, shape)
    shift = np.median([crossed_detectable(table) for table in samples])
    found = np.mean([crossed_p(table + shift) < 0.05 for table in samples])
    assert 0.72 <= found <= 0.92


def test_mcnemar_is_the_exact_binomial_of_the_discordant_pairs():
    a, b = np.array([1, 1, 1, 1, 0, 1, 0]), np.array([0, 0, 0, 0, 1, 1, 0])
    assert mcnemar_p(a, b) == pytest.approx(2 * (1 + 5) / 2**5)
    assert np.isnan(mcnemar_p(a, a)) and np.isnan(mcnemar_p(a + 0.5, b))


def test_wilcoxon_effect_size_and_detectable_difference():
    d = np.array([1.0, 2.0, 3.0, -1.0, 0.0])
    assert effect_size(d) == pytest.approx(1.0 / np.std(d, ddof=1))
    assert detectable(d) == pytest.approx((1.959964 + 0.841621) * np.std(d, ddof=1) / np.sqrt(5), rel=1e-5)
    assert 0 < wilcoxon_p(d) < 1 and np.isnan(wilcoxon_p(np.zeros(4))) and np.isnan(effect_size(np.ones(3)))


def test_the_sign_flip_test_is_scipys_exact_permutation_test():
    from scipy.stats import permutation_test

    x = rng(7).normal(0.4, 1, 10)
    theirs = permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p(x, rng()) == pytest.approx(theirs, abs=1e-12)


def test_wilcoxon_by_hand():
    # all five ranks positive: 2 of 2^5 patterns are as extreme
    assert wilcoxon_p(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(2 / 32)


def test_wilcoxon_is_exact_where_few_differ():
    assert wilcoxon_p(np.array([1.0] * 5 + [0.0] * 35)) == 2 / 2**5
    assert wilcoxon_p(np.array([1.0] + [0.0] * 23)) == 1.0


def test_ties_are_no_pairs_of_the_sign_flip_test():
    assert sign_flip_p(np.array([0.5] * 5 + [0.0] * 35), rng()) == 2 / 2**5
    assert sign_flip_p(np.zeros(20), rng()) == 1.0


@pytest.mark.parametrize(("wins", "losses", "n"), [(21, 10, 64), (23, 12, 64), (9, 2, 40), (30, 17, 100)])
def test_an_interval_does_not_depend_on_the_unit(wins: int, losses: int, n: int):
    x = np.array([1.0] * wins + [-1.0] * losses + [0.0] * (n - wins - losses))
    low, high = bca_interval(x, rng(3))
    for unit in (1 / 3, 0.2, 1e-6, 7e5):
        scaled = bca_interval(x * unit, rng(3))
        assert scaled == pytest.approx((low * unit, high * unit), rel=1e-9)
        assert (scaled[0] > 0, scaled[1] < 0) == (low > 0, high < 0)


def test_a_detectable_difference_is_found_four_times_in_five():
    from scipy.stats import ttest_1samp

    draw = rng(5)
    shift = detectable(draw.normal(0, 1, 100_000)) * np.sqrt(100_000 / 60)  # of sixty pairs with a spread of 1
    found = sum(ttest_1samp(draw.normal(shift, 1, 60), 0).pvalue < 0.05 for _ in range(600))
    assert 0.74 <= found / 600 <= 0.86


@pytest.mark.parametrize("family", [3, 10])
def test_holm_rejects_nothing_that_bonferroni_rejects_not_at_the_smallest(family):
    p = rng(family).uniform(0, 0.2, family)
    adjusted = holm(p)
    assert adjusted.min() == pytest.approx(min(1.0, p.min() * family))  # the smallest is Bonferroni's
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, p * family) + 1e-12).all()


def test_published_leaderboard_to_six_digits(shared):
    """Win rates and standard errors of AlpacaEval 2 from the preferences, and the difference of its two models."""
    import pandas as pd

    folder = shared / "data/alpaca_eval"
    preferences = pd.read_csv(folder / "judge_preferences.csv")
    expected = pd.read_csv(folder / "leaderboard_expected.csv").set_index("model")
    for model, row in expected.iterrows():
        values = 100 * preferences[model].to_numpy()
        assert values.mean() == pytest.approx(row["win_rate"], abs=1e-6)
        assert values.std(ddof=1) / np.sqrt(len(values)) == pytest.approx(row["standard_error"], abs=1e-6)
    a, b = (100 * preferences[model].to_numpy() for model in expected.index)
    low, high = bca_interval(a - b, rng())
    half = 1.959964 * (a - b).std(ddof=1) / np.sqrt(len(a))  # 805 pairs: close to the normal interval
    assert (low, high) == pytest.approx((np.mean(a - b) - half, np.mean(a - b) + half), abs=0.2)
