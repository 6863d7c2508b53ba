"""Which of several servers of one model is asked next: the one that will answer soonest, as far as can be told.

servers = Servers(["http://a/v1", "http://b/v1"], Limits())
server, wait = servers.pick()      # a server to ask now, or None and how many seconds to wait (inf = until one is free)

A server that cannot be reached, or fails again and again, is left for a while; then one request tries it. Plain
arithmetic on a clock: no network, no sleep.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evodistill.backend.throttle import Limits

log = logging.getLogger(__name__)

FAILURES = 3  # in a row, after which a server that can still be reached is left
MEMORY = 0.1  # weight of the newest request in the mean of a server's seconds


@dataclass(eq=False, slots=True)
class Server:
    """One address. `seconds` is the mean time of its latest answers; 0 = not known yet."""

    url: str
    at_work: int = 0
    seconds: float = 0.0
    asked: int = 0
    answered: int = 0
    failures: int = 0  # in a row
    reached: bool = False  # has it ever answered?
    left_until: float = 0.0
    closed_until: float = 0.0  # by its Retry-After, or its 429

    @property
    def left(self) -> bool:
        return self.left_until > 0

    @property
    def load(self) -> tuple[float, int]:
        """Falls with speed: among equally busy servers the fast one, a new one before all."""
        return (self.at_work + 1) * self.seconds, self.at_work


@dataclass
class Servers:
    """All addresses of a model. A single one is never left: there is nowhere else to go."""

    urls: Sequence[str]
    limits: Limits
    clock: Callable[[], float] = time.monotonic
    all: list[Server] = field(init=False)

    def __post_init__(self) -> None:
        self.all = [Server(url) for url in self.urls]
        self.jitter = random.Random()  # its own: no draw of a run may depend on the network

    def pick(self, besides: Server | None = None) -> tuple[Server | None, float]:
        """The server to ask now, `besides` only where no other can be; else None and the seconds until one may be,
        infinite where all wait for an answer."""
        now = self.clock()
        free = [server for server in self.all if self.opens(server) <= now and self.has_room(server)]
        if free:
            others = [server for server in free if server is not besides] or free
            return min(others, key=lambda server: server.load), 0.0
        opening = [self.opens(server) - now for server in self.all if self.opens(server) > now]
        return None, min(opening, default=math.inf)

    def opens(self, server: Server) -> float:
        return max(server.left_until, server.closed_until)

    def has_room(self, server: Server) -> bool:
        return server.at_work < (1 if server.left else self.limits.concurrency)

    def another(self, server: Server) -> bool:
        """Whether a request that failed there may go elsewhere at once."""
        now = self.clock()
        return any(other is not server and not other.left and self.opens(other) <= now for other in self.all)

    def start(self, server: Server) -> None:
        server.at_work += 1
        server.asked += 1

    def finish(self, server: Server) -> None:
        server.at_work -= 1

    def answered(self, server: Server, seconds: float) -> None:
        """It has answered a request."""
        if server.left:
            log.info("%s is back", server.url)
        server.reached, server.failures, server.left_until = True, 0, 0.0
        server.answered += 1
        server.seconds = seconds if not server.seconds else server.seconds + MEMORY * (seconds - server.seconds)

    def failed(self, server: Server, reason: str, unreachable: bool = False) -> None:
        """It has not. One of several is left where nobody listens there, or after some failures in a row."""
        server.failures += 1
        if len(self.all) == 1 or not (unreachable or server.failures >= FAILURES):
            return
        if server.left_until <= self.clock():  # requests that failed together are one failure of the server
            wait = self.limits.backoff(max(1, server.failures - FAILURES), self.jitter.random())
            (log.info if server.left else log.warning)("%s is left for %.1f s: %s", server.url, wait, reason)
            server.left_until = self.clock() + wait

    def closed(self, server: Server, seconds: float) -> None:
        """It asks to wait."""
        server.closed_until = max(server.closed_until, self.clock() + seconds)
