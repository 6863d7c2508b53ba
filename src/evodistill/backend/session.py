"""The asking itself: a few workers over one iterator of requests, each with its retries, all under the same limits."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from evodistill import RunError, __version__
from evodistill.backend import Completion, Request
from evodistill.backend.reply import Again, Stop, read

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx

    from evodistill.backend.api import API
    from evodistill.backend.servers import Server

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.25  # who waits for a limit looks this often whether an estimate was corrected in its favour
SHOWN = 300  # characters of a server's message
PATH = "/chat/completions"
GO_ON = "run the same command again, what is finished is kept"


class Session:
    """One call of `API.complete`. `done` receives (position, completion) as requests finish."""

    def __init__(self, api: API, requests: Sequence[Request]) -> None:
        self.api, self.limits, self.key = api, api.limits, api.key
        self.servers = api.servers
        self.todo = enumerate(requests)
        self.workers = min(self.limits.concurrency * len(api.urls), len(requests))
        self.done: SimpleQueue[tuple[int, Completion] | BaseException | None] = SimpleQueue()
        self.gate = asyncio.Lock()  # first come, first served
        self.freed = asyncio.Event()  # a server has room again
        self.given_up = 0  # requests in a row
        self.answered = 0
        self.unasked = 0  # because the budget was spent
        self.jitter = random.Random()  # its own: no draw of the run may depend on the network

    async def run(self) -> None:
        import httpx

        if (httpx_log := logging.getLogger("httpx")).level == logging.NOTSET:
            httpx_log.setLevel(logging.WARNING)  # else a line per request in run.log
        certificates = httpx.create_ssl_context()  # costs some 20 ms, so once for all
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.workers):
                    group.create_task(self.work(certificates))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        if self.unasked:
            left = self.unasked + sum(1 for _ in self.todo)
            raise self.stop(f"{self.api.over_budget()}, {left} requests are left; raise it and {GO_ON}")

    async def work(self, certificates: SSLContext) -> None:
        """Answer one request after the other, over a connection of its own: in a pool that all workers share,
        each request takes time in proportion to their number (httpx 0.28: eight times as long at 100 workers)."""
        import httpx

        client = httpx.AsyncClient(
            headers={"Content-Type": "application/json", "User-Agent": f"evodistill/{__version__}"}
            | ({"Authorization": f"Bearer {self.key}"} if self.key else {}),
            timeout=httpx.Timeout(None, connect=self.limits.connect_timeout_s),  # `attempt` limits the whole
            verify=certificates,
            trust_env=not self.api.local,  # a proxy to the outside does not lead to this machine
        )
        async with client:
            for position, request in self.todo:  # shared: a million requests are never a million tasks
                completion = await self.answer(client, request)
                if completion is None:
                    self.unasked += 1
                    return
                self.done.put((position, completion))
                if any(self.limits.budget.values()) and not completion.error and not self.api.ledger.reported:
                    raise self.stop(
                        "its replies report no tokens, so engine.budget cannot be kept: set its limits to null"
                    )
                # where the reader has fallen behind: what is not yet durable stays little
                while self.done.qsize() > 2 * self.workers:
                    await asyncio.sleep(0.01)

    async def answer(self, client: httpx.AsyncClient, request: Request) -> Completion | None:
        """The answer, or an error completion after the last retry; None where the budget ends before."""
        body = self.api.body(request)
        failures, server, answered = 0, None, self.answered
        while True:
            estimate, server = await self.admit(request, server)
            try:
                if self.api.over_budget():
                    return None
                started = time.monotonic()
                outcome = await self.attempt(client, server, request, body, estimate)
            finally:
                self.servers.finish(server)
                self.freed.set()
            if isinstance(outcome, Completion):
                self.servers.answered(server, time.monotonic() - started)
                self.given_up = 0
                self.answered += 1
                return outcome
            failures += 1
            log.debug("%s: attempt %d failed: %s", server.url, failures, outcome.reason)
            self.servers.failed(server, outcome.reason, outcome.unreachable)
            wait = self.wait_after(server, outcome, failures)
            if failures > self.limits.retries:
                break
            await asyncio.sleep(0 if self.servers.another(server) else wait)
        # a server that is asked too much is not broken, unless it has answered nobody meanwhile
        self.given_up += not outcome.busy or self.answered == answered
        if outcome.unreachable or self.given_up >= self.limits.breaker:
            raise self.stop(f"fails again and again, the last time: {outcome.reason}; mend the server and {GO_ON}")
        told = f"{failures} attempts failed, the last: {outcome.reason}"
        return Completion("", "error", error=told, passing=True)

    async def admit(self, request: Request, besides: Server | None) -> tuple[float, Server]:
        """Wait until the limits and a server let one more attempt pass. Returns the tokens it was counted with."""
        characters = sum(len(message["content"]) for message in request.chat)
        estimate = self.api.ledger.estimate(characters, request.sampling.max_tokens)
        one, many = self.api.requests_bucket, self.api.tokens_bucket
        async with self.gate:
            while True:
                self.freed.clear()
                server, wait = self.servers.pick(besides)
                wait = max(wait, one.wait(1), many.wait(estimate))
                if server and wait <= 0:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(wait, LOOK_AGAIN_S)):
                        await self.freed.wait()
            one.take(1)
            many.take(estimate)
            self.servers.start(server)
        return estimate, server

    async def attempt(
        self, client: httpx.AsyncClient, server: Server, request: Request, body: bytes, estimate: float
    ) -> Completion | Again:
        """Ask once. RunError where no other request would fare better."""
        import httpx

        ledger = self.api.ledger
        ledger.attempts += 1
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                response = await client.post(server.url.rstrip("/") + PATH, content=body)
        except TimeoutError:
            ledger.unreported += 1
            return Again(f"no answer within {self.limits.timeout_s:g} s (engine.timeout_s)")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = self.told(f"cannot connect: {error or type(error).__name__}")
            # the addresses are wrong or nothing was started: waiting would only hide it
            if not any(other.reached or (not other.failures and other is not server) for other in self.servers.all):
                raise self.stop(f"{reason}; start the server or correct base_url") from None
            return Again(reason, unreachable=True)
        except httpx.RequestError as error:
            ledger.unreported += 1
            return Again(self.told(f"the connection broke: {type(error).__name__} {error}"))
        server.reached = True
        outcome, billed = read(response.status_code, response.headers, response.content, request.sampling.logprobs)
        if billed:
            self.api.bill(*billed)
            self.api.tokens_bucket.take(sum(billed) - estimate)
        elif response.status_code == 200:
            ledger.unreported += 1
        if isinstance(outcome, Stop):
            raise self.stop(f"{self.told(outcome.reason)}; {self.cure(outcome.status, server)}")
        if isinstance(outcome, Again):
            return replace(outcome, reason=self.told(outcome.reason))
        if outcome.error:
            outcome = replace(outcome, error=self.told(outcome.error))
            ledger.refused += 1
            if ledger.refused == 1:  # it may be the first of all
                log.warning(
                    "%s: a request is refused, those after it are counted only: %s", self.api.name, outcome.error
                )
        return outcome

    def wait_after(self, server: Server, outcome: Again, failures: int) -> float:
        """Seconds until this request may try again. A Retry-After, or a 429 without one, holds the server's other
        requests back as well."""
        spread = self.limits.backoff(failures, self.jitter.random())
        if outcome.after is None and not outcome.busy:
            return spread
        after = spread if outcome.after is None else outcome.after
        if after > self.limits.max_wait_s and not self.servers.another(server):
            raise self.stop(
                f"asks to wait {after:.0f} s ({outcome.reason}), longer than "
                f"engine.max_wait_s={self.limits.max_wait_s:g}; wait, then {GO_ON}"
            )
        self.servers.closed(server, after)
        return after + spread * self.jitter.random()  # never sooner than asked, and not all at once

    def stop(self, text: str) -> RunError:
        return RunError(f"model {self.api.name} at {', '.join(self.api.urls)}: {text}")

    def told(self, text: str) -> str:
        """What a server or a library says: on one line, not too long, and without the key that some servers echo."""
        line = " ".join((text.replace(self.key, "[key]") if self.key else text).split())
        return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"

    def cure(self, status: int, server: Server) -> str:
        api = self.api
        match status:
            case 401 | 403 if not self.key:
                return "it wants a key: put it into an environment variable" + (
                    f" {api.key_env}" if api.key_env else " and name that in key_env"
                )
            case 401 | 403:
                return f"check the key in {api.key_env} and what it may use"
            case 402:
                return "the account has nothing left to spend: top it up"
            case 404:
                url = server.url.rstrip("/") + PATH
                return f"does {url} exist, and does it know the name {api.model}? Correct base_url or served_name"
        return "is base_url that of an OpenAI-compatible server?"
