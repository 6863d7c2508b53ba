"""A stand-in for Slurm on one machine, for what submitit uses of it: sbatch with arrays, srun, sacct, scontrol requeue.

    slurm.install(folder)  gives the PATH to run under; a minute of Slurm lasts $SLURM_MINUTE seconds

A job that has used up its time less its signal delay is sent the signal that its script asks for. One that was requeued
by that starts again, as the same job, and has all the time it needs: a second signal may come while submitit saves the
result, which it does not survive. Time counts from where the job has written $SLURM_AT_WORK: on a busy machine imports
take longer than all the rest.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

PATIENCE = 60.0  # seconds until a job that was told to end is killed: putting it back takes commands that start slowly
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
    kept = HERE / f"script-{number}.sh"  # as Slurm does: submitit moves its own as soon as it knows the number
    kept.write_text(text)
    job = {"number": number, "flags": flags, "script": str(kept)}
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
    told |= {"SLURM_STUB_NAME": name}
    if start(job, name, told, int(job["flags"]["time"]) * minute - int(delay) / 60 * minute, f"SIG{warned}"):
        start(job, name, told)
    (HERE / f"done-{name}").touch()


def start(job: dict, name: str, told: dict[str, str], seconds: float | None = None, warned: str = "") -> bool:
    """Whether the job was put back into the queue before it ended, told to end after so many seconds of work."""
    with (HERE / f"starts-{name}").open("a") as starts:
        starts.write(f"{time.time()}\n")
    process = subprocess.Popen(["bash", job["script"]], env=os.environ | told)
    output = HERE / f"output-{name}"
    while process.poll() is None and not (output.exists() and os.environ["SLURM_AT_WORK"] in output.read_text()):
        time.sleep(0.1)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    if process.poll() is None:
        told_to_end = int((HERE / f"pid-{name}").read_text())
        os.kill(told_to_end, getattr(signal, warned))
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.kill(told_to_end, signal.SIGKILL)
            process.wait()
    return (HERE / f"requeue-{name}").exists()


def srun(*words: str) -> None:
    """Become the command, with its output in files."""
    options = dict(pairwise(words))
    command = list(words[max(i for i, word in enumerate(words) if word in ("--output", "--error")) + 2 :])
    name = os.environ["SLURM_STUB_NAME"]
    for option, standard in (("--output", 1), ("--error", 2)):
        path = options[option].replace("%A_%a", name).replace("%j", name).replace("%t", "0")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), standard)
        if standard == 1:
            (HERE / f"output-{name}").unlink(missing_ok=True)
            (HERE / f"output-{name}").symlink_to(path)
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
