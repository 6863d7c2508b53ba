"""Requests that failed in passing: this run goes on without them, the next one asks them again and nothing else."""

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from evodistill import RunError
from evodistill.merge import merge
from evodistill.pipeline import run
from evodistill.record import read_jsonl, read_records

sys.path.insert(0, str(Path(__file__).parent / "backend"))  # however pytest imports this file
from stub_server import StubServer

N = 6


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def go(cfg, tmp_path, server) -> Callable[..., dict[str, dict]]:
    """Run the smoke experiment with one role on the server; gives the rows of steps.jsonl by step, and `asked`, how
    often the server was asked."""
    numbers = count()

    def go(role: str, *overrides: str, metrics: str = "metric=[]") -> dict[str, dict]:
        out, before = tmp_path / f"run-{next(numbers)}", len(server.asked)
        api = [f"backend@{role}=api", f"{role}.base_url={server.url}", f"{role}.served_name=stub"]
        api += [f"{role}.engine.retries=0", f"{role}.engine.breaker=1000"]
        where = [f"artifacts={tmp_path}/artifacts", f"dataset.limit={N}", metrics]
        composed = cfg("+experiment=smoke", *where, *api, *overrides)
        run(composed, out)
        (out / ".hydra").mkdir()
        OmegaConf.save(composed, out / ".hydra" / "config.yaml")  # as the command line does
        return {row["step"]: row for row in read_jsonl(out / "steps.jsonl")} | {
            "asked": {"n": len(server.asked) - before}
        }

    return go


def every_other(kind: str) -> Callable[[int, dict], str | None]:
    return lambda number, body: kind if number % 2 else None


def finished(store: Path) -> set[str]:
    return {path.parent.name.partition("-")[0] for path in store.glob("*-*/manifest.json")}


@pytest.mark.parametrize("kind", ["500", "half_body"])
def test_the_next_run_asks_what_failed_in_passing_and_nothing_else(go, server, tmp_path, kind, caplog):
    server.faults = every_other(kind)
    first = go("teacher")
    failed = first["respond"]["passing"]
    assert 0 < failed == first["respond"]["errors"] < first["respond"]["requests"]
    (told,) = [message for message in caplog.messages if "in passing" in message]
    assert f"{failed} requests failed in passing (respond {failed})" in told and "the same command" in told
    rejects = read_records(Path(first["respond"]["path"]) / "rejects.jsonl")
    assert sum(record.fault.reason == "no_reply" for record in rejects if record.fault) >= failed
    assert finished(tmp_path / "artifacts") == {"dataset", "evolution"}

    server.faults = ()
    caplog.clear()
    second = go("teacher")
    assert second["evolution"]["reused"] and not second["respond"]["reused"]
    assert second["asked"]["n"] == second["respond"]["requests"] == failed and second["respond"]["passing"] == 0
    assert second["respond"]["rejected"] == 0 and not any("in passing" in message for message in caplog.messages)
    healed = (Path(second["respond"]["path"]) / "records.jsonl").read_bytes()

    third = go("teacher")
    assert third["respond"]["reused"] and third["asked"]["n"] == 0
    undisturbed = go("teacher", f"artifacts={tmp_path}/undisturbed")
    assert (Path(undisturbed["respond"]["path"]) / "records.jsonl").read_bytes() == healed


def test_what_fails_for_good_is_final(go, server, caplog):
    server.faults = every_other("400")
    first = go("teacher")
    assert first["respond"]["errors"] > 0 == first["respond"]["passing"]
    assert not any("in passing" in message for message in caplog.messages)
    again = go("teacher")
    assert again["respond"]["reused"] and again["asked"]["n"] == 0


def test_scores_that_failed_in_passing_are_asked_again_and_the_steps_are_found(go, server):
    server.faults = every_other("503")
    first = go("judge", metrics="metric=[complexity_rate]")
    assert first["complexity_rate"]["passing"] > 0
    server.faults = ()
    again = go("judge", metrics="metric=[complexity_rate]")
    assert again["asked"]["n"] == first["complexity_rate"]["passing"]
    assert not again.pop("complexity_rate")["reused"]
    assert all(row["reused"] for row in again.values() if "reused" in row)


def test_a_later_step_is_done_again_only_where_its_input_is_another(go, server):
    """The server's rewrites fail in passing, then are no rewrites: the parents stand in, so the records stay the same
    and nothing that was made of them, such as a trained model, is made again."""
    server.faults = lambda number, body: "500"
    first = go("evolver", "evolution.rounds=1")
    assert first["evolution"]["passing"] == N == first["evolution"]["rejected"]
    server.faults = ()
    again = go("evolver", "evolution.rounds=1")
    assert again["asked"]["n"] == N and not again["evolution"]["reused"]
    assert again["evolution"]["reasons"] != first["evolution"]["reasons"]
    assert again["respond"]["reused"] and again["respond"]["path"] == first["respond"]["path"]


def test_a_rival_that_is_the_runs_own_model_is_paired_with_what_this_run_has(go, server):
    """Asked in between, the two sides of one run would differ."""
    server.faults = lambda number, body: "500" if number < N else None
    steps = ["steps=[dataset,evolution,select]", "+distill@select=select", "select.rivals=[evolver]"]
    first = go("evolver", *steps, "evolution.rounds=1")
    assert first["asked"]["n"] == N == first["evolution"]["passing"]
    assert first["select"]["rejected"] == 0


def test_what_another_run_makes_leaves_the_files_of_this_one_as_they_are(go, server):
    server.faults = every_other("500")
    first = go("teacher")
    records = Path(first["respond"]["path"]) / "records.jsonl"
    before = records.read_bytes()
    server.faults = ()
    second = go("teacher")
    assert second["respond"]["path"] != first["respond"]["path"]
    assert records.read_bytes() == before != (Path(second["respond"]["path"]) / "records.jsonl").read_bytes()


def test_shards_with_such_requests_are_not_merged_until_they_were_asked_again(go, server, tmp_path):
    go("teacher", "dataset.shard=0/2", f"artifacts={tmp_path}/shard-0")
    server.faults = every_other("500")
    failed = go("teacher", "dataset.shard=1/2", f"artifacts={tmp_path}/shard-1")["respond"]["passing"]
    runs = [tmp_path / "run-0", tmp_path / "run-1"]
    with pytest.raises(RunError, match=f"respond: {failed} requests of its shards failed in passing; run the same"):
        merge(runs, tmp_path / "merged")
    assert finished(tmp_path / "merged") == {"dataset", "evolution"}
    server.faults = ()
    go("teacher", "dataset.shard=1/2", f"artifacts={tmp_path}/shard-1")
    merge([*runs, tmp_path / "run-2"], tmp_path / "merged")
    assert finished(tmp_path / "merged") == {"dataset", "evolution", "respond"}
    assert go("teacher", f"artifacts={tmp_path}/merged")["respond"]["reused"]
