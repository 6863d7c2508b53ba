"""How a training is started: a process of its own, or several by torchrun, on one machine or on many."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from evodistill import RunError
from evodistill.trainer.job import Job

log = logging.getLogger(__name__)
SHOWN = 15  # last lines of a training that failed
ERROR = "error: "  # starts the line in which a training names what a user can mend


@dataclass(frozen=True)
class Launch:
    """Named as in accelerate's config. `num_processes` counts those of all machines: one for each GPU."""

    num_processes: int = 1
    num_machines: int = 1
    main_process_ip: str | None = None  # of the machine that runs the experiment
    main_process_port: int = 29500  # between machines; on one machine a free port is found

    def __post_init__(self) -> None:
        if self.num_processes < 1 or self.num_machines < 1 or self.num_processes % self.num_machines:
            raise ValueError(
                f"launch.num_processes={self.num_processes} cannot be spread evenly over "
                f"launch.num_machines={self.num_machines}"
            )
        if self.num_machines > 1 and not self.main_process_ip:
            raise ValueError("launch.main_process_ip must name the first machine where launch.num_machines > 1")

    def command(self, job: Path, machine_rank: int = 0) -> list[str]:
        """The command line of one machine: DeepSpeed asks for torchrun's environment in a single process too."""
        if self.num_processes == 1 and not Job.read(job).trainer.engine.get("deepspeed"):
            return [sys.executable, "-m", "evodistill.trainer", str(job)]
        place = ["--standalone"]
        if self.num_machines > 1:
            place = [f"--nnodes={self.num_machines}", f"--node_rank={machine_rank}"]
            place += [f"--master_addr={self.main_process_ip}", f"--master_port={self.main_process_port}"]
        share = f"--nproc_per_node={self.num_processes // self.num_machines}"
        return [
            *(sys.executable, "-m", "torch.distributed.run", *place, share),
            *("-m", "evodistill.trainer", str(job)),
        ]

    def environment(self) -> dict[str, str]:
        """One process takes one GPU: with more in sight transformers would split its batches over all of them."""
        set_ = {"PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore::FutureWarning")}  # for other developers
        if self.num_processes == 1:
            set_["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        return os.environ | set_

    def run(self, name: str, job: Path) -> None:
        """Train to the end, its output line by line in the log. Only the exit code says whether it went well (B4)."""
        if self.num_machines > 1:
            log.info("%s: on each other machine run: python -m evodistill.trainer %s --machine_rank K", name, job)
        last: deque[str] = deque(maxlen=SHOWN)
        named = ""
        with subprocess.Popen(
            self.command(job),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.strip():
                        last.append(line.rstrip())
                        named = line.strip() if line.startswith(ERROR) else named
                        log.info("%s: %s", name, line.rstrip())
            except BaseException:
                process.terminate()  # an interrupt: torchrun ends its workers on this signal
                raise
        if process.returncode:
            why = named.removeprefix(ERROR) or "\n  ".join(["its last lines were:", *last])
            raise RunError(f"{name}: training ended with exit code {process.returncode}: {why}")


def die_with_parent() -> None:
    """A run that is killed must not leave a training behind that writes where the next run trains."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
