"""A budget is that of a study: of all its jobs, roles and re-runs, in as many processes as there are."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evodistill import RunError
from evodistill.backend import Sampling, chat
from evodistill.backend.api import API
from evodistill.backend.cache import Cache
from evodistill.backend.spending import Spending
from evodistill.pipeline import run
from evodistill.record import read_jsonl

sys.path.insert(0, str(Path(__file__).parent))  # however pytest imports this file
from stub_server import StubServer

PRICE = {"prompt": 3.0, "completion": 7.0}


@pytest.fixture
def store(tmp_path) -> Path:
    Cache(tmp_path / "requests.sqlite").close()
    return tmp_path / "requests.sqlite"


def client(url: str, spending: Spending, **budget: float) -> API:
    engine = {"budget": budget, "concurrency": 1, "backoff_s": 0.002}
    api = API(name="stub", path="stub", base_url=url, key_env=None, price=PRICE, engine=engine)
    api.spending = spending
    return api


def ask(api: API, n: int) -> int:
    """How many of n requests are answered before the budget ends; each takes 5 tokens, 27 millionths of a dollar."""
    chats = [chat(f"question {i}") for i in range(n)]
    answered = 0
    try:
        for group in api.complete(api.requests(chats, Sampling())):
            answered += len(group)
    except RunError as error:
        assert "is spent" in str(error)
    return answered


def test_what_another_has_spent_counts(store):
    with StubServer() as server:
        first = client(server.url, Spending(store, "study", server.url), max_tokens=50)
        assert ask(first, 6) == 6
        first.close()
        other = client(server.url, Spending(store, "study", server.url), max_tokens=50)
        assert ask(other, 6) == 4, "a role, a job or a re-run: 30 of 50 tokens were spent before it"
        assert ask(client(server.url, Spending(store, "study", server.url), max_tokens=60), 6) == 2, (
            "raised, it goes on"
        )
        assert ask(client(server.url, Spending(store, "another", server.url), max_tokens=50), 6) == 6
        assert ask(client(server.url, Spending(store, "study", "http://elsewhere/v1"), max_tokens=50), 6) == 6


def test_dollars_are_counted_by_the_price_of_each_model_and_failed_attempts_too(store):
    with StubServer(faults=["billed_500"]) as server:
        assert ask(client(server.url, Spending(store, "study", server.url)), 2) == 2
        tokens, usd = Spending(store, "study", server.url).total()
        assert (tokens, usd) == (15, pytest.approx(3 * 27e-6))
        assert (server.prompt_tokens, server.completion_tokens) == (6, 9)
        assert ask(client(server.url, Spending(store, "study", server.url), max_usd=100e-6), 9) == 1


def test_the_error_says_who_has_spent_it(store):
    with StubServer() as server:
        ask(client(server.url, Spending(store, "study", server.url)), 5)
        with pytest.raises(RunError) as stopped:
            client(server.url, Spending(store, "study", server.url), max_usd=1e-4).generate([chat("a b")], Sampling())
    told = "engine.budget.max_usd=0.0001 is spent (25 tokens billed, 0.00 USD, by all jobs and runs of study)"
    assert told in str(stopped.value) and "1 requests are left; raise it and run the same command" in str(stopped.value)


def add_many(path: Path) -> None:
    for _ in range(200):
        Spending(path, "study", "server").add(2, 3, 0.5)


def test_several_processes_lose_nothing_of_each_other(store):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(store,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert Spending(store, "study", "server").total() == (3 * 200 * 5, 300.0)


# a run gives its models the account


@pytest.fixture
def go(cfg, tmp_path) -> Callable[..., dict[str, dict]]:
    """Run the smoke experiment with its teacher on a server, with a budget; gives the rows of steps.jsonl by step."""

    def go(url: str, budget: str, *overrides: str, study: str = "adhoc", out: str = "run") -> dict[str, dict]:
        words = ["backend@teacher=api", f"teacher.base_url={url}", "teacher.served_name=stub", "metric=[]"]
        words += ["teacher.engine.concurrency=1", f"teacher.engine.budget={budget}", "dataset.limit=6"]
        words += ["+teacher.price={prompt: 3, completion: 7}", f"artifacts={tmp_path}/artifacts"]
        composed = cfg("+experiment=smoke", *words, *overrides)
        composed.study = study
        run(composed, tmp_path / out)
        return {row["step"]: row for row in read_jsonl(tmp_path / out / "steps.jsonl")}

    return go


def test_jobs_of_a_study_share_a_budget_and_a_raised_one_goes_on(go):
    with StubServer() as server:
        with pytest.raises(RunError, match=r"max_tokens=300 is spent .* by all jobs and runs of mine"):
            go(server.url, "{max_tokens: 300}", study="mine", out="job-0")
        spent, asked = server.prompt_tokens + server.completion_tokens, len(server.asked)
        assert 300 <= spent < 600 and asked > 1
        with pytest.raises(RunError, match="is spent"):
            go(server.url, "{max_tokens: 300}", "respond.sampling.seed=7", study="mine", out="job-1")
        with pytest.raises(RunError, match="is spent"):
            go(server.url, "{max_tokens: 300}", study="mine", out="again")
        assert len(server.asked) == asked, "nobody asks once it is spent"
        rows = go(server.url, "{max_tokens: 100000}", study="mine", out="raised")
    assert rows["respond"]["cached"] >= asked and len(server.asked) == asked + rows["respond"]["requests"]


def test_a_run_without_a_study_has_the_budget_of_its_name(go):
    with StubServer() as server:
        for name, answered in (("one", True), ("one", False), ("two", True)):
            before = len(server.asked)
            with pytest.raises(RunError, match=f"by all jobs and runs of {name}"):
                go(server.url, "{max_tokens: 60}", f"name={name}", f"respond.sampling.seed={len(server.asked)}")
            assert (len(server.asked) > before) == answered


def test_steps_say_what_they_cost(go):
    with StubServer(faults=["billed_500", "400"]) as server:
        rows = go(server.url, "{max_usd: 100}", "teacher.engine.backoff_s=0.01")
        again = go(server.url, "{max_usd: 100}", out="again")
    billed = (3 * server.prompt_tokens + 7 * server.completion_tokens) / 1e6
    assert rows["respond"]["usd"] == pytest.approx(billed, abs=1e-9) and rows["evolution"]["usd"] == 0
    assert again["respond"]["reused"] and again["respond"]["usd"] == 0
