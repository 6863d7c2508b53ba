import pandas as pd
import pytest
from job_folders import score, write_job
from repository import ROOT

from analysis.latex import PAPER, escape, latex, read, tidy
from evodistill import RunError


def published():
    return sorted(PAPER.glob("table*.csv"))


@pytest.mark.parametrize("source", published(), ids=lambda path: path.stem)
def test_every_published_number_is_in_its_table(source):
    text = latex(*read(source))
    table = pd.read_csv(source)
    for value in table["value" if "value" in table else "ic_ifd_percent"].dropna():
        assert escape(value) in text or f"{value:.2f}" in text or f"{value:.0f} " in text
    names = [line.split(" & ")[0] for line in text.splitlines() if " & " in line or "multicolumn" in line]
    assert not any(r"\_" in name for name in names)  # for people
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


def test_the_mean_of_several_runs_has_the_interval_over_them():
    one = pd.read_csv(ROOT / "experiments" / "quickstart" / "results.csv")
    both = tidy(pd.concat([one, one.assign(run="again", seed=1, value=one["value"] + 1)]))
    assert len(both) == len(tidy(one)) and set(both["runs"]) == {2}
    first, half = both.iloc[0], 12.7062 / 2  # t of one degree of freedom × standard error
    assert first["value"] == pytest.approx(tidy(one).iloc[0]["value"] + 0.5)
    assert [first["ci_low"], first["ci_high"]] == pytest.approx(
        [first["value"] - half, first["value"] + half], abs=1e-3
    )


def test_nothing_but_random_seeds_is_averaged():
    one = pd.read_csv(ROOT / "experiments" / "quickstart" / "results.csv")
    for fact in ("evolution", "teacher", "judge"):
        both = tidy(pd.concat([one.assign(**{fact: "x"}), one.assign(**{fact: "y"}, run="again")]))
        assert set(both["runs"]) == {1} and len(both) == 2 * len(tidy(one))


def test_a_mean_of_fewer_runs_says_so_and_which_jobs_failed(tmp_path):
    for evolver, values in (("a-1b", (10, None)), ("b-8b", (10, 50))):
        for seed, value in enumerate(values):
            rows = {} if value is None else {"m": [score("s1", 1, value, "m")]}
            write_job(tmp_path / f"{evolver}{seed}", evolver, rows, seed=seed, status="completed" if rows else "failed")
    text = latex(*read(tmp_path))
    assert r"a-1b & 10.00 (1) \\" in text and r"b-8b & \textbf{30.00} {\scriptsize [-224.12, 284.12]} (2)" in text
    assert "with 95 \\% intervals over these and the items. In brackets: how many" in text
    assert "since they are not completed: failed: a-1b1 (a-1b)." in text


def test_captions_say_where_the_paper_disagrees_with_itself():
    captions = {source.stem[:7]: read(source)[1] for source in published()}
    assert "HumanEval and GSM8K columns of InternLM-2-7B are swapped" in captions["table03"]
    assert "Not k of the benchmark's n items: Qwen-2-7B-Instruct → Llama-3-8B, Pr.(S)" in captions["table02"]
    assert captions["table11"].count(";") == 9 and "Qwen-2.5-72B, MATH" in captions["table11"]
    assert "other numbers in 14 cells" in captions["table10"]
    assert captions["table06"].startswith("Tables 6 and 7 of") and "n items" not in captions["table01"]


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
