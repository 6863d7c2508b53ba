"""The API client against a server that fails in every way a server can."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
import yaml

from evodistill import RunError
from evodistill.backend import Completion, Sampling, chat
from evodistill.backend.api import API
from evodistill.backend.throttle import Limits

sys.path.insert(0, str(Path(__file__).parent))  # however pytest imports this file
from stub_server import Fault, StubServer

PASSING = (
    "429",
    "500",
    "502",
    "503",
    "reset",
    "half_body",
    "invalid_json",
    "empty_choices",
    "null_content",
    "billed_500",
)
CANARY = "sk-canary-5b1f0e77"
FAST = {"backoff_s": 0.002, "timeout_s": 20.0, "breaker": 10_000}


def client(url: str, *, engine: dict | None = None, **fields) -> API:
    given = {"name": "stub", "path": "org/stub-1", "base_url": url, "key_env": None} | fields
    return API(**given, engine=FAST | (engine or {}))


def chats(n: int) -> list:
    return [chat(f"question {i}") for i in range(n)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def collect(api: API, n: int, sampling: Sampling | None = None) -> tuple[dict[int, Completion], RunError | None]:
    """What was yielded, and the error that ended it."""
    found: dict[int, Completion] = {}
    try:
        for group in api.complete(api.requests(chats(n), sampling or Sampling())):
            assert group
            for position, completion in group:
                assert position not in found
                found[position] = completion
    except RunError as error:
        return found, error
    return found, None


def assert_books_agree(api: API, server: StubServer) -> None:
    assert (api.ledger.prompt_tokens, api.ledger.completion_tokens) == (server.prompt_tokens, server.completion_tokens)
    assert api.ledger.unreported == server.untold
    assert api.ledger.attempts == len(server.asked)


# --- what is sent, what comes back


def test_answers_come_back_in_the_order_of_the_chats_whatever_order_they_finish_in():
    rng = random.Random(0)
    with StubServer(faults=lambda n, body: rng.choice([None, None, "500"])) as server:
        api = client(server.url, engine={"retries": 60})
        answers = api.generate(chats(150), Sampling())
    assert [answer.text for answer in answers] == [f"echo: question {i}" for i in range(150)]
    assert all(
        (answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == ("stop", 2, 3) for answer in answers
    )


def test_a_request_carries_the_model_the_chat_and_the_whole_sampling():
    """L4: the model that the config names, whatever else the server has"""
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=11, seed=3, stop=["\n\n"], logprobs=4)
    with StubServer() as server:
        api = client(server.url, served_name="tuned", extra_body={"top_k": 20})
        requests = api.requests([chat("hello", system="be brief")], sampling)
        list(api.complete(requests))
    assert server.asked[0].body == {
        "model": "tuned",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 11,
        "seed": requests[0].seed % 2**31,
        "stop": ["\n\n"],
        "logprobs": True,
        "top_logprobs": 5,
        "top_k": 20,
    }


@pytest.mark.parametrize(("structured", "choices"), [(True, ["tea", "coffee"]), (True, []), (False, ["tea"])])
def test_a_server_with_structured_output_is_told_what_a_reply_may_be(structured, choices):
    with StubServer() as server:
        client(server.url, structured=structured).generate(chats(1), Sampling(), choices)
    told = server.asked[0].body.get("response_format")
    if not (structured and choices):
        assert told is None
    else:
        assert told["type"] == "json_schema" and told["json_schema"]["strict"]
        schema = told["json_schema"]["schema"]
        assert schema["properties"] == {"answer": {"type": "string", "enum": choices}}
        assert schema["required"] == ["answer"] and schema["additionalProperties"] is False


def test_draws_of_one_chat_have_seeds_of_31_bits_that_differ():
    with StubServer() as server:
        client(server.url).generate([chat("same")] * 20, Sampling(temperature=1.0))
    seeds = {asked.body["seed"] for asked in server.asked}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_rename_gives_keys_another_name_or_leaves_them_out():
    with StubServer() as server:
        client(server.url, rename={"max_tokens": "max_completion_tokens", "seed": None}).generate(
            chats(1), Sampling(max_tokens=9)
        )
    assert server.asked[0].body["max_completion_tokens"] == 9
    assert not {"max_tokens", "seed"} & set(server.asked[0].body)


def test_the_answer_is_cut_at_max_tokens():
    with StubServer() as server:
        (answer,) = client(server.url).generate([chat("a b c d")], Sampling(max_tokens=3))
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("echo: a b", "length", 3)


@pytest.mark.parametrize(
    ("top", "first"),
    [(1, [("echo:", -1.0), ("echo:1", -0.5)]), (3, [("echo:", -1.0), ("echo:1", -0.5), ("echo:3", -1.5)])],
)
def test_log_probabilities_have_the_chosen_token_first_and_once(top, first):
    with StubServer() as server:
        (answer,) = client(server.url).generate([chat("x")], Sampling(logprobs=top))
    assert list(answer.logprobs[0]) == first
    assert [position[0][0] for position in answer.logprobs] == ["echo:", "x"]


def test_any_text_can_be_sent_and_comes_back_as_it_was():
    texts = [
        "naïve 漢字 🜚 \u2028 end",
        'quote " and \\ and {{ braces }}',
        "nul \x00 tab \t",
        "x" * 200_000,
    ]
    with StubServer() as server:
        answers = client(server.url).generate([chat(text) for text in texts], Sampling(max_tokens=10**6))
    assert [answer.text for answer in answers] == [f"echo: {text}" for text in texts]


def test_a_lone_surrogate_is_replaced_as_in_our_own_engines():
    with StubServer() as server:
        (answer,) = client(server.url).generate([chat("lone \ud83d end")], Sampling())
    assert answer.text == "echo: lone \ufffd end"


def test_no_requests_ask_nothing_not_even_for_a_key(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    assert client("https://api.example.com/v1", key_env="NO_SUCH_KEY").generate([], Sampling()) == []


# --- faults


@pytest.mark.parametrize("kind", [*PASSING, "time_out"])
def test_a_fault_that_passes_is_retried(kind):
    """L2: a reply without content or choices is one of them"""
    with StubServer(faults=[kind, kind]) as server:
        api = client(server.url, engine={"timeout_s": 1.5 if kind == "time_out" else 20})
        (answer,) = api.generate(chats(1), Sampling())
        assert answer.text == "echo: question 0" and not answer.error
        assert len(server.asked) == 3
        assert_books_agree(api, server)


@pytest.mark.parametrize("kind", [*PASSING, "time_out"])
def test_a_fault_that_stays_ends_in_an_error_completion(kind):
    with StubServer(faults=lambda n, body: kind) as server:
        api = client(server.url, engine={"retries": 2, "timeout_s": 0.5 if kind == "time_out" else 20})
        (answer,) = api.generate(chats(1), Sampling())
        assert (answer.text, answer.finish_reason) == ("", "error")
        assert "3 attempts failed" in answer.error
        assert len(server.asked) == 3
        assert_books_agree(api, server)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("400", "HTTP 400: as told"),
        ("413", "HTTP 413: as told"),
        ("422", "HTTP 422: as told"),
        ("content_filter", "finish_reason 'content_filter'"),
        ("tool_calls", "finish_reason 'tool_calls'"),
        ("refusal", "I would rather not"),
        ("all_reasoning", "raise sampling.max_tokens"),
    ],
)
def test_a_fault_of_one_request_is_its_error_at_once_and_no_other_ones(kind, said, caplog):
    def faults(n, body):
        return kind if body["messages"][0]["content"] == "question 1" else None

    with StubServer(faults=faults) as server:
        api = client(server.url, engine={"breaker": 1})
        answers = api.generate(chats(3), Sampling())
        assert [answer.finish_reason for answer in answers] == ["stop", "error", "stop"]
        assert said in answers[1].error
        assert caplog.text.count("a request is refused") == api.ledger.refused == 1
        assert len(server.asked) == 3
        assert_books_agree(api, server)


def test_a_server_without_log_probabilities_says_so():
    with StubServer(faults=["no_logprobs"]) as server:
        (answer,) = client(server.url).generate(chats(1), Sampling(logprobs=2))
    assert "sampling.logprobs=0" in answer.error


def test_mixed_faults_of_30_percent_lose_nothing_and_the_books_agree():
    rng = random.Random(1)
    kinds = [*PASSING, "time_out", "400", "content_filter"]

    def faults(n, body):
        return rng.choice(kinds) if rng.random() < 0.3 else None

    with StubServer(latency=0.002, faults=faults) as server:
        api = client(server.url, engine={"retries": 3, "concurrency": 40, "timeout_s": 6})
        answers = api.generate(chats(400), Sampling())
        assert_books_agree(api, server)
    good = [answer for answer in answers if not answer.error]
    # 2 of 13 kinds end a request at once, four faults in a row do too
    assert 330 < len(good) < 400
    assert all(answer.text == f"echo: question {i}" for i, answer in enumerate(answers) if not answer.error)
    assert all(answer.finish_reason == "error" and not answer.text for answer in answers if answer.error)
    print(Counter(asked.fault for asked in server.asked))


@pytest.mark.parametrize(
    "kind",
    [
        *("429", "500", "502", "reset", "time_out", "half_body", "invalid_json", "empty_choices"),
        *("wrong_ids", "slow_drip"),  # another id, model and index than asked; a byte now and then
    ],
)
def test_30_percent_of_one_fault_end_as_answers_or_reasons_and_the_books_agree(kind):
    rng = random.Random(2)

    def faults(n, body):
        return Fault(kind, retry_after="0.01" if kind == "429" else "") if rng.random() < 0.3 else None

    price = {"prompt": 3.0, "completion": 7.0}
    with StubServer(faults=faults) as server:
        hangs = kind in ("time_out", "slow_drip")
        api = client(server.url, engine={"retries": 3, "concurrency": 30, "timeout_s": 1 if hangs else 60}, price=price)
        answers = api.generate(chats(60), Sampling())
        if not hangs:  # a sound reply may come too late as well: what the server told then, it told nobody
            assert_books_agree(api, server)
            assert api.ledger.usd(price) == pytest.approx(
                (3 * server.prompt_tokens + 7 * server.completion_tokens) / 1e6
            )
    assert len(answers) == 60
    for i, answer in enumerate(answers):
        assert answer.error.startswith("4 attempts failed") if answer.error else answer.text == f"echo: question {i}"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("401", "check the key in|it wants a key"),
        ("402", "top it up"),
        ("403", "it wants a key"),
        ("404", "Correct base_url or served_name"),
        ("307", "is base_url that of"),
    ],
)
def test_what_would_fail_every_request_stops_at_once_with_its_cure(kind, said):
    with StubServer(faults=lambda n, body: kind) as server:
        found, error = collect(client(server.url, engine={"concurrency": 1}), 50)
    assert not found
    assert len(server.asked) == 1
    assert any(cure in str(error) for cure in said.split("|"))
    assert server.url in str(error) and "\n" not in str(error)


def test_an_unreachable_server_is_named_at_once(caplog):
    """… and no bill of nothing before it"""
    caplog.set_level("INFO")
    url = f"http://127.0.0.1:{free_port()}/v1"
    start = time.monotonic()
    found, error = collect(client(url, engine={"backoff_s": 5}), 50)
    assert not found and url in str(error) and "start the server or correct base_url" in str(error)
    assert time.monotonic() - start < 4
    assert "billed" not in caplog.text


def test_a_server_that_goes_away_stops_the_run_and_finished_answers_stay():
    with StubServer(latency=0.01) as server:
        api = client(server.url, engine={"concurrency": 4, "retries": 2})
        found = {}
        with pytest.raises(RunError, match="what is finished is kept"):
            for group in api.complete(api.requests(chats(500), Sampling())):
                found |= dict(group)
                if len(found) >= 20:
                    server.crash()
    assert 20 <= len(found) < 500
    assert all(not answer.error for answer in found.values())


def test_the_breaker_stops_after_so_many_requests_given_up_in_a_row():
    with StubServer(faults=lambda n, body: "500" if n >= 30 else None) as server:
        found, error = collect(client(server.url, engine={"breaker": 5, "retries": 1, "concurrency": 1}), 500)
    assert "fails again and again" in str(error) and "HTTP 500" in str(error)
    assert sum(not answer.error for answer in found.values()) == 30
    assert len(server.asked) == 30 + 2 * 5


def test_a_success_in_between_resets_the_breaker():
    def faults(n, body):
        return None if body["messages"][0]["content"].endswith(("0", "5")) else "500"

    with StubServer(faults=faults) as server:
        found, error = collect(client(server.url, engine={"breaker": 5, "retries": 0, "concurrency": 1}), 50)
    assert error is None and len(found) == 50 and sum(not answer.error for answer in found.values()) == 10


# --- limits


@pytest.mark.parametrize("date", [False, True], ids=["seconds", "date"])
def test_retry_after_holds_back_every_request(date):
    def header() -> str:
        moment = datetime.now(UTC) + timedelta(seconds=2)
        return format_datetime(moment, usegmt=True) if date else "0.6"

    with StubServer(faults=lambda n, body: Fault("429", header()) if n == 3 else None) as server:
        answers = client(server.url, engine={"concurrency": 1}).generate(chats(8), Sampling())
    assert not any(answer.error for answer in answers)
    gap = server.asked[4].at - server.asked[3].at
    assert gap >= (1.0 if date else 0.6)  # a date has whole seconds
    assert gap < 4


def test_retry_after_is_respected_by_all_workers():
    with StubServer(latency=0.02, faults=[Fault("503", "0.7")]) as server:
        client(server.url, engine={"concurrency": 4}).generate(chats(40), Sampling())
    refused = server.asked[0].at
    # the other three were under way; after their answers nobody asks before the time is over
    assert sum(asked.at - refused < 0.7 for asked in server.asked) <= 4 + 3


def test_a_429_without_retry_after_closes_the_server_for_the_back_off():
    engine = {"concurrency": 4, "backoff_s": 1.4}
    with StubServer(latency=0.02, faults=["429"]) as server:
        answers = client(server.url, engine=engine).generate(chats(40), Sampling())
    assert not any(answer.error for answer in answers) and len(server.asked) == 41
    # half of the back-off may be off at random; the other three were under way, as above
    assert sum(asked.at - server.asked[0].at < 0.7 for asked in server.asked) <= 4 + 3


def test_a_server_that_is_asked_too_much_does_not_trip_the_breaker():
    """… one that answers nobody meanwhile does"""
    engine = {"breaker": 3, "retries": 0, "concurrency": 1}
    with StubServer(faults=lambda n, body: "429") as server:
        found, error = collect(client(server.url, engine=engine), 12)
    assert "HTTP 429" in str(error) and len(found) == 2
    refused = [n for n in range(60) if n % 10]  # one in ten is answered
    many = {"breaker": 3, "retries": 1, "concurrency": 12, "backoff_s": 0.2}
    with StubServer(latency=0.05, faults=lambda n, body: "429" if n in refused else None) as server:
        found, error = collect(client(server.url, engine=many), 30)
    assert error is None and len(found) == 30 and sum("HTTP 429" in answer.error for answer in found.values()) >= 3


def test_a_retry_after_longer_than_we_would_wait_stops_the_run():
    with StubServer(faults=[None, Fault("429", "86400")]) as server:
        found, error = collect(client(server.url, engine={"concurrency": 1}), 9)
    assert "asks to wait 86400 s" in str(error) and "engine.max_wait_s=120" in str(error)
    assert list(found) == [0]


def test_a_spent_account_is_not_retried():
    with StubServer(faults=[Fault("429", code="insufficient_quota")]) as server:
        _, error = collect(client(server.url, engine={"concurrency": 1}), 9)
    assert "top it up" in str(error) and len(server.asked) == 1


def test_requests_per_minute_spread_the_requests():
    with StubServer() as server:
        start = time.monotonic()
        client(server.url, engine={"requests_per_minute": 1200}).generate(chats(40), Sampling())
        took = time.monotonic() - start
    # 20 a second, of which 20 were saved up
    assert took >= 20 / 20
    assert len(server.asked) == 40


def test_tokens_per_minute_hold_by_what_was_really_used():
    with StubServer() as server:
        start = time.monotonic()
        # 3,000 a minute = 50 a second; each takes 5, though 1,000 are feared before the first answer
        client(server.url, engine={"tokens_per_minute": 3000, "concurrency": 1}).generate(
            chats(24), Sampling(max_tokens=1000)
        )
        took = time.monotonic() - start
    assert 24 * 5 / 50 - 1.2 <= took < 10


def test_concurrency_is_reached_and_not_exceeded():
    with StubServer(latency=0.05) as server:
        client(server.url, engine={"concurrency": 17}).generate(chats(100), Sampling())
    assert server.peak == 17


def test_a_budget_of_tokens_stops_the_run_and_keeps_what_was_finished():
    """L5: tokens are counted, and there is a limit to them"""
    with StubServer(latency=0.005) as server:
        api = client(server.url, engine={"budget": {"max_tokens": 100}, "concurrency": 4})
        found, error = collect(api, 1000)
    assert "engine.budget.max_tokens=100 is spent" in str(error) and "are left" in str(error)
    assert 100 <= api.ledger.tokens <= 100 + 4 * 5
    assert len(found) == len(server.asked) and not any(answer.error for answer in found.values())


def test_failed_attempts_count_against_the_budget():
    with StubServer(faults=lambda n, body: "billed_500") as server:
        api = client(server.url, engine={"budget": {"max_tokens": 20}, "concurrency": 1, "retries": 100})
        found, error = collect(api, 5)
    assert "is spent (20 tokens billed), 5 requests are left" in str(error)
    assert not found and len(server.asked) == 4


def test_a_budget_of_money_goes_by_the_models_price():
    with StubServer() as server:
        engine = {"budget": {"max_usd": 0.0001}, "concurrency": 1}
        api = client(server.url, engine=engine, price={"prompt": 1.0, "completion": 2.0})
        found, error = collect(api, 1000)
    assert "max_usd=0.0001" in str(error)
    assert len(found) == 13  # 2 x 1 + 3 x 2 = 8 millionths each


def test_a_budget_holds_over_several_calls_and_a_full_one_is_no_error():
    with StubServer() as server:
        api = client(server.url, engine={"budget": {"max_tokens": 10}})
        assert len(api.generate(chats(2), Sampling())) == 2
        with pytest.raises(RunError, match="1 requests are left"):
            api.generate(chats(1), Sampling())


def test_a_budget_that_cannot_be_kept_is_refused_after_the_first_answer():
    with StubServer(reports_usage=False) as server:
        api = client(server.url, engine={"budget": {"max_tokens": 10}, "concurrency": 1})
        found, error = collect(api, 10)
        assert "report no tokens" in str(error) and len(found) == 1
        assert_books_agree(api, server)


# --- the key


def test_the_key_comes_from_the_environment_and_without_one_none_is_sent(monkeypatch):
    monkeypatch.setenv("STUB_KEY", f"{CANARY}\r\n")
    with StubServer(key=CANARY) as server:
        client(server.url, key_env="STUB_KEY").generate(chats(1), Sampling())
    monkeypatch.delenv("STUB_KEY")
    with StubServer() as open_server:
        client(open_server.url, key_env="STUB_KEY").generate(chats(1), Sampling())
    assert [asked.key for asked in (*server.asked, *open_server.asked)] == [CANARY, ""]


def test_a_missing_key_names_its_variable_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("STUB_KEY", raising=False)
    with pytest.raises(RunError, match=r"set the environment variable STUB_KEY .* https://api.example.com/v1"):
        client("https://api.example.com/v1", key_env="STUB_KEY").generate(chats(1), Sampling())


def test_a_refused_key_names_its_variable(monkeypatch):
    monkeypatch.setenv("STUB_KEY", "other")
    with StubServer(key=CANARY) as server, pytest.raises(RunError, match="check the key in STUB_KEY"):
        client(server.url, key_env="STUB_KEY").generate(chats(1), Sampling())


def test_the_key_is_in_no_log_error_or_repr(monkeypatch, caplog):
    monkeypatch.setenv("STUB_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")
    said = []
    echo = f"your key {CANARY} is odd"
    padded = "x" * 285 + CANARY  # the cut must not leave half of it
    for fault in ("500", "400", "403", "429"):
        for message in (echo, padded):
            with StubServer(faults=[Fault(fault, message=message)] * 4) as server:
                api = client(server.url, key_env="STUB_KEY", engine={"retries": 1})
                found, error = collect(api, 2)
                assert server.asked[0].key == CANARY
                said += [repr(error), repr(found), repr(api), repr(vars(api)), api.identity]
    with StubServer(key="another") as server:
        said.append(repr(collect(client(server.url, key_env="STUB_KEY"), 1)[1]))
    monkeypatch.setenv("STUB_KEY", f"{CANARY}\nX-Injected: 1")
    said.append(repr(collect(client(server.url, key_env="STUB_KEY"), 1)[1]))
    monkeypatch.setenv("STUB_KEY", f"{CANARY}é")
    said.append(repr(collect(client(server.url, key_env="STUB_KEY"), 1)[1]))
    assert "[key]" in said[0] + said[1] and "anew" in said[-1] and "anew" in said[-2]
    for text in (*said, caplog.text):
        assert CANARY[:10] not in text
    assert "attempt 1 failed" in caplog.text


def test_a_key_inside_the_address_is_refused_unseen():
    for url in (f"https://me:{CANARY}@api.example.com/v1", f"https://api.example.com/v1?key={CANARY}"):
        with pytest.raises(ValueError, match="key_env") as refused:
            client(url)
        assert CANARY not in str(refused.value)


# --- stopping


def test_closing_the_generator_ends_what_is_under_way():
    before = threading.active_count()
    with StubServer(latency=0.05) as server:
        api = client(server.url, engine={"concurrency": 5})
        answers = api.complete(api.requests(chats(1000), Sampling()))
        next(answers)
        running = threading.active_count()
        answers.close()
        asked = len(server.asked)
        time.sleep(0.2)
        assert len(server.asked) <= asked + 5
    assert running >= before + 2 and threading.active_count() == before


def test_ctrl_c_ends_what_is_under_way():
    before = set(threading.enumerate())
    # a shell's background jobs are started deaf to it
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with StubServer(faults=lambda n, body: "time_out" if n else None) as server:
        api = client(server.url, engine={"timeout_s": 60})
        main = threading.get_ident()

        def press() -> None:
            while len(server.asked) < 2:  # the second one hangs, so the call is under way
                time.sleep(0.01)
            signal.pthread_kill(main, signal.SIGINT)

        pressing = threading.Thread(target=press, daemon=True)
        pressing.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            api.generate(chats(10), Sampling())
        assert time.monotonic() - start < 20
        pressing.join()
    signal.signal(signal.SIGINT, inherited)
    assert not set(threading.enumerate()) - before


def test_a_slow_reader_holds_the_workers_back():
    with StubServer() as server:
        api = client(server.url, engine={"concurrency": 4})
        answers = api.complete(api.requests(chats(500), Sampling()))
        next(answers)
        time.sleep(0.5)
        assert len(server.asked) < 50
        assert sum(len(group) for group in answers) > 400


def test_many_requests_are_not_many_tasks(monkeypatch):
    loops = []
    new_event_loop = asyncio.new_event_loop
    with StubServer() as server:
        monkeypatch.setattr(asyncio, "new_event_loop", lambda: loops.append(new_event_loop()) or loops[-1])
        api = client(server.url, engine={"concurrency": 8})
        answers = api.complete(api.requests(chats(3000), Sampling()))
        next(answers)
        assert 8 <= len(asyncio.all_tasks(loops[0])) < 8 + 5
        answers.close()


# --- configuration and identity


def test_identity_is_the_name_and_what_else_changes_the_output_and_nothing_else():
    def identity(**fields):
        return client(fields.pop("url", "http://localhost:8000/v1"), **fields).identity

    assert (
        identity()
        == "api:org/stub-1"
        == identity(url="https://api.example.com/v1", engine={"concurrency": 3}, key_env="K")
    )
    others = [
        identity(served_name="x"),
        identity(extra_body={"top_k": 1}),
        identity(extra_body={"top_k": 2}),
        identity(rename={"seed": None}),
        identity(structured=True),
    ]
    assert len({identity(), *others}) == 6


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"base_url": ""}, "base_url must look like"),
        ({"base_url": "localhost:8000/v1"}, "base_url must look like"),
        ({"base_url": "http://localhost:port/v1"}, "Port could not be cast"),
        ({"path": None}, "set served_name"),
        ({"extra_body": {"temperature": 1}}, "extra_body.temperature"),
        ({"extra_body": {"stream": True}}, "extra_body.stream"),
        ({"rename": {"tokens": "x"}}, "rename.tokens"),
    ],
)
def test_a_bad_configuration_is_named(fields, said):
    with pytest.raises(ValueError, match=said):
        API(**({"name": "stub", "path": "p", "base_url": "http://localhost:1/v1"} | fields))


@pytest.mark.parametrize("price", [None, {"prompt": 1.0}])
def test_a_budget_of_money_without_a_price_is_refused(price):
    with pytest.raises(ValueError, match=r"price\.prompt and price\.completion"):
        client("http://localhost:1/v1", engine={"budget": {"max_usd": 1}}, price=price)


def test_it_cannot_score_given_text():
    with pytest.raises(RunError, match="cannot score given text; choose transformers or vllm"):
        client("http://localhost:1/v1").logprobs([["a"]])


def test_the_yaml_holds_every_setting_with_its_default():
    option = yaml.safe_load((Path(__file__).parents[2] / "conf/backend/api.yaml").read_text())
    assert option.pop("_target_") == "evodistill.backend.api.API"
    api = API(name="stub", path="org/stub-1", **option)
    plain = API(name="stub", path="org/stub-1", base_url="http://localhost:8000/v1")
    assert api.limits == plain.limits == Limits(**option["engine"])
    assert set(option["engine"]) == set(Limits.__slots__)
    assert {name: getattr(plain, name) for name in option if name != "engine"} == {
        k: v for k, v in option.items() if k != "engine"
    }


# --- speed


async def bare(url: str, n: int, workers: int) -> None:
    """The same requests by httpx alone: no retries, no limits, no reading of replies."""
    todo = iter(chats(n))

    async def work() -> None:
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=60) as asker:
            for messages in todo:
                body = {"model": "org/stub-1", "messages": list(messages), "max_tokens": 2048}
                await asker.post(f"{url}/chat/completions", json=body)

    await asyncio.gather(*(work() for _ in range(workers)))


def test_200_requests_take_little_more_than_their_waiting():
    ours, plain = [], []
    with StubServer(latency=0.05) as server:
        api = client(server.url, engine={"concurrency": 20})
        for _ in range(3):  # side by side, since others may use the machine
            start = time.monotonic()
            api.generate(chats(200), Sampling())
            ours.append(time.monotonic() - start)
            start = time.monotonic()
            asyncio.run(bare(server.url, 200, 20))
            plain.append(time.monotonic() - start)
    ideal = 200 / 20 * 0.05
    print(
        f"200 requests of 50 ms, 20 at a time: {min(ours):.2f} s = {min(ours) / ideal:.2f} x; bare {min(plain):.2f} s"
    )
    assert min(ours) < 3 * max(ideal, min(plain))
