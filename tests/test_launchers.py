"""Every launcher that the README names, with the Hydra that is pinned: real sweeps on fake models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import slurm
from repository import FAKES, ROOT

from evodistill.record import read_jsonl


def sweep(folder: Path, *overrides: str, env: dict[str, str] | None = None) -> None:
    command = [sys.executable, "run.py", "-m", "+experiment=smoke", *FAKES, "dataset.limit=12", "metric=[]"]
    command += [f"artifacts={folder}/artifacts", f"hydra.sweep.dir={folder}/sweep", *overrides]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | (env or {}), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def jobs(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder / "sweep").glob("*/status.json"))


def assert_all_completed(folder: Path, n: int) -> None:
    assert [json.loads((job / "status.json").read_text())["status"] for job in jobs(folder)] == ["completed"] * n
    assert (folder / "sweep" / "results.csv").exists(), "the tables are made when all jobs have ended"
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.slow
def test_cpu_runs_the_jobs_side_by_side(tmp_path):
    sweep(tmp_path, "hydra/launcher=cpu", "hydra.launcher.n_jobs=2", "seed=0,1,2,3", "evolver.delay_s=1")
    assert_all_completed(tmp_path, 4)
    told = [json.loads((job / "status.json").read_text()) for job in jobs(tmp_path)]
    starts = sorted(datetime.fromisoformat(status["started"]).timestamp() for status in told)
    assert starts[-1] - starts[0] < 0.6 * sum(status["seconds"] for status in told), "two at a time"


@pytest.mark.slow
def test_submitit_runs_each_job_in_a_process_of_its_own(tmp_path):
    sweep(tmp_path, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5", "seed=0,1")
    assert_all_completed(tmp_path, 2)
    assert len(list((tmp_path / "sweep" / ".submitit").glob("*/*_result.pkl"))) == 2


@pytest.mark.slow
def test_slurm_gets_what_the_config_says_and_jobs_that_time_out_go_on_where_they_were(tmp_path):
    """The script that is submitted, and the whole way from the signal over the queue to the end, on a stand-in."""
    stub = tmp_path / "slurm"
    settings = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.array_parallelism=2"]
    settings += ["hydra.launcher.timeout_min=5", "hydra.launcher.signal_delay_s=60"]  # 4 minutes until it is told
    slow = ["evolver.delay_s=0.4", "evolver.group=1", "evolution.rounds=2"]  # 24 requests
    clock = {"SLURM_MINUTE": "1", "SLURM_AT_WORK": "rows taken"}
    sweep(tmp_path, *settings, *slow, "seed=0,1", env=slurm.install(stub) | clock)
    assert_all_completed(tmp_path, 2)
    (job,) = stub.glob("job-*.json")
    flags = json.loads(job.read_text())["flags"]
    assert flags["array"] == "0-1%2" and flags["partition"] == "gpu" and flags["gpus-per-node"] == "1"
    assert "requeue" in flags and flags["time"] == "5" and flags["signal"] == "USR2@60"
    starts = [path.read_text().count("\n") for path in stub.glob("starts-*")]
    assert starts == [2, 2], "the jobs were put back into the queue"
    for folder in jobs(tmp_path):
        (row,) = [row for row in read_jsonl(folder / "steps.jsonl") if row["step"] == "evolution"]
        assert row["cached"] >= 1, "what had finished before was not asked again"
        assert row["requests"] + row["cached"] == 24


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf" / "hydra" / "launcher").glob("*.yaml")))
def test_every_launcher_of_ours_is_tried_above(name):
    assert f"hydra/launcher={name}" in Path(__file__).read_text()
