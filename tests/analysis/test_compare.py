import math
from pathlib import Path

import pytest
from job_folders import score, write_job

from analysis.collect import scores
from analysis.compare import CANNOT_TELL, COLUMNS, certainty, compare, gap, number

ORDER = ["small-1b", "large-70b"]


def test_the_pairs_by_hand(pair: Path):
    table = compare(scores(pair), order=ORDER)
    assert list(table.columns) == list(COLUMNS)
    first, second = table.itertuples(index=False)
    assert (first.round, first.a, first.b, first.n_pairs) == (1, "small-1b", "large-70b", 5)
    assert (first.mean_a, first.mean_b, first.diff) == (83, 80, 3)  # 50 + 10k + k against 50 + 10k, k = 1..5
    assert (first.p, first.p_holm) == (2 / 32, 4 / 32)
    assert (first.wins, first.ties, first.losses, first.winner) == (5, 0, 0, CANNOT_TELL)  # five pairs
    assert 1 <= first.ci_low < 3 < first.ci_high <= 5
    assert (second.diff, second.p, second.ties, second.winner) == (0, 1, 5, CANNOT_TELL)


def test_the_other_order_turns_every_sign(pair: Path):
    long = scores(pair)
    one, other = compare(long, order=ORDER).iloc[0], compare(long, order=ORDER[::-1]).iloc[0]
    assert (one["diff"], one.wins, one.p) == (-other["diff"], other.losses, other.p)
    assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low), abs=0.1)


def test_draws_depend_on_names_alone(pair: Path, tmp_path: Path):
    alone = compare(scores(pair), order=ORDER).iloc[0]
    write_job(pair / "2", "large-70b", {"extra": [score("s1", 1, 3, "extra")]})
    more = compare(scores(pair), order=ORDER).query("metric == 'complexity_score'").iloc[0]
    assert (alone.ci_low, alone.ci_high) == (more.ci_low, more.ci_high)


def test_seeds_are_not_compared_with_themselves(tmp_path: Path):
    for level in ORDER:
        write_job(tmp_path / level, level, {"complexity_score": [score("s1", 0, 3)]})
    assert compare(scores(tmp_path), order=ORDER).empty


def test_records_and_runs_of_one_seed_are_averaged_before_pairing(tmp_path: Path):
    write_job(
        tmp_path / "0", "a", {"m": [score("s1", 1, 1, "m"), score("s1", 1, 3, "m"), score("s2", 1, 5, "m")]}, seed=1
    )
    write_job(tmp_path / "1", "a", {"m": [score("s1", 1, 10, "m")]}, seed=2)
    write_job(tmp_path / "2", "b", {"m": [score("s1", 1, 1, "m"), score("s2", 1, 1, "m")]}, seed=1)
    write_job(tmp_path / "3", "b", {"m": [score("s1", 1, 2, "m")]}, seed=2)
    [row] = compare(scores(tmp_path)).itertuples(index=False)
    # s1: ((1 + 3) / 2 − 1 and 10 − 2) / 2 = 4.5; s2: 5 − 1 = 4
    assert (row.n_pairs, row.diff) == (2, 4.25)


def test_a_run_only_one_side_has_is_left_out_and_said(tmp_path: Path):
    for number_, (level, seed, value) in enumerate([("a", 1, 5), ("a", 2, 100), ("b", 1, 4)]):
        write_job(tmp_path / str(number_), level, {"m": [score("s1", 1, value, "m")]}, seed=seed)
    table = compare(scores(tmp_path))
    assert table.iloc[0]["diff"] == 1
    assert any("seed 2 ran for only one of a and b" in text for text in table.attrs["warnings"])


def test_a_second_thing_that_differs_is_said(tmp_path: Path):
    write_job(tmp_path / "0", "a", {"m": [score("s1", 1, 5, "m")]}, teacher="x")
    write_job(tmp_path / "1", "b", {"m": [score("s1", 1, 4, "m")]}, teacher="y")
    table = compare(scores(tmp_path))
    assert table.iloc[0].n_pairs == 1
    assert any("also differ in teacher (x against y)" in text for text in table.attrs["warnings"])


