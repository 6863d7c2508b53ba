from importlib import import_module

import pandas as pd
import pytest

from plots import benchmark_lines, iterations, scaling, win_rate
from plots.__main__ import EXPERIMENTS, table
from plots.__main__ import PAPER as FIGURES

PAPER = benchmark_lines.PAPER


def points(axes):
    return {tuple(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) > 2}


def test_figure_1_draws_tables_9_and_10_not_the_plot_script():
    """PL1"""
    drawn = iterations.published(pd.read_csv(PAPER / "table10_iterations.csv"))
    script = pd.read_csv(PAPER / "audit_fig1_vs_table10.csv")
    keyed = drawn.set_index(["metric", "x", "evolver"])["value"]
    for row in script.itertuples():
        assert keyed[row.metric, row.iteration, row.evolver] == row.value_in_table_9_or_10
    figure = iterations.draw(drawn)
    assert [axes.get_title() for axes in figure.axes] == list(benchmark_lines.PANELS)
    assert (23.11, 35.49, 36.78, 33.09) in points(figure.axes[0])
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)  # PL9


def test_figure_3_has_every_size_in_order():
    figure = scaling.draw(scaling.published(pd.read_csv(PAPER / "fig3_scaling.csv")))
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["0.5B", "1.5B", "3B", "7B", "14B", "32B", "72B"]  # PL2, PL4


def test_models_that_were_asked_as_they_are_stand_side_by_side():
    """benchmarked=[student,teacher]: a point each under its own name, in one panel"""
    names = {"student": "small-1b", "teacher": "large-7b", "judge": "judge"}
    results = pd.DataFrame([names | {"metric": f"{role}/gsm8k"} for role in ("student", "teacher")])
    told = scaling.each_as_it_is(results)
    assert told[["student", "metric"]].values.tolist() == [["small-1b", "gsm8k"], ["large-7b", "gsm8k"]]
    trained = results.assign(metric=["student/gsm8k", "tuned/gsm8k"])
    assert scaling.each_as_it_is(trained) is trained, "a model before and after its training has a panel each"


def test_intervals_of_published_percentages_are_wilsons():
    """PL7: 125 of 541 prompts"""
    row = benchmark_lines.with_intervals(pd.DataFrame([{"metric": "Pr.(S)", "value": 23.11}])).iloc[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((19.75, 26.83), abs=0.02)


@pytest.mark.parametrize("name", ["fig6_win_ic_ifd_vs_ifd", "fig7_win_ic_ifd_vs_full"])
def test_every_bar_holds_805_prompts(name):
    drawn = win_rate.published(pd.read_csv(PAPER / f"{name}.csv"))
    assert set(drawn.groupby(["panel", "bar"])["count"].sum()) == {805}
    figure = win_rate.draw(drawn)
    said = [int(text.get_text().replace(",", "")) for axes in figure.axes for text in axes.texts]
    assert sum(said) == 805 * drawn.groupby(["panel", "bar"]).ngroups


def test_nothing_measured_is_said():
    empty = pd.DataFrame(columns=[*benchmark_lines.COLUMNS])
    assert "no benchmark by round" in iterations.draw(empty).axes[0].texts[0].get_text()
    assert "no wins" in win_rate.draw(pd.DataFrame(columns=list(win_rate.COLUMNS))).axes[0].texts[0].get_text()


def test_a_table_of_an_older_run_costs_its_own_figure_only(tmp_path, monkeypatch, capsys):
    import plots.__main__ as every

    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "win_rate.csv").write_text("panel,outcome\na,win\n")
    monkeypatch.setattr(every, "EXPERIMENTS", tmp_path)
    monkeypatch.setattr(every, "OUT", tmp_path / "out")
    monkeypatch.setattr(every, "PAPER", {"figure7": every.PAPER["figure7"]})
    every.main()
    said = capsys.readouterr()
    assert "not drawn" in said.err and "the columns panel, bar, outcome, count are needed" in said.err
    page = (tmp_path / "out" / "index.html").read_text()
    assert "figure7_win_rate.png" in page and "figure7_old" not in page


def test_each_table_that_a_study_of_ours_left_is_drawn_and_what_the_paper_has_no_numbers_of_is_among_them():
    ours = {}
    for figure, _, _ in FIGURES.values():
        module = import_module(f"plots.{figure}")
        ours[figure] = sorted(EXPERIMENTS.glob(f"*/{figure}.csv"))
        for path in ours[figure]:
            drawn = module.draw(table(module, path))
            assert any(axes.has_data() for axes in drawn.axes), path
    assert all(ours[figure] for figure, published, _ in FIGURES.values() if published is None)
