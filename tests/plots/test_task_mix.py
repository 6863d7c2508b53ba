import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from repository import ROOT

from plots import FIGURES, task_mix


def mix(evolver="a-1b", step="resample", rows=(("Math", 0.6, 1, 3), ("Law", 0.3, 3, 1), ("Art", 0.1, 0, 0))):
    facts = {"dataset": "tiny", "evolver": evolver, "step": step}
    return pd.DataFrame([facts | dict(zip(task_mix.COLUMNS[3:], row, strict=True)) for row in rows])


def test_a_report_shows_it():
    assert "task_mix" in FIGURES


def test_shares_are_percent_of_the_records_of_each_side():
    [axes] = task_mix.draw(mix()).axes
    before, after = (collection.get_offsets()[:, 0].tolist() for collection in axes.collections[1:])
    assert before == [25, 75, 0] and after == [75, 25, 0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([60, 30, 10])


def test_the_largest_share_stands_at_the_top_and_classes_keep_their_order():
    rows = [("Art", 0.1, 1, 1), ("Law", 0.1, 1, 1), ("Math", 0.8, 1, 1), ("Sport", 0, 0, 0)]
    [axes] = task_mix.draw(mix(rows=rows)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Math", "Art", "Law"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_the_title_tells_numbers_and_distance():
    [axes] = task_mix.draw(mix()).axes
    assert axes.get_title() == "tiny · resample · a-1b\nn = 4 → 4 · distance 0.45 → 0.15"


def test_evolvers_are_columns_and_steps_are_rows_on_one_scale():
    table = pd.concat([mix(evolver, step) for evolver in ("z-1b", "a-7b") for step in ("one", "two")])
    figure = task_mix.draw(table)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == [
        "tiny · one · z-1b (SLM)",
        "tiny · one · a-7b (LLM)",
        "tiny · two · z-1b (SLM)",
        "tiny · two · a-7b (LLM)",
    ]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_a_step_that_found_no_class_is_an_empty_panel():
    [axes] = task_mix.draw(mix(rows=[("Math", 1.0, 0, 0)])).axes
    assert not axes.collections and axes.get_title().endswith("n = 0 → 0")


def test_nothing_resampled_is_said():
    figure = task_mix.draw(pd.DataFrame(columns=list(task_mix.COLUMNS)))
    assert "no step has resampled" in figure.axes[0].texts[0].get_text()


def test_the_numbers_come_from_the_artifacts_of_a_run(tmp_path: Path):
    """B2: resampling runs from its shipped settings"""
    fakes = [f"model@{role}=fake" for role in ("evolver", "teacher", "student", "judge", "embedder")]
    command = [sys.executable, "run.py", "+experiment=distilqwen2_data", *fakes, "dataset.limit=12", "metric=[]"]
    command += [f"artifacts={tmp_path}/artifacts", f"hydra.run.dir={tmp_path}/run"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    table = pd.read_csv(tmp_path / "run" / "figures" / "task_mix.csv")
    assert len(table) == 32 and table["before"].sum() > 0 and set(table["step"]) == {"resample"}
    assert task_mix.CAPTION[:40] in (tmp_path / "run" / "report.html").read_text()
