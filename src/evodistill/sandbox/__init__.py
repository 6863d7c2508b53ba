"""Sandbox: generated code runs in a limited process elsewhere, never in ours; what it returns is compared here.

    code = "def evaluate(response):\\n    return response.isupper()"
    list(sandbox.run([Program(code, "evaluate", [["SHOUT"], ["whisper"]])]))  # [[Outcome(True), Outcome(False)]]

What each sandbox protects, and what it does not, is in docs/sandbox.md.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.sandbox.box import Box
from evodistill.sandbox.modules import ANY, COMMON, HARMLESS, foreign

INSIDE = Path(__file__).with_name("inside")  # what runs in there
WAITING = 64  # programs a worker whose results may wait for an earlier one: bounds the memory


@dataclass(frozen=True, slots=True)
class Program:
    """Code that defines `function`, and the argument lists (JSON-able) to call it with, one after another."""

    code: str
    function: str
    calls: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call gave back: a value of exactly the types that JSON has, or the reason why there is none.

    Reasons: `syntax` (no Python), `import` (of a module that is not allowed, not caught there), `missing` (no such
    function), `size` (too much code), `timeout`, `memory`, `exception`, `crash` (the process ended), `type` (no JSON
    value), `output` (too much of it)."""

    value: Any = None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Sandbox:
    """Limits of generated code, and how many programs run side by side. Subclasses say how a worker is started."""

    call_seconds: float = 3.0  # wall clock of one call, and of running the definitions
    program_seconds: float = 10.0  # wall clock of a program with all its calls
    memory_mb: int = 256  # address space of each process
    processes: int = 4  # processes and threads that a program may have at once, its own among them
    files_mb: int = 16  # largest file, and all files together where /tmp is private
    output_kb: int = 64  # a returned value, as JSON
    code_kb: int = 128  # source of a program
    allow: Sequence[str] = ()  # modules that may be imported beside the harmless ones of the standard library
    # at most, side by side; None = one per core that we may use
    workers: int | None = field(default=None, metadata={"identity": False})

    def __post_init__(self) -> None:
        for name in ("call_seconds", "program_seconds", "memory_mb", "processes", "files_mb", "output_kb", "code_kb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be ≥ 1, or null for one per core, got {self.workers}")
        object.__setattr__(self, "allow", tuple(self.allow))
        foreign(self.allow)

    def command(self, settings: str) -> list[str]:
        """The command line that starts a worker, which is told `settings` (JSON)."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What a worker is told."""
        return {
            "call_seconds": self.call_seconds,
            "program_seconds": self.program_seconds,
            "memory": self.memory_mb << 20,
            "processes": self.processes,
            "file_size": self.files_mb << 20,
            "output": self.output_kb << 10,
            "allow": None if ANY in self.allow else sorted({*HARMLESS, *self.allow}),
            "preload": [name for name in (*COMMON, *self.allow) if name != ANY],
        }

    def open(self) -> Box:
        """A started worker. RunError where it cannot start."""
        return Box(self.command, self.settings())

    def check(self) -> None:
        """Refuse to go on where generated code cannot be held: a worker is started and asked something."""
        box = self.open()
        try:
            answer = box.ask("def double(number): return 2 * number", "double", [[21]])
        finally:
            box.stop()
        if answer != [[42, "", ""]]:
            raise RunError(f"the sandbox {type(self).__name__.lower()} starts but cannot run Python: {answer}")

    def run(self, programs: Iterable[Program]) -> Iterator[list[Outcome]]:
        """The outcomes of each program, one a call, in order. Programs are drawn and done as results are taken."""
        workers = self.workers or len(os.sched_getaffinity(0))
        boxes: queue.SimpleQueue[Box] = queue.SimpleQueue()  # those that nobody asks
        opened: list[Box] = []
        lock = threading.Lock()  # between a worker that is started and the end
        over = False

        def taken() -> Box:
            """Of as many as there are threads: a worker is started where none is free."""
            try:
                return boxes.get_nowait()
            except queue.Empty:
                box = self.open()
            with lock:
                opened.append(box)
                if over:
                    box.interrupt()
            return box

        def one(program: Program) -> list[Outcome]:
            if len(program.code) > self.code_kb << 10:
                detail = f"{len(program.code)} characters, {self.code_kb << 10} allowed"
                return [Outcome(None, "size", detail) for _ in program.calls]
            box = taken()
            try:
                answer = box.ask(program.code, program.function, [list(call) for call in program.calls])
            finally:
                boxes.put(box)
            return [Outcome(*outcome) for outcome in answer]

        pool = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        waiting: deque[Future[list[Outcome]]] = deque()
        try:
            for program in programs:
                waiting.append(pool.submit(one, program))
                if len(waiting) == WAITING * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            with lock:
                over = True
                for box in opened:
                    box.interrupt()
            pool.shutdown(cancel_futures=True)
            for box in opened:
                box.stop()
