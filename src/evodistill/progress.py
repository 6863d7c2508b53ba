"""Progress of long work: a bar on a terminal, a line every half minute in a log, also while nothing is finished."""

from __future__ import annotations

import logging
import sys
import time
from threading import Event, Thread
from types import TracebackType

from evodistill.backend import Usage

log = logging.getLogger(__name__)

EVERY_S = 30.0


class Progress:
    """Counts finished requests of one model, whose `usage` grows meanwhile; `done_before` were found in the cache and
    are shown, not timed."""

    def __init__(self, name: str, total: int, usage: Usage, done_before: int = 0) -> None:
        self.name, self.total, self.done, self.usage = name, total, 0, usage
        self.started, self.before = time.monotonic(), tokens(usage)
        self.closed = Event()
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total + done_before, initial=done_before, desc=name, unit="req", leave=False)

    def __enter__(self) -> Progress:
        if self.bar is None:
            Thread(target=self.tell, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        if self.bar is not None:
            self.bar.close()

    def advance(self, n: int) -> None:
        """n more requests are finished."""
        self.done += n
        if self.bar is not None:
            self.bar.set_postfix_str(f"{self.speed:.0f} tok/s", refresh=False)
            self.bar.update(n)

    def tell(self) -> None:
        """The lines of a log, from a thread of their own: a long batch has nothing to say until it is read."""
        while not self.closed.wait(EVERY_S):
            rest = f"{self.seconds:.0f} s so far"
            if self.done:
                left = (self.total - self.done) * self.seconds / self.done
                rest = f"{self.done / self.seconds:.2g}/s, {left:.0f} s left, {self.speed:.0f} tok/s"
            log.info("%s: %d of %d requests, %s", self.name, self.done, self.total, rest)

    @property
    def speed(self) -> float:
        """Tokens a second, read and written."""
        return (tokens(self.usage) - self.before) / self.seconds

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)


def tokens(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens
