import json
import subprocess
import sys
from pathlib import Path

import pytest
from job_folders import lines, score, write_job

from analysis.callback import failures
from analysis.collect import COLUMNS, collect, scores
from analysis.jobs import read_jobs
from analysis.study import finish
from evodistill import RunError
from evodistill.record import Record


def test_one_row_per_run_round_and_metric(pair: Path):
    table = collect(pair)
    assert list(table.columns) == list(COLUMNS)
    row = table[(table["run"] == "0") & (table["round"] == 1)].iloc[0]
    assert (row.evolver, row.metric, row.value, row.ci_low, row.ci_high, row.n) == (
        "small-1b",
        "complexity_score",
        83,
        61,
        105,
        5,
    )
    assert (row.status, row.unparsed, row.rejected) == ("completed", 0, 0)
    assert table[(table["run"] == "0") & (table["round"] == 2)].iloc[0].rejected == 1


def test_unparsed_replies_are_counted_beside_the_mean(tmp_path: Path):
    """CR1, CR5, CS2."""
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m"), score("s2", 1, None, "m")]})
    row = collect(tmp_path).iloc[0]
    assert (row.value, row.n, row.unparsed) == (4, 1, 1)


def test_a_round_in_which_nothing_parsed_has_no_mean(tmp_path: Path):
    """CS2: not 0.0."""
    import pandas as pd

    write_job(tmp_path, scores={"m": [score("s1", 1, None, "m")]})
    row = collect(tmp_path).iloc[0]
    assert pd.isna(row.value)
    assert (row.n, row.unparsed) == (0, 1)


@pytest.mark.parametrize("status", ["failed", "running"])
def test_a_job_that_did_not_complete_is_one_row_without_numbers(tmp_path: Path, status: str):
    import pandas as pd

    write_job(tmp_path / "0", scores={"m": [score("s1", 1, 4, "m")]}, status=status)
    (tmp_path / "0" / "metrics.json").write_text(json.dumps({"metrics": {"m": {"1": {"mean": 9.0}}}}))
    [row] = collect(tmp_path).itertuples(index=False)
    assert (row.status, row.run) == (status, "0")
    assert pd.isna(row.metric)
    assert pd.isna(row.value)


def test_a_job_killed_before_its_status_is_unreadable_and_said(tmp_path: Path):
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    table = collect(tmp_path)
    assert list(table["status"]) == ["unreadable"]
    assert table.attrs["warnings"] == ["job 0: status.json is missing"]


def test_a_torn_metrics_file_is_said_and_gives_no_numbers(tmp_path: Path):
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m")]})
    (tmp_path / "metrics.json").write_text('{"metrics": {')
    table = collect(tmp_path)
    assert table["metric"].isna().all()
    assert "metrics.json is not JSON" in table.attrs["warnings"][0]


def test_a_round_without_a_metric_keeps_its_rejects(tmp_path: Path):
    seed = Record.seed("Say hello")
    write_job(tmp_path, records=[seed], rejects=[seed.child("Say hello", round=1).reject("unchanged")])
    table = collect(tmp_path)
    assert list(zip(table["round"], table["rejected"], strict=True)) == [(0, 0), (1, 1)]


def test_jobs_come_in_natural_order_and_runs_have_unique_names(tmp_path: Path):
    for time in ("a", "b"):
        for number in (2, 10):
            write_job(tmp_path / time / str(number))
    assert [job.facts["run"] for job in read_jobs(tmp_path)] == ["a/2", "a/10", "b/2", "b/10"]
    assert [job.facts["run"] for job in read_jobs(tmp_path / "a")] == ["2", "10"]


def test_a_folder_without_jobs_or_no_folder_is_one_clear_line(tmp_path: Path):
    with pytest.raises(RunError, match="holds no job"):
        collect(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        collect(tmp_path / "nowhere")


def test_scores_are_long_with_the_facts_of_their_run(pair: Path):
    long = scores(pair)
    assert len(long) == 20
    row = long.iloc[0]
    assert (row.run, row.seed, row.evolver, row.id, row.seed_id, row["round"], row.metric, row.value) == (
        *("0", "0", "small-1b", "s1-1", "s1", 1, "complexity_score", 61.0),
    )


def test_a_row_with_many_values_is_a_row_each_and_none_is_nan(tmp_path: Path):
    row = score("s1", 1, 1.0) | {"values": {"ifd": None, "loss_answer": 2.0}, "reason": "ifd_ge_1"}
    write_job(tmp_path, scores={"ifd": [row]})
    long = scores(tmp_path).set_index("metric")["value"]
    assert long.isna().to_dict() == {"ifd": True, "loss_answer": False}


def test_a_torn_last_line_of_scores_costs_that_line_only(tmp_path: Path):
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m")]})
    with (tmp_path / "scores" / "m.jsonl").open("a") as file:
        file.write('{"id": "s2-')
    long = scores(tmp_path)
    assert list(long["value"]) == [4]
    assert "m.jsonl: 1 lines are no JSON objects and were left out, the first is line 2" in long.attrs["warnings"][0]


def test_no_scores_at_all_is_an_empty_table(tmp_path: Path):
    write_job(tmp_path)
    assert len(scores(tmp_path)) == 0


def test_the_command_writes_results_csv(pair: Path):
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "analysis.collect", pair], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (pair / "results.csv").read_text().startswith(",".join(COLUMNS))
    missing = subprocess.run(
        [sys.executable, "-m", "analysis.collect", pair / "x"], cwd=root, capture_output=True, text=True
    )
    assert missing.returncode == 1
    assert "no such folder" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_rows_of_another_version_cost_those_rows_only(tmp_path: Path):
    old = {"id": "s2-1", "values": {"m": 3.0}}
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m")]})
    with (tmp_path / "scores" / "m.jsonl").open("a") as file:
        file.write(json.dumps(old) + "\n7\n")
    long = scores(tmp_path)
    assert list(long["value"]) == [4]
    told = "".join(long.attrs["warnings"])
    assert "1 lines lack one of id, seed, round, values" in told and "the first is line 3" in told


