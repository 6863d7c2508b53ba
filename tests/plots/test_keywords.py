import json
from pathlib import Path

import pytest

from plots import keywords


def job(folder: Path, evolver: str, *found: list[str], status: str = "completed", round: int = 1) -> None:
    (folder / "scores").mkdir(parents=True)
    facts = {"status": status, "dataset": "tiny", "evolution": "auto_evol", "evolver": evolver, "run": folder.name}
    (folder / "status.json").write_text(json.dumps(facts))
    (folder / "metrics.json").write_text("{}")
    rows = [
        {"id": str(n), "seed": "s", "round": round, "values": {}, "extra": {"keywords": words}}
        for n, words in enumerate(found)
    ]
    rows.append({"id": "x", "seed": "s", "round": 0, "values": {}, "reason": "not_evolved"})
    (folder / "scores" / "keywords.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_evolvers_are_compared_at_the_number_of_phrases_of_the_smaller_AE10(tmp_path):
    job(tmp_path / "a", "a-1b", ["depth", "depth"], ["constraint"])
    job(tmp_path / "b", "b-2b", ["depth"], ["examples"])
    job(tmp_path / "c", "c-3b", ["no"], status="failed")
    figure = keywords.draw(keywords.counts(tmp_path))
    curves, bars = figure.axes
    small, large, common = curves.lines
    assert (list(small.get_xdata()), list(small.get_ydata())) == ([1, 2, 3], pytest.approx([1, 5 / 3, 2]))
    assert list(large.get_ydata()) == pytest.approx([1, 2])
    assert set(common.get_xdata()) == {2} and "n = 2" in curves.get_title()
    assert [text.get_text() for text in curves.texts] == ["1.7", "2.0"]  # expected there
    assert [text.get_text() for text in figure.legends[0].texts] == ["a-1b (SLM)", "b-2b (LLM)"]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["depth", "examples", "constraint"]
    assert [patch.get_width() for patch in bars.patches] == pytest.approx([200 / 3, 0, 100 / 3, 50, 50, 0])


def test_rounds_are_rows(tmp_path):
    job(tmp_path / "a", "a-1b", ["depth"])
    job(tmp_path / "b", "a-1b", ["depth", "x"], round=2)
    assert len(keywords.draw(keywords.counts(tmp_path)).axes) == 4


def test_nothing_to_draw_is_said(tmp_path):
    job(tmp_path / "a", "a-1b")
    assert "no keywords" in keywords.draw(keywords.counts(tmp_path)).axes[0].texts[0].get_text()
