import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from job_folders import score, write_job
from omegaconf import OmegaConf

from analysis import callback
from analysis.study import finish

ROOT = Path(__file__).parents[2]


def test_finish_leaves_tables_figures_and_report_and_says_who_won(pair: Path):
    text = finish(pair)
    for name in (
        "results.csv",
        "comparison.csv",
        "report.html",
        "figures/score_by_round.pdf",
        "figures/score_by_round.png",
    ):
        assert (pair / name).stat().st_size > 0
    assert not [path for path in pair.rglob("*.tmp")]
    assert "small-1b − large-70b" in text
    assert "+3 [" in text
    assert "rejected  small-1b: 1 of 6 (17 %)" in text
    assert text.endswith(f"report  {pair / 'report.html'}")


def test_finish_twice_gives_the_same_files(pair: Path):
    finish(pair)
    names = ("results.csv", "comparison.csv", "report.html", "figures/score_by_round.pdf", "figures/score_by_round.png")
    before = {name: (pair / name).read_bytes() for name in names}
    finish(pair)
    assert before == {name: (pair / name).read_bytes() for name in names}


def test_only_failed_jobs(tmp_path: Path):
    for level in ("a", "b"):
        write_job(tmp_path / level, level, status="failed", error="out of luck\nat line 2")
    text = finish(tmp_path)
    assert "nothing to compare: no completed job has scored evolved records" in text
    assert "failed  job a (a)  out of luck\n" in text
    assert (tmp_path / "results.csv").read_text().count("failed") == 2
    assert "out of luck" in (tmp_path / "report.html").read_text()


def test_a_missing_side_is_said_and_the_rest_given(tmp_path: Path):
    write_job(tmp_path / "0", "a", {"complexity_score": [score("s1", 1, 3)]})
    write_job(tmp_path / "1", "b", status="failed", error="out of luck")
    text = finish(tmp_path)
    assert "no seed scored under both" in text
    assert "b has no completed job with this metric" in text


def test_a_single_run_lists_its_means_with_unparsed(tmp_path: Path):
    write_job(tmp_path, scores={"m": [score("s1", 1, 4, "m"), score("s2", 1, None, "m")]})
    [row] = [line for line in finish(tmp_path).splitlines() if line.startswith("1 ")]
    assert row.split() == ["1", "m", "4", "[4,", "4]", "1", "1"]


def test_several_jobs_of_one_level_are_told_apart(tmp_path: Path):
    for number in (0, 1):
        scores = {"m": [score("s1", 1, 4 + number, "m")]}
        write_job(tmp_path / f"smoke-{number}", scores=scores, seed=number)
    text = finish(tmp_path)
    assert [line.split()[:4] for line in text.splitlines() if line.startswith("smoke-")] == [
        ["smoke-0", "1", "m", "4"],
        ["smoke-1", "1", "m", "5"],
    ]


def test_importing_it_is_light():
    heavy = "{'torch', 'transformers', 'pandas', 'matplotlib', 'scipy'}"
    code = f"import sys, analysis.study; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_command_redoes_it_and_names_a_wrong_folder(pair: Path):
    done = subprocess.run([sys.executable, "-m", "analysis.study", pair], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report  " in done.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "analysis.study", "/nowhere"], cwd=ROOT, capture_output=True, text=True
    )
    assert (wrong.returncode, wrong.stderr.startswith("error: /nowhere: no such folder")) == (1, True)


def test_a_study_is_mirrored_and_a_dead_network_does_not_undo_it(cfg, tmp_path, monkeypatch, capsys):
    from evodistill import RunError
    from evodistill.tracker import study as tracked

    def unreachable(folder, tracker):
        raise RunError("W&B: no route")

    (tmp_path / "results.csv").touch()
    monkeypatch.setattr(tracked, "mirror", unreachable)
    callback.mirror(tmp_path, cfg("tracker=wandb"))
    assert "not in W&B: W&B: no route" in capsys.readouterr().out
    callback.mirror(tmp_path, cfg("tracker=none"))
    assert capsys.readouterr().out == ""


def test_jobs_that_measured_different_things_each_give_what_they_have(tmp_path: Path):
    """No metric, round or class in common: every figure has panels that one side leaves empty."""
    first = {name: [score("s1", 1, 0.5, name)] for name in ("complexity_score", "ifd", "neighbour_distance")}
    second = {name: [score("s1", 2, 0.5, name)] for name in ("ic_ifd", "neighbour_squared_l2")}
    write_job(tmp_path / "0", "a-1b", first | {"r": [score("s1", 1, 4, "complexity_rate", "hard")]})
    write_job(tmp_path / "1", "b-8b", second, dataset="gsm8k", evolution="auto_evol")
    text = finish(tmp_path)
    assert "a-1b has no completed job with this metric" in text
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert drawn == {"difficulty", "score_by_round", "ifd_distribution", "diversity"}


def composed(folder: Path):
    return OmegaConf.create({"dry_run": False, "hydra": {"run": {"dir": str(folder)}, "sweep": {"dir": str(folder)}}})


def broken(folder):
    raise ValueError("min() of nothing")


def test_an_error_at_the_end_of_a_study_is_told_with_the_failed_jobs_and_by_the_exit_code(tmp_path, monkeypatch):
    """Hydra makes a warning of any exception in a callback, and exits with 0."""
    write_job(tmp_path / "0", "a", status="failed", error="out of luck")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "status.json").write_text('{"status": "fai')
    monkeypatch.setattr(callback, "finish", broken)
    with pytest.raises(SystemExit) as told:
        callback.Finish().on_multirun_end(composed(tmp_path))
    assert "2 of the jobs failed: 0: out of luck; 1: status.json is not JSON" in str(told.value)
    assert "ValueError: min() of nothing; again with  python -m analysis.study" in str(told.value)


def test_an_error_at_the_end_of_a_run_hides_no_error_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(callback, "finish", broken)
    run_end = callback.Finish().on_run_end
    with pytest.raises(SystemExit, match="ValueError: min"):
        run_end(composed(tmp_path), job_return=JobReturn(status=JobStatus.COMPLETED))
    run_end(composed(tmp_path), job_return=JobReturn(status=JobStatus.FAILED))  # Hydra raises the run's own


def test_a_study_without_a_failure_ends_without_an_error(pair, monkeypatch):
    monkeypatch.setattr(callback, "mirror", lambda folder, config: None)
    callback.Finish().on_multirun_end(composed(pair))
    assert (pair / "report.html").is_file()
