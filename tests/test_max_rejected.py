import json
from dataclasses import replace
from pathlib import Path

import pytest

from evodistill import RunError, stream
from evodistill.evolution.evolution import KEPT
from evodistill.max_rejected import check, exceeded, judged
from evodistill.pipeline import run
from evodistill.record import Record, read_jsonl, read_records

FILE = Path("rejects.jsonl")


def records(n: int) -> list[Record]:
    return [Record.seed(f"Name {k} teas.", index=k) for k in range(n)]


@pytest.fixture
def smoke(cfg, tmp_path):
    """Run the smoke experiment, in which the teacher's answers are all cut off; gives its folder."""

    def go(*overrides: str, name: str = "run") -> Path:
        cut = "teacher.rules=[{match: ., replies: [{text: cut, finish_reason: length}]}]"
        run(cfg("+experiment=smoke", f"artifacts={tmp_path}/artifacts", "metric=[]", cut, *overrides), tmp_path / name)
        return tmp_path / name

    return go


def test_it_is_off_by_default(smoke, caplog):
    smoke("steps=[dataset,respond]")
    assert "respond left none of 64 records" in caplog.text


def test_a_run_stops_after_the_step_and_says_why(smoke, tmp_path):
    """Before the next step asks for anything; the same command stops again"""
    for name in ("run", "again"):
        with pytest.raises(RunError, match=r"respond: 64 of 64 records failed \(100%; answer_truncated 64\)") as error:
            smoke("steps=[dataset,respond,evolution]", "max_rejected=0.9", name=name)
    assert "more than max_rejected=0.9; read " in str(error.value)
    file = str(error.value).split("read ")[1].split(". What")[0]
    assert len(read_records(Path(file))) == 64
    assert [row["step"] for row in read_jsonl(tmp_path / "run" / "steps.jsonl")] == ["dataset", "respond"]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "failed"


def test_with_a_higher_limit_it_goes_on_where_it_was(smoke, tmp_path):
    settings = ("steps=[dataset,evolution]", "evolution.rounds=1")
    with pytest.raises(RunError, match=r"evolution: .* more than max_rejected=0.1"):
        smoke(*settings, "max_rejected=0.1")
    rows = list(read_jsonl(smoke(*settings, "max_rejected=0.8", name="again") / "steps.jsonl"))
    assert all(row["reused"] and row["requests"] == 0 for row in rows)


def test_no_portion_is_asked_after_one_that_failed(smoke, monkeypatch):
    monkeypatch.setattr(stream, "PORTION", 55)
    with pytest.raises(RunError, match="respond: 55 of 55 records failed") as error:
        smoke("steps=[dataset,respond]", "max_rejected=0.5")
    file = Path(str(error.value).split("read ")[1].split(". What")[0])
    assert len(read_records(file)) == 55 and not (file.parent / "manifest.json").exists()


def test_a_metric_that_reads_nothing_stops_it_too(smoke):
    judge = "judge.rules=[{match: ., replies: [I cannot tell.]}]"
    with pytest.raises(RunError, match=r"complexity_rate: \d+ of \d+ records failed .*scores/complexity_rate.jsonl"):
        smoke("steps=[dataset,evolution]", "metric=[complexity_rate]", judge, "max_rejected=0.95")


def test_a_share_of_few_says_nothing():
    assert not exceeded(0.5, "respond", 49, {"no_reply": 49}, FILE)
    assert exceeded(0.5, "respond", 50, {"no_reply": 50}, FILE)
    assert not exceeded(0.5, "respond", 100, {"no_reply": 50}, FILE), "as much as is allowed"
    assert not exceeded(None, "respond", 100, {"no_reply": 100}, FILE)


def test_what_is_left_out_on_purpose_has_not_failed():
    assert not exceeded(0.5, "select", 1000, {"not_selected": 950}, FILE)
    assert "40 of 50 records failed (80%; no_score 40)" in exceeded(
        0.5, "select", 1000, {"not_selected": 950, "no_score": 40}, FILE
    )


def test_an_evolution_is_judged_by_what_it_made():
    """Not by the parents that it gives back, nor by those that stand in for failed children"""
    parents = records(3)
    children = [parent.child("A harder one", step="evolution").reject("echo") for parent in parents]
    stand_ins = [parent.child(parent.instruction, operation=KEPT) for parent in parents]
    assert judged(parents, [*parents, *children, *stand_ins]) == 3


def test_a_filter_is_judged_by_all_and_a_repair_by_what_it_changed():
    given = records(4)
    assert judged(given, [*given[:3], given[3].reject("language")]) == 4
    tries = given[0].child("A first try", step="cot").reject("truncated")
    assert judged(given, [replace(given[0], output="Done."), tries, *given[1:]]) == 2


@pytest.mark.parametrize("limit", [1, 90, -0.1, True, "much"])
def test_what_is_no_share_is_refused(limit):
    with pytest.raises(RunError, match=r"max_rejected=.* must be a share"):
        check(limit)


def test_the_limit_is_checked_before_anything_runs(smoke, tmp_path):
    with pytest.raises(RunError, match="max_rejected=90 must be a share"):
        smoke("max_rejected=90")
    assert not (tmp_path / "artifacts" / "requests.sqlite").exists()