def test_an_unparsed_side_drops_the_pair_not_the_mean(tmp_path: Path):
    write_job(tmp_path / "0", "a", {"m": [score("s1", 1, 5, "m"), score("s2", 1, None, "m")]})
    write_job(tmp_path / "1", "b", {"m": [score("s1", 1, 4, "m"), score("s2", 1, 90, "m")]})
    [row] = compare(scores(tmp_path)).itertuples(index=False)
    assert (row.n_pairs, row.mean_a, row.mean_b) == (1, 5, 4)
    assert math.isnan(row.ci_low)
    assert row.winner == CANNOT_TELL


def test_a_missing_side_is_a_row_without_pairs_and_a_warning(tmp_path: Path):
    write_job(tmp_path / "0", "a", {"m": [score("s1", 1, 5, "m")]})
    table = compare(scores(tmp_path), order=["a", "b"])
    [row] = table.itertuples(index=False)
    assert row.n_pairs == 0
    assert all(math.isnan(value) for value in (row.mean_a, row.diff, row.ci_low, row.p, row.p_holm))
    assert any("b has no completed job with this metric" in text for text in table.attrs["warnings"])


def test_scores_of_a_job_that_did_not_complete_do_not_count(pair: Path):
    write_job(pair / "2", "small-1b", {"complexity_score": [score("s1", 1, 0)]}, status="running")
    table = compare(scores(pair), order=ORDER)
    assert table.iloc[0]["diff"] == 3
    assert "job 2 is running: the scores it has written so far are not compared" in table.attrs["warnings"]


def test_sides_without_a_common_seed_are_said(tmp_path: Path):
    write_job(tmp_path / "0", "a", {"m": [score("s1", 1, 5, "m")]})
    write_job(tmp_path / "1", "b", {"m": [score("s2", 1, 5, "m")]})
    table = compare(scores(tmp_path))
    assert table.iloc[0].n_pairs == 0
    assert any("share no seed" in text for text in table.attrs["warnings"])


def test_three_levels_give_all_pairs(tmp_path: Path):
    for level in "abc":
        write_job(tmp_path / level, level, {"m": [score("s1", 1, 5, "m")]})
    assert [(row.a, row.b) for row in compare(scores(tmp_path)).itertuples()] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_another_factor(tmp_path: Path):
    for judge, value in (("j1", 5), ("j2", 3)):
        write_job(tmp_path / judge, "a", {"m": [score("s1", 1, value, "m")]}, judge=judge)
    [row] = compare(scores(tmp_path), factor="judge").itertuples(index=False)
    assert (row.a, row.b, row.diff) == ("j1", "j2", 2)


def test_few_pairs_are_said(pair: Path):
    said = compare(scores(pair), order=ORDER).attrs["warnings"]
    assert any(
        "5 pairs between small-1b and large-70b; with fewer than 6 no p below 0.05 is possible" in text for text in said
    )


@pytest.mark.parametrize("n", [2, 5, 6])
def test_few_pairs_name_no_winner_though_they_agree(tmp_path: Path, n: int):
    """Of two equal differences the interval is a point: it knows nothing of the third."""
    for level, plus in (("a", 1), ("b", 0)):
        write_job(tmp_path / level, level, {"m": [score(f"s{k}", 1, k + plus, "m") for k in range(n)]})
    [row] = compare(scores(tmp_path)).itertuples(index=False)
    assert (row.ci_low, row.ci_high, row.winner) == (1, 1, "a" if n == 6 else CANNOT_TELL)
    assert certainty(row) == (f"too few: {n} pairs" if n < 6 else "holds after correction, p_holm 0.0312")


def test_pairs_that_tie_do_not_make_a_winner(tmp_path: Path):
    """Five of forty seeds differ: the interval leaves out 0, but no p below 0.05 is possible."""
    for level, plus in (("a", 1), ("b", 0)):
        rows = [score(f"s{k:02}", 1, plus if k < 5 else 3, "m") for k in range(40)]
        write_job(tmp_path / level, level, {"m": rows})
    table = compare(scores(tmp_path))
    [row] = table.itertuples(index=False)
    assert row.ci_low > 0 and row.winner == CANNOT_TELL
    assert row.p == row.p_wilcoxon == 2 / 2**5
    assert certainty(row) == "too few: 5 of 40 seeds differ"
    assert any("5 of 40 seeds differ between a and b" in text for text in table.attrs["warnings"])


def test_a_seed_rated_by_many_judges_in_one_run_counts_as_a_seed_rated_by_one(tmp_path: Path):
    """A difference and its interval are of the same mean, also where runs are not balanced."""
    for judge in range(10):
        for seed in range(6):
            if seed and judge:
                continue  # only the first random seed was rated by ten judges
            for level, plus in (("a", 1.0 if seed == 0 else 0.0), ("b", 0)):
                rows = [score(f"s{k}", 1, k + plus, "m") for k in range(8)]
                write_job(tmp_path / f"{level}{seed}{judge}", level, {"m": rows}, seed=seed, judge=f"j{judge}")
    [row] = compare(scores(tmp_path)).itertuples(index=False)
    assert row.diff == pytest.approx(1 / 6) and row.ci_low < row.diff < row.ci_high


def several_runs(folder: Path, by_run: list[float], spread: float = 1.0) -> None:
    """a − b is 0 on average over random seeds, `by_run` in each; 40 pairs."""
    for seed, effect in enumerate(by_run):
        for level, plus in (("a", effect), ("b", 0)):
            rows = [score(f"s{k:02}", 1, k + plus * (1 + spread * (k % 5 - 2) / 10), "m") for k in range(40)]
            write_job(folder / f"{level}{seed}", level, {"m": rows}, seed=seed)


def test_runs_are_a_sample_too(tmp_path: Path):
    """Three random seeds of the same sign, far apart: no claim about a fourth one, in no column."""
    several_runs(tmp_path, [0.5, 3, 6])
    table = compare(scores(tmp_path))
    [row] = table.itertuples(index=False)
    assert (row.n_runs, row.winner) == (3, CANNOT_TELL)
    assert row.ci_low < 0 and row.p > 0.05
    assert row.detectable > row.diff > 3  # such a difference would not have been seen
    assert math.isnan(row.p_wilcoxon) and math.isnan(row.p_mcnemar)
    assert any("3 random seeds; with fewer than 6 little is known" in text for text in table.attrs["warnings"])


def test_equal_runs_say_what_one_says_and_many_need_no_warning(tmp_path: Path):
    several_runs(tmp_path, [1.0] * 6, spread=0)
    table = compare(scores(tmp_path))
    [row] = table.itertuples(index=False)
    assert (row.ci_low, row.ci_high, row.winner) == (1, 1, "a")
    assert row.p < 1e-3
    assert not any("random seeds" in text for text in table.attrs["warnings"])


def test_words_say_the_interval_and_what_the_correction_leaves(tmp_path: Path):
    for level, plus in (("a", 1), ("b", 0)):
        rows = {name: [score(f"s{k}", 1, k + plus * k, name) for k in range(1, 7)] for name in ("m", "n")}
        write_job(tmp_path / level, level, rows)
    row = next(compare(scores(tmp_path)).itertuples(index=False))
    assert gap(row).startswith("+3.5 [+")
    assert certainty(row) == "does not hold among this many comparisons, p_holm 0.0625"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-1.234, "−1.23"), (12345.6, "12346"), (0.00001, "1.0e−05"), (float("nan"), "–"), (None, "–")],
)
def test_numbers_for_people(value: float | None, text: str):
    assert number(value) == text


def test_a_signed_number_shows_its_plus():
    assert [number(value, sign=True) for value in (1.5, 0.0, -1.5, 2e-9)] == ["+1.5", "0", "−1.5", "+2.0e−09"]


def test_neighbours_are_compared_among_equally_many_records_alone(tmp_path: Path):
    """DV6: distances fall with the number of records, so the side that lost more of them would win"""
    name = "neighbour_distance"
    for level, n in (("small-1b", 8), ("large-70b", 12)):
        rows = [score(f"s{k}", 1, 0.8 - 0.05 * n - 0.001 * k, name) for k in range(n)]
        write_job(tmp_path / level, level, {name: rows})
    [row] = compare(scores(tmp_path), order=ORDER).itertuples(index=False)
    assert row.n_pairs == 8 and row.ci_low > 0
    assert row.winner == CANNOT_TELL and certainty(row) == "measured among unequal numbers of records"
    [said] = compare(scores(tmp_path), order=ORDER).attrs["warnings"]
    assert "measured among 8 of small-1b and 12 of large-70b" in said and "metric.diversity.n=8" in said
    equal = [score(f"s{k}", 1, 0.2 + 0.001 * k, name) for k in range(8)]
    write_job(tmp_path / "large-70b", "large-70b", {name: equal})
    table = compare(scores(tmp_path), order=ORDER)
    assert table.iloc[0]["winner"] == "small-1b" and not table.attrs["warnings"]
