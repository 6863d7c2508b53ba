import json
from pathlib import Path

import pytest

from evodistill.pipeline import run
from evodistill.tracker.wandb import Wandb, curve, flat

FACTS = ("study", "dataset", "evolution", "evolver", "teacher", "student", "judge")


def test_results_are_the_same_with_and_without(cfg, tmp_path, monkeypatch):
    """And nothing is sent: without a key the run is offline."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    made = {}
    asked = (
        "+benchmark=[ifeval]",
        "benchmarked=[student,teacher]",
        "benchmark.ifeval.limit=2",
        "benchmark.ifeval.data=src/evodistill/benchmark/tiny/ifeval.jsonl",
    )
    for tracker in ("none", "wandb"):
        where = tmp_path / tracker
        told = ("+experiment=smoke", "dataset.limit=5", *asked, f"tracker={tracker}", f"artifacts={where}/artifacts")
        run(cfg(*told), where / "run")
        records = sorted((where / "artifacts").glob("*/re*.jsonl"))
        made[tracker] = (
            json.loads((where / "run" / "metrics.json").read_text()),
            [path.read_bytes() for path in records],
        )
    assert made["none"] == made["wandb"]
    assert list((tmp_path / "wandb" / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_no_secret_is_in_what_is_kept(cfg, tmp_path, monkeypatch):
    canary = "canary-7f3a9c-secret"
    for name in ("OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, canary)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run(
        cfg(
            "+experiment=smoke",
            "dataset.limit=3",
            "tracker=wandb",
            "model@embedder=llama31-8b",
            "backend@embedder=api",
            f"artifacts={tmp_path}/artifacts",
        ),
        tmp_path / "run",
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if canary.encode() in path.read_bytes()]


def test_the_table_shows_parents_beside_children(cfg, tmp_path):
    run(cfg("+experiment=smoke", "dataset.limit=5", f"artifacts={tmp_path}/artifacts"), tmp_path / "run")
    tracker = Wandb(records=1000)
    for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines():
        tracker.step(json.loads(line))
    rows = {row[-1]: row for row in tracker.pairs()}
    answered = next(Path(row["path"]) for row in tracker.rows if row["step"] == "respond")
    records = [json.loads(line) for line in (answered / "records.jsonl").read_text().splitlines()]
    assert len(rows) == len(records)
    prompts = {record["id"]: record["instruction"] for record in records}
    for record in records:
        if record["parent"]:
            assert rows[record["id"]][2].startswith(prompts.get(record["parent"], ""))


def test_missing_numbers_are_not_sent():
    assert flat({"mean": None, "ci95": None, "n": 0, "unparsed": 3}) == {"n": 0, "unparsed": 3}


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be online, offline, disabled or null"):
        Wandb(mode="sometimes")


def test_the_curve_of_a_training_is_logged_step_by_step(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    points = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]
    (tmp_path / "training.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    tracker, logged = Wandb(), []
    tracker.start({"name": "x"}, dict.fromkeys(FACTS, "x"), tmp_path)
    monkeypatch.setattr(tracker.run, "log", logged.append)
    tracker.step({"step": "sft", "path": str(tmp_path), "in": 3})
    tracker.close()
    assert logged[1:] == [
        {"training/sft/step": 1, "training/sft/loss": 2.0},
        {"training/sft/step": 2, "training/sft/loss": 1.5},
    ]
    assert curve(tmp_path / "elsewhere") == []


def test_what_was_sent_while_it_trained_is_not_sent_again(tmp_path, monkeypatch):
    """Of the next training of that name everything is"""
    monkeypatch.setenv("WANDB_MODE", "offline")
    points = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}, {"step": 3, "loss": 1.0}]
    (tmp_path / "training.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    tracker, logged = Wandb(), []
    tracker.start({"name": "x"}, dict.fromkeys(FACTS, "x"), tmp_path)
    monkeypatch.setattr(tracker.run, "log", logged.append)
    for point in points[:2]:
        tracker.learned("sft", point)
    for _ in range(2):
        tracker.step({"step": "sft", "path": str(tmp_path)})
    tracker.close()
    assert [row["training/sft/step"] for row in logged if row] == [1, 2, 3, 1, 2, 3]
