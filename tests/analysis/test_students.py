import json

import pandas as pd
import pytest
from job_folders import score, write_job

from analysis.load import load
from analysis.paired import holm
from analysis.study import finish


def asked(folder, evolver="small-1b", tuned=(1, 1, 1, 1, 1, 1, 1, 0)):
    """Eight items; the untouched student solves the last one only."""
    found = {"student": (0, 0, 0, 0, 0, 0, 0, 1), "tuned": tuned}
    scores = {
        f"ifeval@{role}": [
            score(f"item{i}", 0, float(value), f"{role}/ifeval") | {"operation": "benchmark"}
            for i, value in enumerate(values)
        ]
        for role, values in found.items()
    }
    return write_job(folder, evolver, scores)


def test_the_models_of_a_run_are_compared_item_by_item(tmp_path):
    text = finish(asked(tmp_path / "run"))
    (row,) = pd.read_csv(tmp_path / "run" / "students.csv").to_dict("records")
    assert (row["metric"], row["a"], row["b"], row["n_pairs"]) == ("ifeval", "student", "tuned", 8)
    assert (row["diff"], row["wins"], row["losses"]) == (-0.75, 1, 7)
    assert "student − tuned" in text and "−0.75 [" in text


def test_two_evolvers_students_meet_on_the_same_items(tmp_path):
    """A benchmark knows no round: its items are compared."""
    asked(tmp_path / "sweep" / "0", "small-1b", tuned=(1,) * 8)
    asked(tmp_path / "sweep" / "1", "large-70b", tuned=(0, 0, 1, 1, 1, 1, 1, 1))
    text = finish(tmp_path / "sweep")
    table = pd.read_csv(tmp_path / "sweep" / "comparison.csv").set_index("metric")
    assert table.loc["tuned/ifeval", ["n_pairs", "diff"]].tolist() == [8, 0.25]
    assert list(table.index) == [
        "tuned/ifeval"
    ]  # the untouched student is the same on both sides: no outcome of theirs
    assert table.loc["tuned/ifeval", "p_holm"] == table.loc["tuned/ifeval", "p"]
    assert "tuned/ifeval" in text
    models = pd.read_csv(tmp_path / "sweep" / "students.csv")
    assert len(models) == 2  # one pair of roles for each evolver
    assert models["p_holm"].tolist() == pytest.approx(holm(models["p"].to_numpy()))  # one table, one family


def test_an_untouched_model_counts_where_it_is_what_differs(tmp_path):
    for number, (model, word) in enumerate((("a-1b", "model@student=a-1b"), ("b-2b", "model@student=b-2b"))):
        folder = asked(tmp_path / str(number))
        status = json.loads((folder / "status.json").read_text()) | {"student": model}
        (folder / "status.json").write_text(json.dumps(status))
        (folder / ".hydra" / "overrides.yaml").write_text(f"- {word}\n")
    assert {"student/ifeval", "tuned/ifeval"} == set(load(tmp_path).comparison["metric"])


def test_a_model_of_the_config_is_untouched_too(tmp_path):
    """benchmarked=[small,tuned]: `small` is a role that no fact names."""
    for number, evolver in enumerate(("small-1b", "large-70b")):
        rows = [score(f"item{i}", 0, 1.0, name) for i in range(8) for name in ("small/ifeval", "tuned/ifeval")]
        folder = write_job(tmp_path / str(number), evolver, {"b": [row | {"operation": "benchmark"} for row in rows]})
        (folder / ".hydra" / "config.yaml").write_text("small: {name: x-1b}\nsft: {makes: tuned}\n")
    assert set(load(tmp_path).comparison["metric"]) == {"tuned/ifeval"}


def test_values_of_whole_sets_alone_are_no_reason_to_stop(tmp_path):
    """A perplexity has no items: there is nothing to pair."""
    folder = write_job(tmp_path / "run", scores={"complexity_score": [score("s1", 1, 3)]})
    metrics = json.loads((folder / "metrics.json").read_text())
    for role in ("student", "tuned"):
        metrics["metrics"][f"{role}/wikitext_word_perplexity"] = {
            "0": {"mean": 20.0, "ci95": None, "n": 10, "unparsed": 0}
        }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert "tuned/wikitext_word_perplexity" in finish(folder)
    assert not (folder / "students.csv").exists()


def test_without_trained_students_there_is_no_table(pair):
    finish(pair)
    assert not (pair / "students.csv").exists()
