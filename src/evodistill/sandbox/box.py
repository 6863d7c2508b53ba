"""Box: one sandboxed worker process and the pipe to it. Asked for one program at a time, it answers or is replaced."""

from __future__ import annotations

import json
import os
import select
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


class Died(Exception):
    """The worker ended, or does not answer."""


class Box:
    """A worker and the means to start it anew. Not shared by threads, but for `close`."""

    def __init__(self, command: Callable[[str], list[str]], settings: dict[str, Any]) -> None:
        self.command, self.settings = command, settings
        self.limit = settings["program_seconds"] + GRACE_S
        self.closed = False
        self.lock = threading.Lock()  # between starting and closing
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.lock:
            if self.closed:
                raise Died
            self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the worker
            self.folder = tempfile.TemporaryDirectory(prefix="evodistill-", ignore_cleanup_errors=True)
            self.process = subprocess.Popen(
                self.command(json.dumps(self.settings)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                bufsize=0,
                cwd=self.folder.name,
                env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        try:
            self.read(START_S)
        except Died:
            self.stop()
            raise RunError(f"a sandboxed worker cannot start: {self.last_words()}") from None

    def ask(self, code: str, function: str, calls: list[Any]) -> list[list[Any]]:
        """[value, reason, detail] per call."""
        line = json.dumps({"code": code, "function": function, "calls": calls}).encode() + b"\n"
        for _ in range(TRIES):
            try:
                if self.process is None:
                    self.start()
                self.write(line)
                answer = json.loads(self.read(self.limit))
            except Died:
                self.stop()
                continue
            if answer["spent"]:
                self.stop()
            return answer["outcomes"]
        return [[None, "crash", f"the worker died with it, twice: {self.last_words()}"] for _ in calls]

    def write(self, line: bytes) -> None:
        assert self.process and self.process.stdin
        view = memoryview(line)
        try:
            while view:
                view = view[self.process.stdin.write(view) :]
        except BrokenPipeError:
            raise Died from None

    def read(self, seconds: float) -> bytes:
        """One line."""
        assert self.process and self.process.stdout
        pipe, got, ends = self.process.stdout.fileno(), bytearray(), time.monotonic() + seconds
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while not got.endswith(b"\n"):
            if not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
                raise Died
            part = os.read(pipe, 1 << 16)
            if not part:
                raise Died
            got += part
        return bytes(got)

    def last_words(self) -> str:
        """What the worker (or what starts it) complained of."""
        self.errors.seek(0)
        told = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return told[-1] if told else "it says nothing"

    def stop(self) -> None:
        """End the worker and with it whatever it holds."""
        with self.lock:
            process, self.process = self.process, None
        if process:
            assert process.stdin and process.stdout
            process.stdin.close()  # a worker that is at rest ends by itself, and sweeps up first
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            self.folder.cleanup()

    def close(self) -> None:
        with self.lock:
            self.closed = True
        self.stop()
