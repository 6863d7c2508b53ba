import json
from pathlib import Path

import pytest

from plots import logprob


def job(folder: Path, evolver: str, *tops: list[float], status: str = "completed") -> None:
    (folder / "scores").mkdir(parents=True)
    facts = {"status": status, "dataset": "tiny", "evolution": "evol_instruct", "evolver": evolver, "run": folder.name}
    (folder / "status.json").write_text(json.dumps(facts))
    (folder / "metrics.json").write_text("{}")
    rows = [{"id": str(n), "seed": "s", "round": 1, "values": {}, "extra": {"top": top}} for n, top in enumerate(tops)]
    rows.append({"id": "x", "seed": "s", "round": 0, "values": {}, "reason": "seed"})
    (folder / "scores" / "logprob.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_all_mass_is_shown_also_that_at_one_PL6(tmp_path):
    job(tmp_path / "a", "a-1b", [1.0, 1.0, 0.5], [1.0])
    table = logprob.positions(tmp_path)
    shares = table[table["kind"] == "share"].set_index("at")["n"]
    assert shares.sum() == 4 and shares.iloc[-1] == 3
    figure = logprob.draw(table)
    heights = figure.axes[0].patches[0].get_data()
    assert heights.values[-1] == 75 and heights.values.sum() == pytest.approx(100) and heights.edges[-1] == 1


def test_the_curve_is_the_mean_of_the_records_that_reach_a_position(tmp_path):
    job(tmp_path / "a", "a-1b", [0.4, 1.0, 0.2], [0.8])
    table = logprob.positions(tmp_path)
    curve = table[table["kind"] == "position"]
    assert list(curve["at"]) == [1, 2, 3] and list(curve["n"]) == [2, 1, 1]
    assert list(curve["mean"]) == pytest.approx([0.6, 1.0, 0.2])


def test_the_tail_that_few_records_reach_is_not_drawn(tmp_path):
    job(tmp_path / "a", "a-1b", *[[0.5]] * 20, [0.5, 0.5])
    figure = logprob.draw(logprob.positions(tmp_path))
    [line] = figure.axes[1].lines
    assert list(line.get_xdata()) == [1]


def test_positions_are_written_as_plain_numbers(tmp_path):
    job(tmp_path / "a", "a-1b", [0.5] * 30)
    figure = logprob.draw(logprob.positions(tmp_path))
    figure.canvas.draw()
    labels = {tick.get_text() for tick in figure.axes[1].get_xticklabels(which="both")}
    assert {"1", "10"} <= labels and not any("$" in label for label in labels)


def test_evolvers_share_a_panel_and_unfinished_jobs_are_left_out(tmp_path):
    job(tmp_path / "a", "a-1b", [0.5])
    job(tmp_path / "b", "b-2b", [0.9])
    job(tmp_path / "c", "c-3b", [0.1], status="failed")
    table = logprob.positions(tmp_path)
    assert set(table["evolver"]) == {"a-1b", "b-2b"} and set(table["round"]) == {1}
    figure = logprob.draw(table)
    assert len(figure.axes) == 2 and len(figure.axes[1].lines) == 2
    assert [text.get_text() for text in figure.legends[0].texts] == ["a-1b (SLM)", "b-2b (LLM)"]


def test_nothing_to_draw_is_said(tmp_path):
    job(tmp_path / "a", "a-1b")
    assert "no log-probabilities" in logprob.draw(logprob.positions(tmp_path)).axes[0].texts[0].get_text()
