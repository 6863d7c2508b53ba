"""What a log says while a model works."""

from __future__ import annotations

import logging

import pytest

from evodistill import progress
from evodistill.backend import Usage
from evodistill.progress import Progress


def test_a_log_hears_of_work_before_the_first_request_is_finished(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO, logger=progress.__name__), Progress("m", 50) as told:
        for seconds, finished, tokens in ((10, 0, 0), (40, 0, 0), (50, 0, 0), (100, 25, 2_000), (101, 1, 2_080)):
            now[0] = float(seconds)
            told.advance(finished, Usage(completion_tokens=tokens))
    assert caplog.messages == [
        "m: 0 of 50 requests, 40 s so far",
        "m: 25 of 50 requests, 0.25/s, 100 s left, 20 tok/s",
    ]
