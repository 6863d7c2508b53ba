"""Two processes that hold a share of the weights each: DeepSpeed ZeRO-3, on the CPU with gloo."""

import json

import pytest
from repository import ROOT
from trainer.tiny import ARGS, llama, records, trained

from evodistill.backend import Sampling, chat
from evodistill.backend.transformers import Transformers
from evodistill.trainer.kd import KD
from evodistill.trainer.launch import Launch

RUN = Launch.run  # in a process of its own
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_deepspeed", "in_this_process")]


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_weights_in_shares_learn_the_same_and_can_be_served(base, tmp_path, stage, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    engine = {"deepspeed": str(ROOT / "conf" / "trainer" / "deepspeed" / f"{stage}.json")}
    _, alone = trained(tmp_path / "alone", base)
    told, shared = trained(tmp_path / stage, base, engine=engine, launch=Launch(num_processes=2))
    assert (told["steps"], told["processes"], told["distributed"]) == (30, 2, "DEEPSPEED")
    assert shared == pytest.approx(alone, rel=0.02)
    student = Transformers("tuned", path=str(tmp_path / stage / "model"))
    (reply,) = student.generate([chat(records(8)[0].prompt)], Sampling(max_tokens=40))
    assert reply.text.strip() and not reply.error


def test_one_process_may_hold_all_shares(base, tmp_path, monkeypatch):
    """As on a machine with one GPU"""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(Launch, "run", RUN)
    engine = {"deepspeed": str(ROOT / "conf" / "trainer" / "deepspeed" / "zero3.json")}
    told, losses = trained(tmp_path, base, engine=engine)
    assert (told["steps"], told["processes"], told["distributed"]) == (30, 1, "DEEPSPEED")
    assert losses[-1] < losses[0]


def test_a_teacher_is_learned_by_two_processes_as_by_one(base, tmp_path, monkeypatch):
    """Both terms of the loss, each over the answer tokens of both processes, which hold a share of the weights each."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    models = {"student": Transformers("student", path=str(base))}
    models["teacher"] = Transformers("teacher", path=str(llama(tmp_path / "wiser", seed=1, sharp=15)))
    curves = {}
    for name, engine, launch in (
        ("alone", {}, Launch()),
        ("shared", {"deepspeed": str(ROOT / "conf/trainer/deepspeed/zero3.json")}, Launch(num_processes=2)),
    ):
        told = {"args": ARGS | {"num_train_epochs": 15}, "effective_batch": 8, "top_k": 16, "launch": launch}
        engine = {"per_device_train_batch_size": 2, "logging_steps": 1, "save_strategy": "no", **engine}
        trainer = KD("student", "distilled", folder=str(tmp_path / name / "run"), engine=engine, **told)
        made = trainer(records(8), models)
        rows = [json.loads(line) for line in made.files["training.jsonl"]]
        curves[name] = [[row[key] for row in rows if key in row] for key in ("loss", "ce", "kd")]
    for alone, shared in zip(*curves.values(), strict=True):
        assert len(alone) == 15 and shared == pytest.approx(alone, rel=0.02) and shared[-1] < shared[0]
