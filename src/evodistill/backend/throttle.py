"""How fast, how long and for how much money a server may be asked. Plain arithmetic on a clock: no network, no sleep.

bucket = Bucket(per_minute=60)
bucket.wait(1)   # 0.0: may pass now
bucket.take(1)
bucket.wait(1)   # about one second
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """The `engine:` keys of conf/backend/api.yaml, which says what each is for. A limit that is None does not bind."""

    concurrency: int = 32
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = 600.0
    connect_timeout_s: float = 10.0
    retries: int = 6
    backoff_s: float = 1.0
    max_wait_s: float = 120.0
    breaker: int = 8
    budget: Mapping[str, float | None] = field(default_factory=lambda: {"max_tokens": None, "max_usd": None})

    @classmethod
    def from_engine(cls, engine: Mapping[str, object]) -> Limits:
        names = [field.name for field in fields(cls)]
        if unknown := sorted(set(engine) - set(names)):
            raise ValueError(f"engine.{unknown[0]} is no key of this backend; it has {', '.join(names)}")
        return cls(**engine)  # type: ignore[arg-type]  # the values are checked below

    def __post_init__(self) -> None:
        for name in ("concurrency", "breaker"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ValueError(f"engine.{name} must be a whole number ≥ 1, got {value!r}")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"engine.retries must be a whole number ≥ 0, got {self.retries!r}")
        for name in ("timeout_s", "connect_timeout_s", "backoff_s", "max_wait_s"):
            if not positive(value := getattr(self, name)):
                raise ValueError(f"engine.{name} must be a number of seconds > 0, got {value!r}")
        for name in ("requests_per_minute", "tokens_per_minute"):
            if (value := getattr(self, name)) is not None and not positive(value):
                raise ValueError(f"engine.{name} must be > 0, or null for no limit, got {value!r}")
        for name, value in self.budget.items():
            if name not in ("max_tokens", "max_usd"):
                raise ValueError(f"engine.budget.{name} is no key; it has max_tokens, max_usd")
            if value is not None and not positive(value):
                raise ValueError(f"engine.budget.{name} must be > 0, or null for no limit, got {value!r}")

    def backoff(self, failures: int, jitter: float) -> float:
        """Seconds to wait after the n-th failure of one request: doubles, up to max_wait_s. Jitter in [0, 1) takes up
        to half of it away, so that requests that failed together do not come back together."""
        return min(self.max_wait_s, self.backoff_s * 2.0 ** min(failures - 1, 60)) * (1 - jitter / 2)


def positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


@dataclass(slots=True)
class Bucket:
    """A token bucket that holds one second's worth: calls are spread over the minute rather than sent at its start.

    It fills as slowly as it takes for any sixty seconds to hold at most `per_minute`. What is larger than the bucket
    passes when it is full and leaves a debt for those behind it. None does not limit."""

    per_minute: float | None
    clock: Callable[[], float] = time.monotonic
    size: float = field(init=False)
    rate: float = field(init=False)  # per second
    level: float = field(init=False)
    stamp: float = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.level = (self.per_minute or 0) / 60
        self.rate = self.size * 59 / 60
        self.stamp = self.clock()

    def wait(self, amount: float) -> float:
        """Seconds until `amount` may pass; 0 = now."""
        if self.per_minute is None:
            return 0.0
        now = self.clock()
        self.level = min(self.size, self.level + (now - self.stamp) * self.rate)
        self.stamp = now
        missing = min(amount, self.size) - self.level
        return missing / self.rate if missing > 1e-9 * self.size else 0.0  # a rounding error is not worth a sleep

    def take(self, amount: float) -> None:
        """A negative amount gives back what had been estimated too high."""
        self.level -= amount


def dollars(prompt_tokens: int, completion_tokens: int, price: Mapping[str, float] | None) -> float:
    """`price`: USD per million tokens, {prompt, completion}; what has none costs 0."""
    price = price or {}
    return (prompt_tokens * price.get("prompt", 0.0) + completion_tokens * price.get("completion", 0.0)) / 1e6


@dataclass(slots=True)
class Ledger:
    """What the server says it has billed, failed attempts included. The spending of one backend in one process; that of
    a whole study is `spending.py`."""

    attempts: int = 0
    refused: int = 0  # requests that the server would not answer: too long, filtered
    reported: int = 0  # attempts whose reply told their tokens
    unreported: int = (
        0  # attempts that may have been billed though nothing told so: time-out, broken connection or body
    )
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def usd(self, price: Mapping[str, float] | None) -> float:
        return dollars(self.prompt_tokens, self.completion_tokens, price)

    def add(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.reported += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def estimate(self, characters: int, max_tokens: int) -> float:
        """Tokens that a request will take: four characters a token, and the mean answer so far (before there is one,
        the longest answer there may be)."""
        answer = self.completion_tokens / self.reported if self.reported else max_tokens
        return characters / 4 + min(answer, max_tokens)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or an HTTP date (RFC 9110, 10.2.3); `now`: Unix
    time. None where there is no header or it makes no sense."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        # "-0000" gives a naive datetime, and the header's dates are GMT
        seconds = max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
    return seconds if 0 <= seconds < math.inf else None
