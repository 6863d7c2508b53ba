import pandas as pd
import pytest
from repository import ROOT

from analysis.latex import PAPER, PUBLISHED, escape, latex, read, tidy
from evodistill import RunError


def published():
    return sorted(path for path in PAPER.glob("table*.csv") if path.name.startswith(PUBLISHED))


@pytest.mark.parametrize("source", published(), ids=lambda path: path.stem)
def test_every_published_number_is_in_its_table(source):
    text = latex(*read(source))
    for value in pd.read_csv(source)["value"].dropna():
        assert f"{value:.2f}" in text
    assert text.count("{") == text.count("}")


def test_the_best_of_a_block_is_bold():
    lines = latex(*read(PAPER / "table10_iterations.csv")).splitlines()
    first = next(line for line in lines if line.startswith("SLM"))
    assert first.startswith(r"SLM & \textbf{35.49} & \textbf{47.00}")


def test_ties_and_lone_rows_are_not_bold():
    rows = [("b", "x", "m", 1.0), ("b", "y", "m", 1.0), ("c", "x", "m", 2.0)]
    table = pd.DataFrame(rows, columns=["block", "row", "metric", "value"]).assign(ci_low=float("nan"), ci_high=0.0)
    assert "textbf" not in latex(table, "t")


def test_our_own_results_keep_their_intervals():
    table, caption = read(ROOT / "experiments" / "quickstart" / "results.csv")
    assert "quickstart" in caption and r"{\scriptsize [" in latex(table, caption)


def test_the_mean_of_several_runs_has_no_interval_of_one_of_them():
    one = pd.read_csv(ROOT / "experiments" / "quickstart" / "results.csv")
    both = tidy(pd.concat([one, one.assign(run="again", seed=1)]))
    assert both["ci_low"].isna().all() and len(both) == len(tidy(one))


def test_names_from_data_cannot_break_the_table():
    assert escape("a_b & 5% {x} \\ $") == r"a\_b \& 5\% \{x\} \textbackslash{} \$"


def test_a_csv_without_the_columns_says_which(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match="a table needs the columns metric, value"):
        read(tmp_path / "x.csv")
    with pytest.raises(RunError, match="no such file"):
        read(tmp_path / "y.csv")


def test_settings_of_one_evolver_are_rows_and_of_several_are_blocks():
    """Tables 5 and 12"""
    facts = {"status": "completed", "dataset": "alpaca", "student": "s", "round": 0, "metric": "gsm8k"}
    cells = [("a", "keep=1", 0.25), ("a", "keep=2", 0.5), ("b", "keep=1", 0.75), ("b", "keep=2", 0.625)]
    rows = [facts | dict(zip(("evolver", "setting", "value"), cell, strict=True)) for cell in cells]
    table = pd.DataFrame(rows).assign(ci_low=float("nan"), ci_high=float("nan"))
    assert list(tidy(table)["block"]) == ["Alpaca, s, keep=1", "Alpaca, s, keep=2"] * 2
    one = tidy(table[table["evolver"] == "a"])
    assert list(one["row"]) == ["keep=1", "keep=2"] and set(one["block"]) == {"Alpaca, s"}
    assert r"keep=2 & \textbf{0.500}" in latex(one, "t")


def test_a_table_of_an_older_run_says_what_it_lacks(tmp_path):
    old = pd.read_csv(ROOT / "experiments" / "quickstart" / "results.csv").drop(columns="student")
    old.to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(RunError, match="has no column student: make it anew"):
        read(tmp_path / "results.csv")
