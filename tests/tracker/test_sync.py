import subprocess
import sys

import pytest

from evodistill.tracker import sync


@pytest.fixture
def runs(tmp_path):
    """Three offline runs, one of them pushed before."""
    for name in "abc":
        folder = tmp_path / "study" / "time" / name / "wandb" / f"offline-run-{name}"
        folder.mkdir(parents=True)
        (folder / f"run-{name}.wandb").touch()
    (folder / "run-c.wandb.synced").touch()
    (tmp_path / "study" / "wandb" / "run-online").mkdir(parents=True)
    return tmp_path


def test_offline_runs_that_were_not_pushed_are_found(runs):
    assert [path.name for path in sync.offline(runs)] == ["offline-run-a", "offline-run-b"]


def test_each_is_pushed_by_itself_and_a_failure_is_told(runs, monkeypatch, capsys):
    pushed = []

    def push(command):
        pushed.append(command[-1].rsplit("-", 1)[-1])
        return subprocess.CompletedProcess(command, pushed[-1] == "a")

    monkeypatch.setattr(subprocess, "run", push)
    monkeypatch.setattr(sys, "argv", ["sync", str(runs)])
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with pytest.raises(SystemExit, match="error: give the same command again"):
        sync.main()
    assert pushed == ["a", "b"] and "1 of 2 offline runs pushed" in capsys.readouterr().out


def test_a_missing_key_is_named(runs, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr(subprocess, "run", lambda command: subprocess.CompletedProcess(command, 1))
    monkeypatch.setattr(sys, "argv", ["sync", str(runs)])
    with pytest.raises(
        SystemExit, match="no key here: wandb login, or WANDB_API_KEY; then give the same command again"
    ):
        sync.main()


def test_a_wrong_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["sync", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="no such folder"):
        sync.main()