def test_a_torn_config_hides_no_numbers(tmp_path: Path):
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m")]})
    (tmp_path / ".hydra" / "overrides.yaml").write_text('- "model@evolver=')
    assert collect(tmp_path).iloc[0].value == 4


def test_counts_of_another_shape_are_left_out_and_said(tmp_path: Path):
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m")]})
    path = tmp_path / "metrics.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"rounds": {"seeds": {"made": 1}, "1": {"made": 1, "rejected": None}}}))
    (tmp_path / ".hydra" / "hydra.yaml").write_text("- a list\n")
    (tmp_path / ".hydra" / "config.yaml").write_bytes(b"name: gr\xf6sse\n")
    assert collect(tmp_path).iloc[0].value == 4
    said = scores(tmp_path).attrs["warnings"]
    assert [text for text in said if "of another shape" in text] == [
        f"job {read_jobs(tmp_path)[0].facts['run']}: metrics.json: counts of round {number} are of another shape and "
        "were left out"
        for number in ("seeds", "1")
    ]
    assert "report" in finish(tmp_path)


def test_a_failed_job_is_told_with_the_first_line_of_its_error_but_no_key(tmp_path: Path):
    write_job(tmp_path / "0", status="failed", error="no server at http://x; start one\nTraceback")
    write_job(tmp_path / "1", status="failed", error="401 for http://me:" + "hunter2hunter2@host/v1")
    write_job(tmp_path / "2", scores={"m": [score("s1", 1, 4, "m")]})
    told = collect(tmp_path)["error"].fillna("").tolist()
    assert told == ["no server at http://x; start one", "401 for http[hidden]host/v1", ""]
    printed = finish(tmp_path)
    assert "hunter2hunter2" not in printed + (tmp_path / "report.html").read_text() + str(failures(tmp_path))


def test_a_file_of_fewer_scores_than_were_counted_is_said(tmp_path: Path):
    write_job(tmp_path, scores={"m": [score(f"s{k}", k % 2, 4, "m") for k in range(4)]})
    path = tmp_path / "scores" / "m.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    long = scores(tmp_path)
    assert len(long) == 3
    [told] = long.attrs["warnings"]
    assert "scores/m.jsonl holds 3 values of m, metrics.json counts 4" in told


def test_scores_that_an_earlier_command_left_are_not_used(tmp_path: Path):
    """metrics.json is of the last command in the folder; without it, what there is is given."""
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m")]})
    lines(tmp_path / "scores" / "ifd.jsonl", [score("s1", 1, 0.5, "ifd")])
    long = scores(tmp_path)
    assert list(long["metric"]) == ["m"]
    [told] = long.attrs["warnings"]
    assert "scores/ifd.jsonl: ifd: not in metrics.json, so of an earlier run; left out" in told
    (tmp_path / "metrics.json").write_text("{")
    assert list(scores(tmp_path)["metric"]) == ["ifd", "m"]


def test_what_an_older_version_wrote_otherwise_costs_itself_only(tmp_path: Path):
    rows = [score("s1", 1, 4, "m"), score("s2", 1, 5, "m") | {"round": None}, score("s3", 1, 6, "m")]
    folder = write_job(tmp_path, scores={"n": [score("s1", 1, 1, "n")]})
    lines(folder / "scores" / "m.jsonl", [*rows, score("s4", 1, 1, "m") | {"values": {"m": "hard"}}])
    told = json.loads((folder / "metrics.json").read_text())
    told["metrics"] |= {"m": {"mean": 5.0}, "k": {"1": {"mean": 1, "ci95": 2}}}
    (folder / "metrics.json").write_text(json.dumps(told))
    assert collect(folder)["metric"].tolist() == ["n"]
    long = scores(folder)
    assert long.loc[long["metric"] == "m", "value"].tolist() == [4, 6]
    assert long.attrs["warnings"] == [
        f"job {folder.name}: metrics.json: m, k is of another shape and was left out",
        f"job {folder.name}: scores/m.jsonl: 2 lines have no round, or a value that is no number, and were left out",
    ]
