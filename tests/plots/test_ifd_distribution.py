from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from plots import ifd_distribution


def scores(values: list[float], metric: str = "ifd", evolver: str = "a-1b", round: int = 1) -> pd.DataFrame:
    facts = {"metric": metric, "status": "completed", "dataset": "tiny", "evolution": "evol_instruct"}
    return pd.DataFrame([facts | {"value": value, "evolver": evolver, "round": round} for value in values])


def test_shares_are_of_all_values_and_nothing_falls_off_the_axis():
    """PL5, PL6: one normalisation, and the ends hold what lies beyond."""
    values = np.array([0.1, 0.5, 0.5, 9.0])
    assert list(ifd_distribution.shares(values, np.array([0.4, 0.6, 0.8]))) == [75, 25]


def test_values_beyond_the_axis_are_counted_in_words():
    values = [*np.linspace(0.5, 1.0, 400), 50.0]
    [axes] = ifd_distribution.draw(scores(values)).axes
    assert axes.texts[0].get_text().endswith("of 401 beyond the axis,\nin the bins at its ends")
    assert axes.get_xlim()[1] < 2


def test_evolvers_share_their_bins_and_metrics_have_a_row_each():
    table = pd.concat(
        [scores(list(np.linspace(low, low + 1, 30)), metric, evolver, number)
         for metric, low in (("ifd", 0.2), ("ic_ifd", 0.1)) for evolver in ("a-1b", "b-2b") for number in (0, 1)]
    )  # fmt: skip
    figure = ifd_distribution.draw(table)
    assert [axes.get_xlabel() for axes in figure.axes] == ["IFD", "IFD", "IC-IFD", "IC-IFD"]
    assert [axes.get_title() for axes in figure.axes] == ["seeds", "round 1"] * 2
    stairs = [patch.get_data() for patch in figure.axes[0].patches]
    assert all(np.array_equal(data.edges, stairs[0].edges) for data in stairs)
    assert all(data.values.sum() == pytest.approx(100) for data in stairs)


@pytest.mark.parametrize("values", [[0.7], [0.7, 0.7, 0.7 + 1e-9], [0.0, 0.0]])
def test_one_value_or_equal_values_can_be_drawn(values: list[float]):
    [axes] = ifd_distribution.draw(scores(values)).axes
    assert list(axes.patches[0].get_data().values) == [100]


def test_missing_values_are_left_out_and_none_at_all_is_said():
    figure = ifd_distribution.draw(ifd_distribution.of(SimpleNamespace(scores=scores([float("nan")]))))
    assert "no IFD" in figure.axes[0].texts[0].get_text()
