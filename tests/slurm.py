"""A stand-in for Slurm on one machine, for what submitit uses of it: sbatch with arrays, srun, sacct, scontrol requeue.

    slurm.install(folder)  gives the PATH to run under; a minute of Slurm lasts $SLURM_MINUTE seconds

A job that has used up its time less its signal delay is sent the signal that its script asks for, and killed at the end
of its time. One that was requeued meanwhile starts again, as the same job, with a little more time than before: on a
busy machine the first starts may not be enough for its imports.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

PATIENCE = 1.2  # times the time of the start before
HERE = Path(os.environ.get("SLURM_STUB", "."))


def install(folder: Path) -> dict[str, str]:
    """The environment in which the commands are found."""
    (folder / "bin").mkdir(parents=True)
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        command = folder / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        command.chmod(0o755)
    return {"SLURM_STUB": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def sbatch(script: str) -> None:
    """Say the number of the job and go on in the background."""
    number = str(len(list(HERE.glob("job-*.json"))) + 100)
    text = Path(script).read_text()
    flags = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)", text, re.M))
    first, last, most = re.fullmatch(r"(\d+)-(\d+)%(\d+)", flags.get("array", "0-0%1")).groups()
    job = {"number": number, "flags": flags, "script": str(Path(script).resolve())}
    (HERE / f"job-{number}.json").write_text(json.dumps(job))
    print(f"Submitted batch job {number}", flush=True)
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    waiting, running = list(range(int(first), int(last) + 1)), set()
    while waiting or running:
        while waiting and len(running) < int(most):
            task = waiting.pop(0)
            if pid := os.fork():
                running.add(pid)
            else:
                attend(job, task, "array" in flags)
                os._exit(0)
        running.discard(os.wait()[0])
    os._exit(0)


def attend(job: dict, task: int, array: bool) -> None:
    """Run one job until it ends without having been put back into the queue."""
    name = f"{job['number']}_{task}" if array else job["number"]
    told = {"SLURM_JOB_ID": job["number"], "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    told |= {"SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0"}
    if array:
        told |= {"SLURM_ARRAY_JOB_ID": job["number"], "SLURM_ARRAY_TASK_ID": str(task)}
    minute = float(os.environ["SLURM_MINUTE"])
    warned, delay = job["flags"]["signal"].split("@")
    delay = int(delay) / 60 * minute
    # killed later than Slurm would: on a busy machine the commands that put a job back take seconds to start
    times = [int(job["flags"]["time"]) * minute - delay, 8 * delay]
    while True:
        (HERE / f"requeue-{name}").unlink(missing_ok=True)
        with (HERE / f"starts-{name}").open("a") as starts:
            starts.write(f"{time.time()}\n")
        process = subprocess.Popen(["bash", job["script"]], env=os.environ | told | {"SLURM_STUB_NAME": name})
        for seconds, number in zip(times, (getattr(signal, f"SIG{warned}"), signal.SIGKILL), strict=True):
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                os.kill(int((HERE / f"pid-{name}").read_text()), number)
        process.wait()
        times = [PATIENCE * seconds for seconds in times]
        if not (HERE / f"requeue-{name}").exists():
            (HERE / f"done-{name}").touch()
            return


def srun(*words: str) -> None:
    """Become the command, with its output in files."""
    options = dict(pairwise(words))
    command = list(words[max(i for i, word in enumerate(words) if word in ("--output", "--error")) + 2 :])
    name = os.environ["SLURM_STUB_NAME"]
    for option, standard in (("--output", 1), ("--error", 2)):
        path = options[option].replace("%A_%a", name).replace("%j", name).replace("%t", "0")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), standard)
    (HERE / f"pid-{name}").write_text(str(os.getpid()))
    os.execvp(command[0], command)


def sacct(*_: str) -> None:
    print("JobID|State|NodeList")
    for path in HERE.glob("starts-*"):
        name = path.name.removeprefix("starts-")
        print(f"{name}|{'COMPLETED' if (HERE / f'done-{name}').exists() else 'RUNNING'}|here")


def scontrol(_: str, name: str) -> None:
    (HERE / f"requeue-{name}").touch()


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scontrol": scontrol}[sys.argv[1]](*sys.argv[2:])
