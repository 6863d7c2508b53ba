from types import SimpleNamespace

import pandas as pd
import pytest

from plots import score_by_round


def results(**changes) -> pd.DataFrame:
    rows = [
        {
            "run": run,
            "status": "completed",
            "dataset": "tiny",
            "evolution": "evol_instruct",
            "evolver": evolver,
            "round": number,
        }
        | {"metric": "complexity_score", "value": 40.0 + number, "ci_low": 35.0, "ci_high": 50.0}
        for run, evolver in (("0", "a-1b"), ("1", "b-2b"))
        for number in (0, 1, 2)
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_every_mean_carries_its_interval():
    """PL7."""
    [axes] = score_by_round.draw(results()).axes
    bars = [
        segment
        for collection in axes.collections
        if hasattr(collection, "get_segments")
        for segment in collection.get_segments()
    ]
    assert len(bars) == 6
    assert all(bar[0][1] == pytest.approx(35) and bar[1][1] == pytest.approx(50) for bar in bars)


@pytest.mark.parametrize(
    ("metric", "low", "high"), [("complexity_score", 0, 100), ("complexity_rate", 1, 5), ("ifd", 0, 50)]
)
def test_no_axis_is_cut(metric: str, low: float, high: float):
    """PL9: the whole scale, or from zero to the largest end of an interval."""
    [axes] = score_by_round.draw(results(metric=metric)).axes
    bottom, top = axes.get_ylim()
    assert low - 0.05 * (high - low) < bottom < low
    assert high < top < high + 0.05 * (high - low)


def test_rounds_are_ticks_at_their_place():
    """PL2, PL4."""
    [axes] = score_by_round.draw(results()).axes
    assert list(axes.get_xticks()) == [0, 1, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["seeds", "1", "2"]


def test_a_line_is_the_mean_of_runs_and_each_run_is_a_point():
    both = pd.concat([results(), results(value=60.0).assign(run=lambda table: table["run"] + "x")])
    [axes] = score_by_round.draw(both).axes
    [line, _] = [line for line in axes.lines if len(line.get_xdata()) == 3 and line.get_marker() in ("o", "s")]
    assert list(line.get_ydata()) == [50, 50.5, 51]
    points = [collection for collection in axes.collections if len(collection.get_offsets()) == 6]
    assert len(points) == 2


def test_a_mean_without_an_interval_is_drawn():
    [axes] = score_by_round.draw(results(ci_low=float("nan"), ci_high=float("nan"))).axes
    assert len(axes.collections[-1].get_offsets()) == 3


def test_unfinished_jobs_are_not_drawn_and_nothing_is_said():
    figure = score_by_round.draw(score_by_round.of(SimpleNamespace(measured=results(status="failed"))))
    assert "no completed job" in figure.axes[0].texts[0].get_text()


def test_points_of_a_curve_have_a_figure_of_their_own():
    table = pd.concat([results(), results(metric="top_probability@2-5")])
    assert set(score_by_round.of(SimpleNamespace(measured=table))["metric"]) == {"complexity_score"}


def test_a_metric_that_one_group_lacks_has_no_panel_there():
    lone = results(dataset="gsm8k", metric="ifd")
    titles = [axes.get_title() for axes in score_by_round.draw(pd.concat([results(), lone])).axes if axes.axison]
    assert titles == ["difficulty score (0–100)\ntiny", "IFD\nGSM8K"]
    every = pd.concat([results(), lone, results(metric="ifd"), results(dataset="gsm8k")])
    assert len(score_by_round.draw(every).axes) == 4  # a row per metric, a column per group
