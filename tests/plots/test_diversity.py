from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from plots import diversity


def table(
    values: list[float], evolver: str = "a-1b", round: int = 1, metric: str = "neighbour_distance"
) -> pd.DataFrame:
    facts = {"metric": metric, "dataset": "tiny", "evolution": "autoif", "status": "completed"}
    return pd.DataFrame([facts | {"value": value, "evolver": evolver, "round": round} for value in values])


def test_the_first_bin_begins_at_zero_and_the_last_holds_the_rest():
    """PL5, PL6: repeats are seen, and shares are of all records"""
    rows = [0.0] * 30 + list(np.linspace(0.1, 0.6, 70))
    [axes] = diversity.draw(table(rows)).axes
    edges, heights = axes.patches[0].get_data().edges, axes.patches[0].get_data().values
    assert edges[0] == 0 and heights[0] >= 30 and heights.sum() == pytest.approx(100)


def test_panels_say_how_many_records_there_are():
    """DV6"""
    both = pd.concat(
        [table([0.1, 0.2, 0.3]), table([0.2, 0.3, 0.4], "b-2b"), table([0.2] * 4, round=2), table([0.1], "b-2b", 2)]
    )
    assert [axes.get_title() for axes in diversity.draw(both).axes] == ["round 1 · 3 each", "round 2 · 4 and 1"]


@pytest.mark.parametrize("values", [[0.3], [0.0, 0.0, 0.0], [0.2] * 5])
def test_one_distance_or_equal_ones_can_be_drawn(values: list[float]):
    [axes] = diversity.draw(table(values)).axes
    assert axes.patches[0].get_data().values.sum() == pytest.approx(100)


def test_each_kind_of_distance_has_a_row_and_is_named():
    both = pd.concat([table([0.1, 0.2]), table([0.2, 0.4], metric="neighbour_squared_l2")])
    assert [axes.get_xlabel() for axes in diversity.draw(both).axes] == [
        "cosine distance to the nearest neighbour", "squared L2 distance to the nearest neighbour",
    ]  # fmt: skip


def test_records_without_a_distance_are_left_out_and_none_at_all_is_said():
    rows = pd.concat([table([float("nan")]), table([0.5], metric="ifd")])
    left = diversity.of(SimpleNamespace(scores=rows))
    assert left.empty
    assert "no distances" in diversity.draw(left).axes[0].texts[0].get_text()
