"""Two processes that learn what one does: with shares of the weights by FSDP, and on two machines that are one."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from trainer.tiny import records, trained

from evodistill.backend import Sampling, chat
from evodistill.backend.transformers import Transformers
from evodistill.trainer.launch import Launch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_this_process")]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def alone(base, tmp_path) -> list[float]:
    """The losses of one process."""
    return trained(tmp_path / "alone", base)[1]


def test_weights_in_shares_of_fsdp_learn_the_same_and_can_be_served(base, alone, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fsdp_on_cpu"), prepend=":")
    told, shared = trained(tmp_path / "fsdp", base, engine={"fsdp": True}, launch=Launch(num_processes=2))
    assert (told["steps"], told["processes"], told["distributed"]) == (30, 2, "FSDP")
    assert shared == pytest.approx(alone, rel=0.02)
    student = Transformers("tuned", path=str(tmp_path / "fsdp" / "model"))
    (reply,) = student.generate([chat(records(8)[0].prompt)], Sampling(max_tokens=40))
    assert reply.text.strip() and not reply.error


def test_the_second_machine_joins_by_the_command_that_the_log_shows(base, alone, tmp_path, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    caplog.set_level("INFO")
    others = []

    def second() -> None:
        """Reads the log of the first, as a user does."""
        while not (lines := [line for line in caplog.messages if "on each other machine run" in line]):
            time.sleep(0.1)
        command = lines[0].split("python ", 1)[1].replace("--machine_rank K", "--machine_rank 1").split()
        others.append(subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300))

    joins = threading.Thread(target=second, daemon=True)
    joins.start()
    launch = Launch(num_processes=2, num_machines=2, main_process_ip="127.0.0.1", main_process_port=port)
    told, shared = trained(tmp_path / "machines", base, launch=launch)
    joins.join(timeout=300)
    assert others[0].returncode == 0, others[0].stderr
    assert (told["steps"], told["processes"]) == (30, 2)
    assert shared == pytest.approx(alone, rel=0.02)
