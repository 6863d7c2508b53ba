"""The arithmetic of limits, on a clock of our own."""

from __future__ import annotations

import random

import pytest

from evodistill.backend.throttle import Bucket, Ledger, Limits, retry_after


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def greedy(per_minute: float, minutes: float, amount: float = 1) -> list[float]:
    """The times at which someone passes who is always waiting."""
    clock = Clock()
    bucket = Bucket(per_minute, clock)
    passed = []
    while clock.now < 1000 + 60 * minutes:
        if wait := bucket.wait(amount):
            clock.now += wait
            continue
        bucket.take(amount)
        passed.append(clock.now)
    return passed


@pytest.mark.parametrize("per_minute", [1, 7, 30, 60, 90, 1000, 12345])
def test_no_minute_holds_more_requests_than_the_limit_and_a_long_run_comes_close_to_it(per_minute):
    passed = greedy(per_minute, 6)
    first = 0
    for last, moment in enumerate(passed):
        while moment - passed[first] >= 60:
            first += 1
        assert last - first + 1 <= per_minute
    assert len(passed) >= 0.97 * 6 * per_minute


def test_a_request_larger_than_the_bucket_passes_and_the_debt_is_paid_back():
    passed = greedy(per_minute=600, minutes=10, amount=300)  # the bucket holds 10
    assert len(passed) * 300 <= 600 * 10 + 300
    assert len(passed) * 300 >= 0.95 * 600 * 10


def test_an_estimate_that_was_too_high_is_given_back():
    clock = Clock()
    bucket = Bucket(600, clock)
    bucket.take(310)
    before = bucket.wait(1)
    bucket.take(-300)
    assert before > 30 > bucket.wait(1) + 29


def test_idle_time_saves_up_no_more_than_a_second():
    clock = Clock()
    bucket = Bucket(600, clock)
    clock.now += 3600
    passed = 0
    while not bucket.wait(1):
        bucket.take(1)
        passed += 1
    assert passed == 10


def test_no_limit_never_waits():
    bucket = Bucket(None)
    bucket.take(1e12)
    assert bucket.wait(1e12) == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3),
        ("0.25", 0.25),
        ("0", 0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),  # past: now
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Thu, 99 Foo 2026 00:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(header, seconds):
    assert retry_after(header, now=1767225600.0) == seconds  # 2026-01-01 00:00 UTC


def test_back_off_doubles_up_to_its_limit_and_jitter_takes_at_most_half():
    limits = Limits(backoff_s=1, max_wait_s=10)
    assert [limits.backoff(n, 0) for n in (1, 2, 3, 4, 5, 2000)] == [1, 2, 4, 8, 10, 10]
    rng = random.Random(0)
    waits = [limits.backoff(3, rng.random()) for _ in range(200)]
    assert 2 <= min(waits) < 2.2 and 3.8 < max(waits) <= 4


def test_the_estimate_learns_the_length_of_answers():
    ledger = Ledger()
    assert ledger.estimate(characters=40, max_tokens=100) == 110
    ledger.add(10, 20)
    ledger.add(10, 40)
    assert ledger.estimate(characters=40, max_tokens=100) == 40
    assert ledger.estimate(characters=40, max_tokens=5) == 15


def test_money_is_prompt_and_completion_by_their_prices():
    ledger = Ledger()
    ledger.add(1_000_000, 500_000)
    assert ledger.usd({"prompt": 2, "completion": 6}) == 5


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"concurency": 3}, "engine.concurency is no key"),
        ({"concurrency": 0}, "engine.concurrency must be"),
        ({"concurrency": 1.5}, "engine.concurrency must be"),
        ({"retries": -1}, "engine.retries must be"),
        ({"breaker": 0}, "engine.breaker must be"),
        ({"timeout_s": 0}, "engine.timeout_s must be"),
        ({"timeout_s": None}, "engine.timeout_s must be"),
        ({"requests_per_minute": 0}, "engine.requests_per_minute must be"),
        ({"tokens_per_minute": -5}, "engine.tokens_per_minute must be"),
        ({"budget": {"max_eur": 3}}, "engine.budget.max_eur is no key"),
        ({"budget": {"max_usd": 0}}, "engine.budget.max_usd must be"),
    ],
)
def test_a_bad_setting_is_named(engine, said):
    with pytest.raises(ValueError, match=said):
        Limits.from_engine(engine)
