"""Progress of long work: a bar on a terminal, a line every half minute in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from evodistill.backend import Usage

log = logging.getLogger(__name__)

EVERY_S = 30.0


class Progress:
    """Counts finished requests of one model; `done_before` were found in the cache and are shown, not timed."""

    def __init__(self, name: str, total: int, done_before: int = 0) -> None:
        self.name, self.total, self.done, self.cached = name, total, 0, done_before
        self.started = self.told = time.monotonic()
        self.tokens_before: int | None = None
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total + done_before, initial=done_before, desc=name, unit="req", leave=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, n: int, usage: Usage) -> None:
        """n more requests are finished; `usage` holds the model's token counts so far. n = 0 says that it is alive."""
        self.done += n
        tokens = usage.prompt_tokens + usage.completion_tokens
        self.tokens_before = tokens if self.tokens_before is None else self.tokens_before
        seconds = max(time.monotonic() - self.started, 1e-9)
        if self.bar is not None:
            self.bar.set_postfix_str(f"{(tokens - self.tokens_before) / seconds:.0f} tok/s", refresh=False)
            self.bar.update(n)
        elif time.monotonic() - self.told > EVERY_S:
            self.told = time.monotonic()
            rest = (
                f"{self.done / seconds:.2g}/s, {(self.total - self.done) * seconds / self.done:.0f} s left, "
                f"{(tokens - self.tokens_before) / seconds:.0f} tok/s"
                if self.done
                else f"{seconds:.0f} s so far"
            )
            log.info("%s: %d of %d requests, %s", self.name, self.done, self.total, rest)
