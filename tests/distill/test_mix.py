from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill.distill.mix import allot, distance, exact

SHARES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 1000).map(Fraction), min_size=1)


@given(st.integers(0, 5000), SHARES, st.integers(0, 3))
def test_the_numbers_add_up_and_are_quotas_rounded(n, shares, seed):
    found = allot(n, shares, {}, seed)
    assert sum(found.values()) == n
    whole = sum(shares.values())
    assert all(abs(found[name] - n * share / whole) < 1 for name, share in shares.items())


@given(st.integers(0, 300), SHARES, st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 60)))
def test_no_class_takes_more_than_it_can_and_none_is_lost_while_there_is_room(n, shares, room):
    found = allot(n, shares, room)
    assert all(found[name] <= room[name] for name in found if name in room)
    limits = [room.get(name) for name in shares]
    most = n if None in limits else min(n, sum(limits))
    assert sum(found.values()) == most


def test_ties_are_broken_by_the_seed_and_not_by_the_order():
    shares = dict.fromkeys("abcdef", Fraction(1))
    first = allot(2, shares, {}, seed=1)
    assert first == allot(2, dict(reversed(shares.items())), {}, seed=1)
    assert len({tuple(sorted(allot(2, shares, {}, seed).items())) for seed in range(20)}) > 3


def test_shares_are_the_decimals_that_were_written():
    assert exact({"a": 0.017, "b": 1}) == {"a": Fraction(17, 1000), "b": Fraction(1)}


def test_distance_is_half_the_sum_of_differences():
    assert distance({"a": 1, "b": 1}, {"a": 0.5, "b": 0.5}) == 0
    assert distance({"a": 3}, {"b": 1.0}) == 1
    assert distance({"a": 60, "b": 40}, {"a": 0.5, "b": 0.5}) == pytest.approx(0.1)
    assert distance({}, {"a": 1.0}) is None
