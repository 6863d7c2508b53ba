import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evodistill import RunError
from evodistill.trainer.job import Job
from evodistill.trainer.launch import Launch
from evodistill.trainer.sft import SFT


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Let a launch run this Python code instead of a training."""

    def go(code: str, **given) -> None:
        monkeypatch.setattr(Launch, "command", lambda self, job, machine_rank=0: [sys.executable, "-c", code])
        Launch(**given).run("tuned", tmp_path / "job.json")

    return go


def written(folder: Path, **engine) -> Path:
    return Job(SFT("student", "tuned", folder=str(folder), engine=engine), "base", 9).write()


def test_one_process_needs_no_launcher(tmp_path):
    file = written(tmp_path)
    assert Launch().command(file)[1:] == ["-m", "evodistill.trainer", str(file)]


def test_one_process_of_deepspeed_is_launched_too(tmp_path):
    """It asks for the rank and the address of the first process"""
    words = Launch().command(written(tmp_path, deepspeed="zero3_offload.json"))
    assert words[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]


def test_more_processes_are_spread_over_the_machines(tmp_path):
    words = Launch(16, 2, "10.0.0.1").command(tmp_path / "job.json", machine_rank=1)
    for word in ("--nnodes=2", "--node_rank=1", "--nproc_per_node=8", "--master_addr=10.0.0.1"):
        assert word in words
    assert "--standalone" in Launch(2).command(tmp_path / "job.json")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_processes": 3, "num_machines": 2}, "num_processes=3 cannot be spread evenly over launch.num_machines=2"),
        ({"num_processes": 0}, "num_processes=0"),
        ({"num_processes": 4, "num_machines": 2}, "main_process_ip must name the first machine"),
    ],
)
def test_bad_settings_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Launch(**given)


def test_one_process_sees_one_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert Launch().environment()["CUDA_VISIBLE_DEVICES"] == "3"
    assert Launch(2).environment()["CUDA_VISIBLE_DEVICES"] == "3,5"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # someone wants the CPU
    assert Launch().environment()["CUDA_VISIBLE_DEVICES"] == ""


def test_output_goes_to_the_log_line_by_line(runs, caplog):
    with caplog.at_level(logging.INFO):
        runs("import sys; print('step 1'); print('a warning', file=sys.stderr)")
    assert "tuned: step 1" in caplog.messages and "tuned: a warning" in caplog.messages


def test_the_word_error_in_the_output_is_no_failure(runs):
    """B4: a row may hold any word"""
    runs("print('error: Traceback failed exception')")


def test_a_failure_shows_the_last_lines(runs):
    with pytest.raises(RunError, match=r"ended with exit code 3: its last lines were:\n  .*out of memory"):
        runs("print('out of memory'); raise SystemExit(3)")


def test_a_failure_that_the_user_can_mend_is_one_line(runs):
    with pytest.raises(RunError, match=r"exit code 1: lower max_length$"):
        runs("print('error: lower max_length'); [print(n) for n in range(99)]; raise SystemExit(1)")


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_training_dies_with_the_run_that_started_it(tmp_path):
    """Else it would write where the next run trains"""
    pid = tmp_path / "pid"
    child = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        "import sys; from pathlib import Path; from evodistill.trainer.launch import Launch; "
        f"Launch.command = lambda self, job, machine_rank=0: [sys.executable, '-c', {child!r}]; "
        "Launch().run('x', Path('job.json'))"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    deadline = time.monotonic() + 30
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    while time.monotonic() < deadline:
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


@pytest.mark.parametrize(("text", "problem"), [(None, "No such file"), ("[1]", "other keys"), ("no", "Expecting")])
def test_a_file_that_is_no_job_is_one_line(tmp_path, text, problem):
    file = tmp_path / "job.json"
    if text:
        file.write_text(text)
    with pytest.raises(RunError, match=f"job.json: not a job that a run has written .*{problem}"):
        Job.read(file)
