import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.files import read_csv
from evodistill import RunError
from plots import difficulty, style

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "plots" / "paper" / "fig2_difficulty.csv"


def scores(labels: list[str], evolver: str = "a-1b", round: int = 1) -> pd.DataFrame:
    facts = {"metric": "complexity_rate", "status": "completed", "dataset": "tiny", "evolution": "evol_instruct"}
    facts["run"] = "0"
    return pd.DataFrame([facts | {"label": label, "evolver": evolver, "round": round} for label in labels])


def heights(axes) -> list[list[float]]:
    return [[bar.get_height() for bar in bars] for bars in axes.containers]


def test_bars_are_percent_of_all_records_with_unparsed_as_its_own():
    """CR1, CR5: the denominator is every record, and what is missing is seen."""
    table = difficulty.counts(scores(["easy", "hard", "hard", ""]))
    [axes] = difficulty.draw(table).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [*style.LABELS, "unparsed"]
    assert heights(axes) == [[0, 25, 0, 50, 0, 25]]


def test_the_layout_is_rounds_down_and_datasets_across_with_the_small_evolver_left():
    table = pd.concat(
        [difficulty.counts(scores(["easy"], evolver, number)) for evolver in ("z-1b", "a-2b") for number in (1, 2)]
    )
    table = pd.concat([table, table.assign(dataset="gsm8k")])
    figure = difficulty.draw(table)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.split(" · n")[0] for title in titles] == [
        "tiny · round 1",
        "GSM8K · round 1",
        "tiny · round 2",
        "GSM8K · round 2",
    ]
    small, large = figure.axes[0].containers
    assert small[1].get_x() < large[1].get_x()
    assert small[1].get_width() == pytest.approx(0.35)
    assert figure.legends[0].get_texts()[0].get_text() == "z-1b (SLM)"


def test_axes_are_whole_and_ticks_say_their_value():
    """PL2, PL4, PL9: percent from 0 to 100, no label is cut or set without its tick."""
    [axes] = difficulty.draw(difficulty.counts(scores(["easy"]))).axes
    assert axes.get_ylim() == (0, 100)
    assert [
        (tick, label.get_text()) for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    ] == [(tick, str(tick)) for tick in (0, 20, 40, 60, 80, 100)]


def whiskers(axes) -> list[list[float]]:
    drawn = [lines for lines in axes.collections if hasattr(lines, "get_segments")]
    return [[float(y) for _, y in segment] for lines in drawn for segment in lines.get_segments()]


def test_a_bar_has_the_interval_of_k_of_n_where_it_is_of_one_run():
    """PL7: Wilson, which a share of 0 has too."""
    from scipy.stats import binomtest

    one = scores(["easy", "hard", "hard", ""])
    drawn = whiskers(difficulty.draw(difficulty.counts(one)).axes[0])
    for (low, high), k in zip(drawn, (0, 1, 0, 2, 0, 1), strict=True):
        theirs = binomtest(k, 4).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((100 * theirs.low, 100 * theirs.high))
    pooled = difficulty.counts(pd.concat([one, one.assign(run="1")]))
    assert set(pooled["runs"]) == {2} and not whiskers(difficulty.draw(pooled).axes[0])


def test_jobs_that_did_not_complete_are_not_drawn():
    assert difficulty.counts(scores(["easy"]).assign(status="running")).empty


def test_nothing_measured_is_said():
    figure = difficulty.draw(pd.DataFrame(columns=list(difficulty.COLUMNS)))
    assert "no difficulty classes" in figure.axes[0].texts[0].get_text()


def test_the_published_figure_is_drawn_from_its_csv_under_its_true_name():
    """PL1: no number stands in the code. PL8: the third column is Code Alpaca."""
    table = difficulty.published(pd.read_csv(PAPER))
    totals = table.groupby(["dataset", "round", "evolver"])["count"].sum()
    assert set(totals) == {51_983, 7_473, 20_022}
    assert table[table["label"] == "unparsed"][["dataset", "round", "evolver", "count"]].values.tolist() == [
        ["gsm8k", 1, "llm", 1]
    ]
    figure = difficulty.draw(table)
    assert len(figure.axes) == 9
    assert figure.axes[2].get_title().startswith("Code Alpaca · round 1")
    assert heights(figure.axes[6])[0][4] == pytest.approx(100 * 34_726 / 51_983)


def test_the_command_writes_pdf_and_png(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "plots.difficulty", PAPER, tmp_path / "new"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["difficulty.pdf", "difficulty.png"]
    wrong = subprocess.run(
        [sys.executable, "-m", "plots.difficulty", "/nowhere.csv"], cwd=ROOT, capture_output=True, text=True
    )
    assert (wrong.returncode, wrong.stderr) == (1, "/nowhere.csv: no such file or folder\n")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2,3\n4,5,6,7\n", "größe\n1\n".encode("latin-1")])
def test_a_csv_that_is_none_is_said(tmp_path: Path, content: bytes):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(RunError, match=r"x\.csv: cannot be read as a csv in UTF-8 \("):
        read_csv(tmp_path / "x.csv")
