"""What a log says while a model works."""

from __future__ import annotations

import logging
import time

import pytest

from evodistill import progress
from evodistill.backend import Usage
from evodistill.progress import Progress


def test_a_log_hears_of_work_before_the_first_request_is_finished(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """… though a batch is one long call, as its prompts are when they are read"""
    monkeypatch.setattr(progress, "EVERY_S", 0.02)
    now, usage = [0.0], Usage(completion_tokens=1_000)  # of earlier steps
    monkeypatch.setattr(Progress, "seconds", property(lambda self: now[0]))

    def heard(line: str) -> bool:
        deadline = time.monotonic() + 20
        while line not in caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        return line in caplog.messages

    with caplog.at_level(logging.INFO, logger=progress.__name__), Progress("m", 50, usage) as told:
        now[0] = 40.0
        assert heard("m: 0 of 50 requests, 40 s so far")
        now[0] = 100.0
        usage.completion_tokens += 2_000
        told.advance(25)
        assert heard("m: 25 of 50 requests, 0.25/s, 100 s left, 20 tok/s")
    time.sleep(0.1)
    caplog.clear()
    time.sleep(0.1)
    assert not caplog.messages, "it is closed"
