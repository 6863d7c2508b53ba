"""Box: one sandboxed worker process and the pipe to it. Asked for one program at a time, it answers or is replaced."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evodistill import RunError

START_S = 30.0  # until a worker is ready
STOP_S = 5.0  # until it has swept up behind itself
MOMENT_S = 0.001
PREFIX = "evodistill-sandbox-"  # of a worker's folder
YOUNG_S = 60.0  # a folder this new may not be locked yet
GRACE_S = 10.0  # beyond a program's own limit, which the worker keeps; past it the worker itself is stuck
TRIES = 2  # a program that a worker did not survive is tried once more: what broke it may have been the one before
# all that a worker is told by its environment; the same hashes, so the same order of sets, in every run (AI14)
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Died(Exception):
    """The worker ended, or does not answer."""


class Box:
    """A worker and the means to start it anew. One thread asks; any may interrupt."""

    def __init__(self, command: Callable[[str], list[str]], settings: dict[str, Any]) -> None:
        self.command, self.settings = command, settings
        self.limit = settings["program_seconds"] + GRACE_S
        self.closed = False
        self.lock = threading.Lock()  # between what asks and what interrupts
        self.process: subprocess.Popen[bytes] | None = None
        self.said = ""  # by the last worker that did not start or did not live
        sweep()
        self.start()

    def start(self) -> None:
        with self.lock:
            if self.closed:
                raise Died
            self.folder = tempfile.mkdtemp(prefix=PREFIX)
            self.held = os.open(self.folder, os.O_RDONLY)
            fcntl.flock(self.held, fcntl.LOCK_EX)  # until this process ends, however it does
            self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the worker
            # its standard input and output at once. A worker ends when this end of it does, however that comes about
            self.line, theirs = socket.socketpair()
            with theirs:
                self.process = subprocess.Popen(
                    self.command(json.dumps(self.settings)),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=self.errors,
                    cwd=self.folder,
                    env=ENVIRONMENT,
                    start_new_session=True,
                )
        try:
            self.read(time.monotonic() + START_S)
        except Died:
            self.stop()
            raise RunError(f"a worker cannot start: {self.said}") from None

    def ask(self, code: str, function: str, calls: list[Any]) -> list[list[Any]]:
        """[value, reason, detail] per call."""
        line = json.dumps({"code": code, "function": function, "calls": calls}).encode() + b"\n"
        for _ in range(TRIES):
            try:
                if self.process is None:
                    self.start()
                ends = time.monotonic() + self.limit
                self.write(line, ends)
                answer = json.loads(self.read(ends))
            except Died:
                self.stop()
                continue
            if answer["spent"]:
                self.stop()
            return answer["outcomes"]
        return [[None, "crash", f"the worker died with it, twice: {self.said}"] for _ in calls]

    def write(self, text: bytes, ends: float) -> None:
        try:
            self.line.settimeout(max(MOMENT_S, ends - time.monotonic()))
            self.line.sendall(text)
        except OSError:  # a time-out is one too
            raise Died from None

    def read(self, ends: float) -> bytes:
        """One line."""
        got = bytearray()
        while not got.endswith(b"\n"):
            try:
                self.line.settimeout(max(MOMENT_S, ends - time.monotonic()))
                part = self.line.recv(1 << 16)
            except OSError:
                raise Died from None
            if not part:
                raise Died
            got += part
        return bytes(got)

    def stop(self) -> None:
        """End the worker and with it whatever it holds."""
        with self.lock:
            process, self.process = self.process, None
        if not process:
            return
        self.line.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.errors.seek(0)
        told = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        self.said = told[-1] if told else "it says nothing"
        self.errors.close()
        remove(self.folder)
        os.close(self.held)

    def interrupt(self) -> None:
        """From another thread: who asks it now gets no answer, and it starts no more."""
        with self.lock:
            self.closed = True
            if self.process:
                self.line.shutdown(socket.SHUT_RDWR)


def remove(folder: str) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # folders in folders, deeper than Python goes
        subprocess.run(["rm", "-rf", folder], stderr=subprocess.DEVNULL, check=False)


def sweep() -> None:
    """Remove what runs that were killed left behind: folders that nobody holds."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if time.time() - path.stat().st_mtime < YOUNG_S:
                continue
            held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # gone, or another user's
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(str(path))
        except BlockingIOError:
            pass
        finally:
            os.close(held)
