"""Several servers of one model: shared out by speed, left when they die, tried again, and the books of all agree."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from evodistill import RunError
from evodistill.backend import Sampling, chat
from evodistill.backend.api import API
from evodistill.backend.servers import FAILURES, Servers
from evodistill.backend.throttle import Limits

sys.path.insert(0, str(Path(__file__).parent))  # however pytest imports this file
from stub_server import StubServer

FAST = {"backoff_s": 0.002, "timeout_s": 20.0, "breaker": 10_000}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def two(clock) -> Servers:
    return Servers(["http://a/v1", "http://b/v1"], Limits(concurrency=4, backoff_s=1.0), clock)


def client(*urls: str, engine: dict | None = None) -> API:
    return API(name="stub", path="org/stub-1", base_url=urls, key_env=None, engine=FAST | (engine or {}))


def chats(n: int) -> list:
    return [chat(f"question {i}") for i in range(n)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def total(*servers: StubServer) -> tuple[int, ...]:
    names = ("prompt_tokens", "completion_tokens", "untold")
    counted = [sum(getattr(server, name) for server in servers) for name in names]
    return (*counted, sum(len(server.asked) for server in servers))


def booked(api: API) -> tuple[int, int, int, int]:
    ledger = api.ledger
    return ledger.prompt_tokens, ledger.completion_tokens, ledger.unreported, ledger.attempts


# --- the choice, on a clock


def test_a_server_twice_as_fast_is_given_twice_as_much(two):
    a, b = two.all
    two.answered(a, 1.0)
    two.answered(b, 2.0)
    two.limits = Limits(concurrency=1000)
    for _ in range(300):
        two.start(two.pick()[0])
    assert a.at_work == pytest.approx(2 * b.at_work, abs=3)


def test_where_all_are_full_there_is_none_until_one_is_free(two):
    for _ in range(8):
        two.start(two.pick()[0])
    assert two.pick() == (None, math.inf)
    two.finish(two.all[1])
    assert two.pick()[0] is two.all[1]


def test_an_unreachable_server_is_left_then_one_request_tries_it(two, clock):
    a, b = two.all
    two.failed(a, "refused", unreachable=True)
    assert {two.pick()[0] for _ in range(3)} == {b}
    clock.now += 1.1
    b.at_work = 4
    assert two.pick()[0] is a
    two.start(a)
    assert two.pick()[0] is None, "one at a time, until it answers"
    two.answered(a, 0.1)
    assert two.pick()[0] is a


def test_the_longer_a_server_is_dead_the_longer_it_is_left(two, clock):
    waits = []
    for _ in range(8):
        two.failed(two.all[0], "refused", unreachable=True)
        waits.append(two.all[0].left_until - clock.now)
        clock.now = two.all[0].left_until
    assert waits[-1] > 4 * waits[0] and max(waits) <= two.limits.max_wait_s


def test_failures_in_a_row_leave_a_server_and_an_answer_between_them_does_not(two):
    a = two.all[0]
    for _ in range(FAILURES - 1):
        two.failed(a, "500")
    two.answered(a, 0.1)
    for _ in range(FAILURES - 1):
        two.failed(a, "500")
    assert not a.left
    two.failed(a, "500")
    assert a.left


def test_a_request_that_failed_goes_elsewhere_if_it_can(two):
    a, b = two.all
    assert two.pick(besides=a)[0] is b and two.pick(besides=b)[0] is a
    two.failed(b, "refused", unreachable=True)
    assert two.pick(besides=a)[0] is a


def test_a_single_server_is_never_left(clock):
    one = Servers(["http://a/v1"], Limits(), clock)
    for _ in range(20):
        one.failed(one.all[0], "refused", unreachable=True)
    assert one.pick()[0] is one.all[0]


# --- with servers


def crash_when_asked(server: StubServer, times: int) -> None:
    while len(server.asked) < times:
        time.sleep(0.002)
    server.crash()


def test_requests_are_shared_out_by_speed_and_come_back_in_order():
    with StubServer(latency=0.02) as fast, StubServer(latency=0.1) as slow:
        api = client(fast.url, slow.url, engine={"concurrency": 4})
        answers = api.generate(chats(300), Sampling())
        assert [answer.text for answer in answers] == [f"echo: question {i}" for i in range(300)]
        # a busy machine adds the same to both
        assert 1.3 < len(fast.asked) / len(slow.asked) < 8
        assert max(fast.peak, slow.peak) == 4
        assert booked(api) == total(fast, slow)


def test_a_server_that_crashes_is_left_and_nothing_is_lost():
    with StubServer(latency=0.02) as a, StubServer(latency=0.02) as b:
        api = client(a.url, b.url, engine={"concurrency": 8, "backoff_s": 0.05})
        threading.Thread(target=crash_when_asked, args=(a, 40)).start()
        answers = api.generate(chats(600), Sampling())
        assert [answer.text for answer in answers] == [f"echo: question {i}" for i in range(600)]
        assert len(a.asked) >= 40 and len(b.asked) > 300
        prompt, completion, untold, asked = total(a, b)
        assert booked(api)[:2] == (prompt, completion)
        # what was under way may have been computed; a refused connection was an attempt, but asked nothing
        assert untold <= api.ledger.unreported <= 8 and api.ledger.attempts >= asked


def test_a_dead_server_is_tried_again_and_used_when_it_is_back(caplog):
    port = free_port()
    back: list[StubServer] = []

    def start() -> None:
        while "is left for" not in caplog.text:  # however long a busy machine takes to ask it
            time.sleep(0.01)
        back.append(StubServer(latency=0.01, port=port).__enter__())

    with StubServer(latency=0.01) as a:
        api = client(a.url, f"http://127.0.0.1:{port}/v1", engine={"concurrency": 4, "backoff_s": 0.05})
        starting = threading.Thread(target=start, daemon=True)
        with caplog.at_level("INFO", "evodistill.backend"):
            starting.start()
            answers = api.generate(chats(800), Sampling())
    (b,) = back
    b.__exit__()
    assert all(answer.text for answer in answers)
    assert len(b.asked) > 100
    assert "is left for" in caplog.text and "is back" in caplog.text


def test_a_server_that_only_fails_is_left_and_the_other_does_the_work():
    with StubServer(faults=lambda n, body: "500") as broken, StubServer(latency=0.005) as sound:
        api = client(broken.url, sound.url, engine={"concurrency": 4, "backoff_s": 0.2})
        answers = api.generate(chats(300), Sampling())
        assert not any(answer.error for answer in answers)
        assert len(broken.asked) < 40
        assert booked(api)[:2] == total(broken, sound)[:2]


def test_a_server_that_asks_to_wait_does_not_hold_back_the_other():
    calls = iter(["429"])
    from stub_server import Fault

    with (
        StubServer(faults=lambda n, body: Fault(next(calls, ""), retry_after="30")) as busy,
        StubServer(latency=0.005) as free,
    ):
        started = time.monotonic()
        answers = client(busy.url, free.url, engine={"concurrency": 4}).generate(chats(100), Sampling())
        assert time.monotonic() - started < 10 and not any(answer.error for answer in answers)
        assert len(free.asked) > 90


def test_where_no_server_can_be_reached_the_run_stops_and_names_them():
    urls = [f"http://127.0.0.1:{free_port()}/v1" for _ in range(2)]
    with pytest.raises(RunError, match="start the server or correct base_url") as stopped:
        client(*urls).generate(chats(5), Sampling())
    assert all(url in str(stopped.value) for url in urls)


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ([], "empty list"),
        (["http://a/v1", "http://a/v1"], "names a server twice"),
        (["http://a/v1", "a:8000"], "base_url must look like"),
    ],
)
def test_a_bad_list_of_servers_is_refused(urls, message):
    with pytest.raises(ValueError, match=message):
        client(*urls)


def test_the_servers_are_no_part_of_the_identity_and_all_must_be_local_to_go_without_a_key():
    assert client("http://localhost:1/v1", "http://localhost:2/v1").identity == client("http://h/v1").identity
    assert client("http://localhost:1/v1", "http://127.0.0.1:2/v1").local
    assert not client("http://localhost:1/v1", "http://example.org/v1").local
