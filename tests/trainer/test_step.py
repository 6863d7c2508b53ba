"""A trainer as a step of a run: its model is an artifact and a role."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import FAKES, ROOT, UNREPORTED
from trainer.tiny import llama

from evodistill import RunError
from evodistill.config import check
from evodistill.pipeline import run
from evodistill.plan import describe
from evodistill.record import read_jsonl, read_records

STEPS = "steps=[dataset,respond,sft,prefer,dpo]"
PARTS = ["+trainer@sft=sft", "+distill@prefer=prefer", "+trainer@dpo=dpo", STEPS, "instructions=null", "metric=[]"]


def settings(base: Path, folder: Path) -> list[str]:
    student = ["model@student=smollm2-135m", f"student.path={base}", "student.package=null", "student.engine.threads=1"]
    short = [f"{step}.{value}" for step in ("sft", "dpo") for value in ("args.max_length=256", "effective_batch=4")]
    short += [
        "prefer.sampling.max_tokens=16",
        "dpo.max_length_ratio=null",
        "dpo.truncated=true",
        "dpo.args.learning_rate=1e-3",
    ]
    return ["+experiment=smoke", *PARTS, *student, *short, "dataset.limit=6", f"artifacts={folder}/artifacts"]


def test_a_role_that_is_trained_can_be_asked_afterwards(cfg, base, tmp_path):
    check(cfg(*settings(base, tmp_path)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=[dataset,respond,prefer,sft,dpo]", r"prefer asks the role 'tuned' before sft has made it"),
        ("steps=[dataset,respond,dpo]", r"dpo asks the role 'tuned', which has no model"),
        ("sft.makes=student", r"sft.makes=student is taken"),
        ("dpo.makes=tuned", r"dpo.makes=tuned is taken"),
        ("dpo.model=nobody", r"dpo asks the role 'nobody', which has no model"),
    ],
)
def test_roles_are_checked_before_anything_runs(cfg, base, tmp_path, override, message):
    with pytest.raises(RunError, match=message):
        check(cfg(*settings(base, tmp_path), override))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"template": None}, r"tuned: the model of the role student has no chat template; state one"),
        ({"context": 128}, r"args.max_length=256 is longer than the context of the role student, 128 tokens"),
    ],
)
def test_a_student_that_cannot_be_trained_is_refused_before_anything_is_asked(cfg, tmp_path, given, message):
    """In a run and in its plan, where the weights are here"""
    composed = cfg(*settings(llama(tmp_path / "student", **given), tmp_path))
    for do in (lambda: describe(composed), lambda: run(composed, tmp_path / "run")):
        with pytest.raises(RunError, match=message):
            do()
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sft.template=alpacca"], r"template=alpacca: .* does not exist; give plain"),
        (
            ["+trainer@kd=kd", "steps=[dataset,respond,kd]", "kd.logprobs=nowhere"],
            r"nowhere holds no log-probabilities",
        ),
    ],
)
def test_a_file_that_is_not_there_is_named_before_anything_is_asked(cfg, base, tmp_path, words, message):
    """Also where the student's weights are still to be fetched"""
    composed = cfg(*settings(base, tmp_path), *words, "student.path=nobody/nothing")
    for do in (lambda: describe(composed), lambda: run(composed, tmp_path / "run")):
        with pytest.raises(RunError, match=message):
            do()
    assert not (tmp_path / "artifacts").exists()


def test_the_plan_says_what_would_be_trained(cfg, base, tmp_path):
    text = describe(cfg(*settings(base, tmp_path), "benchmarked=[student,tuned,preferred]"))
    assert "sft: smollm2-135m becomes tuned: 6 rows, about" in text and "3 epochs, 6 steps" in text
    assert "dpo: smollm2-135m-sft becomes preferred: 6 rows" in text
    assert "tuned = smollm2-135m-sft: 6 requests" in text


def test_a_misspelt_argument_stops_the_run_before_its_first_step(cfg, base, tmp_path):
    with pytest.raises(RunError, match=r"args.betta: DPOConfig of trl"):
        run(cfg(*settings(base, tmp_path), "+dpo.args.betta=1"), tmp_path / "run")
    assert not (tmp_path / "run" / "steps.jsonl").exists()


