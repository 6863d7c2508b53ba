import json
from types import SimpleNamespace

import numpy as np
import pytest

from plots import training

STEPS = [{"step": name} for name in ("dataset", "sft", "prefer", "dpo")]


@pytest.fixture
def study(tmp_path):
    """Two jobs with two trainers each; one curve ends in a torn line."""
    jobs = []
    for run, evolver in (("0", "a-1b"), ("1", "b-7b")):
        folder = tmp_path / run
        (folder / "training").mkdir(parents=True)
        sft = [{"step": n, "loss": 2.0 - 0.1 * n, "grad_norm": 1.0} for n in range(1, 21)] + [{"step": 20, "train": 1}]
        dpo = [{"step": n, "loss": 0.7, "rewards/margins": 0.1 * n} for n in range(1, 4)]
        for name, rows in (("sft", sft), ("dpo", dpo)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "training" / f"{name}.jsonl").write_text(text + ('{"step": 21, "lo' if name == "sft" else ""))
        jobs.append(SimpleNamespace(folder=folder, facts={"evolver": evolver, "run": run}, steps=STEPS))
    return SimpleNamespace(jobs=jobs)


def test_what_a_trainer_tells_is_a_row_each(study):
    table = training.of(study)
    assert list(table.columns) == list(training.COLUMNS)
    assert len(table) == 2 * (20 + 3 + 3)
    assert list(table["trainer"].unique()) == ["sft", "dpo"]
    assert set(table["metric"]) == {"loss", "rewards/margins"}


def test_a_panel_for_each_thing_told_and_a_colour_for_each_evolver(study):
    axes = [panel for panel in training.draw(training.of(study)).axes if panel.lines]
    assert [panel.get_title() for panel in axes] == [
        "sft: training loss",
        "dpo: training loss",
        "dpo: margin of the implicit reward",
    ]
    for panel in axes:
        thin, bold, *others = panel.lines
        assert thin.get_color() == bold.get_color() != others[0].get_color()
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), 2.0 - 0.1 * np.arange(1, 21))
    np.testing.assert_allclose(axes[0].lines[1].get_ydata()[-1], 0.05)  # of the last two of twenty


def test_no_training_is_said(study):
    table = training.of(SimpleNamespace(jobs=[]))
    assert table.empty
    assert "no training" in training.draw(table).axes[0].texts[0].get_text()


def test_the_mean_at_the_start_is_of_what_there_is():
    assert training.trailing(np.array([1.0, 3.0, 5.0, 9.0]), 3).tolist() == [1.0, 2.0, 3.0, pytest.approx(17 / 3)]
