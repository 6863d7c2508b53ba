import pandas as pd
from job_folders import score, write_job

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
    assert table.loc["student/ifeval", "diff"] == 0
    assert "tuned/ifeval" in text
    assert len(pd.read_csv(tmp_path / "sweep" / "students.csv")) == 2  # one pair of roles for each evolver


def test_without_trained_students_there_is_no_table(pair):
    finish(pair)
    assert not (pair / "students.csv").exists()
