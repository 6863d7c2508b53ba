"""A JSON-lines file while another process writes it: each row is told as soon as it is there.

A training writes its loss curve so, and the run's tracker shows it while it grows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

WAIT = 1.0  # seconds between two looks

Told = Callable[[Mapping[str, Any]], None]


@contextmanager
def followed(file: Path, told: Told) -> Iterator[None]:
    """Within, `told` is given the rows of `file`, in a thread of its own: if it raises, the traceback is shown and the
    work goes on without it. A file that is there already is of a process that was killed, and removed."""
    file.unlink(missing_ok=True)
    ended = Event()
    thread = Thread(target=follow, args=(file, told, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def follow(file: Path, told: Told, ended: Event) -> None:
    """Until `ended`, and what is there then. The file may come late, and go before the end."""
    lines, line = None, b""
    with ExitStack() as opened:
        while True:
            last = ended.is_set()  # before the file is read: what was written until then is seen
            if lines is None:
                with suppress(FileNotFoundError):
                    lines = opened.enter_context(file.open("rb"))
            while lines and (part := lines.readline()):
                line += part
                if line.endswith(b"\n"):  # else it is still being written
                    told(json.loads(line))
                    line = b""
            if last:
                return
            ended.wait(WAIT)
