"""Builds of DeepSpeed's kernels, without a compiler."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from torch.utils import cpp_extension

from evodistill.trainer.kernels import Baton, guard


@pytest.fixture
def guarded(needs_deepspeed, monkeypatch, tmp_path) -> Path:
    """Where kernels are built."""
    monkeypatch.setattr(cpp_extension, "FileBaton", cpp_extension.FileBaton)
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "")
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
    guard()
    return Path(os.environ["TORCH_EXTENSIONS_DIR"])


@pytest.mark.slow
def test_a_lock_that_a_killed_build_has_left_stops_nobody(guarded, monkeypatch):
    """torch waits for ever where the file is there"""
    done = []
    monkeypatch.setattr(cpp_extension, "_write_ninja_file_and_build_library", lambda **given: done.append("built"))
    monkeypatch.setattr(cpp_extension, "_import_module_from_library", lambda *given: done.append("loaded"))
    place = guarded / "deepspeed_shm_comm"
    place.mkdir(parents=True)
    (place / "lock").touch()
    (source := guarded / "shm.cpp").touch()
    build = threading.Thread(target=lambda: cpp_extension.load(place.name, str(source)), daemon=True)
    build.start()
    build.join(timeout=30)
    assert done == ["built", "loaded"]


@pytest.mark.slow
def test_kernels_of_other_versions_lie_elsewhere(guarded, monkeypatch, tmp_path):
    import deepspeed
    import torch

    assert guarded.parent == tmp_path / "kernels"
    assert torch.__version__ in guarded.name and deepspeed.__version__ in guarded.name
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/mine")
    guard()
    assert os.environ["TORCH_EXTENSIONS_DIR"] == "/mine"


def test_one_process_builds_at_a_time_and_a_killed_one_makes_way(tmp_path):
    code = (
        "import sys; from evodistill.trainer.kernels import Baton; baton = Baton(sys.argv[1]); "
        "baton.try_acquire(); print('holds', flush=True); sys.stdin.read()"
    )
    told = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], **told) as other:
        assert other.stdout.readline() == b"holds\n"
        mine = Baton(str(tmp_path / "lock"), warn_after_seconds=1)
        waits = threading.Thread(target=mine.try_acquire, daemon=True)
        waits.start()
        waits.join(timeout=0.2)
        assert waits.is_alive()
        other.send_signal(signal.SIGKILL)
        waits.join(timeout=30)
        assert not waits.is_alive()
    mine.release()
