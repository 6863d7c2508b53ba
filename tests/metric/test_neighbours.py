import numpy as np
import pytest

from evodistill.metric.neighbours import earlier, nearest


def unit(*rows):
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_by_hand():
    """Angles of 0, 60, 90 and 90 degrees: each vector's nearest other one, and how many are within 60 degrees."""
    vectors = unit([1, 0, 0], [0.5, 3**0.5 / 2, 0], [0, 1, 0], [0, 0, 1])
    found, near = nearest(vectors, 0.5)
    assert found == pytest.approx([0.5, 3**0.5 / 2, 3**0.5 / 2, 0], abs=1e-6)
    assert near.tolist() == [1, 2, 1, 0]


@pytest.mark.parametrize("rows", [1, 7, 50, 64, 1000])
def test_blocks_of_any_size_give_what_the_whole_matrix_gives(rows):
    vectors = unit(*np.random.default_rng(0).standard_normal((50, 8)))
    vectors[17] = vectors[3]  # a repeat, in another block
    whole = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(whole, -np.inf)
    found, near = nearest(vectors, 0.6, rows)
    assert found == pytest.approx(whole.max(axis=1), abs=1e-6)
    assert near.tolist() == (whole >= 0.6).sum(axis=1).tolist()


def test_repeats_do_not_hide_behind_the_vector_itself():
    """DV4: the first of the ranked neighbours need not be the vector itself where texts repeat"""
    found, near = nearest(unit([1, 2], [1, 2], [1, 2], [-2, 1]), 0.9)
    assert found == pytest.approx([1, 1, 1, 0], abs=1e-6) and near.tolist() == [2, 2, 2, 0]


def test_few_vectors_have_the_neighbours_that_there_are():
    """DV4: no -1 in the place of a neighbour that is not there"""
    found, near = nearest(unit([1, 0]), 0.9)
    assert found.tolist() == [-np.inf] and near.tolist() == [0]
    assert [part.tolist() for part in nearest(np.zeros((0, 4), np.float32), 0.9)] == [[], []]


def test_what_is_left_where_none_may_be_near_an_earlier_one():
    """Angles of 0, 20, 40 and 0 degrees; cos 20° = 0.940: the second goes, and is no reason for the third to go"""
    angles = np.deg2rad([0, 20, 40, 0])
    found = earlier(unit(*zip(np.cos(angles), np.sin(angles), strict=True)), 0.9)
    assert [near and (near[0], round(near[1], 3)) for near in found] == [None, (0, 0.94), None, (0, 1.0)]


@pytest.mark.parametrize("rows", [1, 7, 50, 64, 1000])
def test_blocks_of_any_size_leave_what_one_by_one_leaves(rows):
    vectors = unit(*np.random.default_rng(0).standard_normal((50, 4)))
    vectors[17] = vectors[3]  # a repeat, in another block
    kept, plainly = [], []
    for i, vector in enumerate(vectors):
        near = max(kept, key=lambda j: vectors[j] @ vector, default=None)
        plainly.append(near if near is not None and vectors[near] @ vector >= 0.6 else None)
        kept += [i] if plainly[-1] is None else []
    found = earlier(vectors, 0.6, rows)
    assert [near and near[0] for near in found] == plainly
    assert 5 < len(kept) < 45 and earlier(vectors[:0], 0.6) == []
