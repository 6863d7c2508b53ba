"""Box: one sandboxed worker process and the pipe to it. Asked for one program at a time, it answers or is replaced."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from evodistill import RunError

START_S = 30.0  # until a worker is ready
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
        self.start()

    def start(self) -> None:
        with self.lock:
            if self.closed:
                raise Died
            self.folder = tempfile.mkdtemp(prefix="evodistill-sandbox-")
            self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the worker
            self.process = subprocess.Popen(
                self.command(json.dumps(self.settings)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                bufsize=0,
                cwd=self.folder,
                env=ENVIRONMENT,
                start_new_session=True,
            )
            assert self.process.stdin
            os.set_blocking(self.process.stdin.fileno(), False)
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

    def write(self, line: bytes, ends: float) -> None:
        assert self.process and self.process.stdin
        view = memoryview(line)
        while view:
            wait(self.process.stdin.fileno(), select.POLLOUT, ends)
            try:
                view = view[os.write(self.process.stdin.fileno(), view) :]
            except BrokenPipeError:
                raise Died from None

    def read(self, ends: float) -> bytes:
        """One line."""
        assert self.process and self.process.stdout
        got = bytearray()
        while not got.endswith(b"\n"):
            wait(self.process.stdout.fileno(), select.POLLIN, ends)
            part = os.read(self.process.stdout.fileno(), 1 << 16)
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
            process.terminate()
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdin and process.stdout
            process.stdin.close()
            process.stdout.close()
            self.errors.seek(0)
            lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
            self.said = lines[-1] if lines else "it says nothing"
            self.errors.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def interrupt(self) -> None:
        """From another thread: who asks it now gets no answer, and it starts no more."""
        with self.lock:
            self.closed = True
            if self.process:
                self.process.terminate()


def wait(pipe: int, event: int, ends: float) -> None:
    """Until a pipe can be read or written, or its other end is gone."""
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
        raise Died