def test_the_tracker_sees_the_curve_grow(cfg, base, tmp_path, in_this_process, monkeypatch):
    """Row by row before the step has ended, in the order of training.jsonl"""
    seen = []
    monkeypatch.setattr("evodistill.follow.WAIT", 0.005)
    monkeypatch.setattr("evodistill.tracker.none.None_.learned", lambda self, step, row: seen.append((step, row)))
    monkeypatch.setattr("evodistill.tracker.none.None_.step", lambda self, row: seen.append((row["step"], None)))
    words = ["steps=[dataset,respond,sft]", "sft.engine.logging_steps=1", "sft.args.num_train_epochs=5"]
    run(cfg(*settings(base, tmp_path), *words), tmp_path / "run")
    curve = list(read_jsonl(tmp_path / "run" / "training" / "sft.jsonl"))
    live = [row for step, row in seen if step == "sft" and row]
    assert len(live) > 1 and live == curve[: len(live)]
    assert [step for step, row in seen if row is None] == ["dataset", "respond", "sft"] and seen[-1] == ("sft", None)


@pytest.mark.slow
def test_two_stages_make_two_models(cfg, base, tmp_path):
    """Data → SFT → the student's own answers → DPO; a second run finds all of it, a damaged model is made again."""
    run(cfg(*settings(base, tmp_path)), tmp_path / "run")
    rows = {row["step"]: row for row in read_jsonl(tmp_path / "run" / "steps.jsonl")}
    place = {name: Path(row["path"]) for name, row in rows.items()}
    for name in ("sft", "dpo"):
        manifest = json.loads((place[name] / "manifest.json").read_text())
        assert manifest["files"]["model/model.safetensors"]["bytes"] > 100_000
        assert sorted(path.name for path in place[name].iterdir() if path.is_dir()) == ["model"]
        curve = list(read_jsonl(tmp_path / "run" / "training" / f"{name}.jsonl"))
        assert (
            len([row for row in curve if "loss" in row])
            == json.loads((place[name] / "training.json").read_text())["steps"]
        )
        assert rows[name]["in"] == rows[name]["out"] + rows[name]["rejected"]
    answered = read_records(place["prefer"] / "records.jsonl")
    assert {record.extra["rejected_model"] for record in answered} == {"smollm2-135m-sft"}

    run(cfg(*settings(base, tmp_path)), tmp_path / "again")
    assert all(row["reused"] for row in read_jsonl(tmp_path / "again" / "steps.jsonl"))
    first = (tmp_path / "run" / "training" / "dpo.jsonl").read_bytes()
    assert (tmp_path / "again" / "training" / "dpo.jsonl").read_bytes() == first

    (place["dpo"] / "model" / "model.safetensors").unlink()
    run(cfg(*settings(base, tmp_path)), tmp_path / "third")
    assert [row["reused"] for row in read_jsonl(tmp_path / "third" / "steps.jsonl")] == [True, True, True, True, False]
    assert (place["dpo"] / "model" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint_with_the_same_curve(base, tmp_path):
    curves = {}
    for name in ("undisturbed", "killed"):
        folder = tmp_path / name
        words = [*settings(base, folder), "steps=[dataset,respond,sft]", *FAKES[:2], UNREPORTED]
        words += ["sft.engine.save_steps=2", "sft.args.num_train_epochs=40", f"hydra.run.dir={folder}/run"]
        command = [sys.executable, "run.py", *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if name == "killed":
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 120
            while not list(folder.glob("artifacts/sft-*/checkpoints/checkpoint-4*")) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert list(folder.glob("artifacts/sft-*/checkpoints/checkpoint-*"))
            assert not list(folder.glob("artifacts/sft-*/manifest.json"))
            time.sleep(1)  # its training dies with it
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        (facts,) = folder.glob("artifacts/sft-*/training.json")
        assert json.loads(facts.read_text())["resumed"] == (name == "killed")
        rows = read_jsonl(folder / "run" / "training" / "sft.jsonl")
        curves[name] = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    assert len(curves["killed"]) == 80 and curves["killed"] == curves["undisturbed"]
