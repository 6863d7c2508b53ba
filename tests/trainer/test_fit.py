"""Training itself, in this process, on a model of two layers."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
from trainer.tiny import ARGS, job, records

from evodistill.backend import Sampling, chat
from evodistill.backend.transformers import Transformers
from evodistill.record import Record, read_jsonl
from evodistill.trainer.dpo import DPO
from evodistill.trainer.fit import fit
from evodistill.trainer.sft import SFT

ENGINE = {"per_device_train_batch_size": 2, "logging_steps": 1, "save_strategy": "no"}


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads cost more than they save on a model of this size."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sft(folder: Path, **given) -> SFT:
    told = {"effective_batch": 4, "args": ARGS, "engine": ENGINE} | given
    return SFT("student", "tuned", folder=str(folder), **told)


def trained(trainer, base: Path, given: list[Record]) -> dict:
    fit(job(trainer, base, given))
    return json.loads((Path(trainer.folder) / "rows" / "trained.json").read_text())


def losses(told: dict, key: str = "loss") -> list[float]:
    return [row[key] for row in told["curve"] if key in row]


def test_a_student_learns_its_rows_and_is_a_model_like_any_other(base, tmp_path):
    """The loss falls, the folder holds weights in the base's type and the chat template, and a backend serves it."""
    args = ARGS | {"num_train_epochs": 80}
    told = trained(sft(tmp_path, args=args), base, records(4))
    assert told["steps"] == 80 and losses(told)[-1] < 0.1 * losses(told)[0]
    student = Transformers("tuned", path=str(tmp_path / "model"))
    assert str(json.loads((tmp_path / "model" / "config.json").read_text())["dtype"]) == "bfloat16"
    asked = [chat(record.prompt) for record in records(4)]
    replies = student.generate(asked, Sampling(max_tokens=60))
    assert [reply.text.strip() for reply in replies] == [record.output.strip() for record in records(4)]
    assert {reply.finish_reason for reply in replies} == {"stop"}


def test_packed_rows_do_not_see_one_another(base, tmp_path):
    """The loss of packed rows is that of the rows alone."""
    found = {}
    for packing in (False, True):
        args = ARGS | {"packing": packing, "learning_rate": 0.0, "num_train_epochs": 1}
        trainer = sft(tmp_path / str(packing), args=args, effective_batch=64)
        found[packing] = losses(trained(trainer, base, records(12)))[0]
    assert found[True] == pytest.approx(found[False], rel=1e-4)


def test_rows_of_like_length_waste_less_padding(base, tmp_path):
    padding = {}
    for how in ("random", "group_by_length"):
        args = ARGS | {"train_sampling_strategy": how, "num_train_epochs": 1}
        padding[how] = trained(sft(tmp_path / how, args=args, effective_batch=32), base, records(32))["padding"]
    assert 0 < padding["group_by_length"] < 0.5 * padding["random"]


class Killed(BaseException):
    pass


def killed(monkeypatch, trainer, base: Path, given: list[Record], at: int, event: str = "on_step_end") -> None:
    """Train up to a step and no further."""

    def die(self, args, state, control, **more):
        if state.global_step == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"evodistill.trainer.fit.Told.{event}", die, raising=False)
        with pytest.raises(Killed):
            trained(trainer, base, given)


@pytest.mark.parametrize("how", ["random", "group_by_length"])
@pytest.mark.parametrize("at", [5, 7])
def test_a_training_that_was_stopped_goes_on_where_it_was(base, tmp_path, monkeypatch, how, at):
    """The same curve, and the same weights, as if nothing had happened: at the first step of an epoch and within it."""
    engine = ENGINE | {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}
    args = ARGS | {"train_sampling_strategy": how}
    undisturbed = trained(sft(tmp_path / "one", engine=engine, args=args), base, records(16))

    trainer = sft(tmp_path / "two", engine=engine, args=args)
    killed(monkeypatch, trainer, base, records(16), at)
    assert [path.name for path in (tmp_path / "two" / "checkpoints").glob("checkpoint-*")] == [f"checkpoint-{at - 1}"]
    resumed = trained(trainer, base, records(16))
    assert resumed["resumed"] and not undisturbed["resumed"]
    assert losses(resumed) == losses(undisturbed) and len(losses(resumed)) == 8
    assert list(read_jsonl(trainer.curve)) == resumed["curve"], "each row once, those before the checkpoint too"
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("one", "two")]
    assert weights[0] == weights[1]


def test_adapters_are_merged_so_that_any_engine_serves_them(base, tmp_path):
    lora = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
    told = trained(sft(tmp_path, lora=lora, args=ARGS | {"num_train_epochs": 10}), base, records(4))
    assert losses(told)[-1] < losses(told)[0]
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "model", base)]
    assert weights[0] != weights[1]
    (reply,) = Transformers("tuned", path=str(tmp_path / "model")).generate([chat("Tea?")], Sampling(max_tokens=3))
    assert not reply.error


def test_the_best_checkpoint_is_kept_and_training_stops_when_it_gets_worse(base, tmp_path):
    args = ARGS | {"num_train_epochs": 30, "learning_rate": 2e-2}
    told = trained(sft(tmp_path, args=args, held_out=0.3, best=True, patience=2), base, records(16))
    evaluated = losses(told, "eval_loss")
    assert len(evaluated) < 30 and evaluated.index(min(evaluated)) == len(evaluated) - 3


@pytest.mark.parametrize("when", ["epoch", "steps"])
@pytest.mark.parametrize(("steps", "event"), [(1, "on_step_end"), (0, "on_train_end")])
def test_patience_goes_on_where_it_was(base, tmp_path, monkeypatch, when, steps, event):
    """Stopped between two evaluations, or behind the last, it trains as long as if nothing had happened"""
    args = ARGS | {"num_train_epochs": 12, "learning_rate": 2e-2, "eval_strategy": when}
    args |= {"eval_steps": 2} if when == "steps" else {}
    given = {"args": args, "engine": {"logging_steps": 1}, "held_out": 0.3, "best": True, "patience": 2}
    undisturbed = trained(sft(tmp_path / "one", **given), base, records(16))
    trainer = sft(tmp_path / "two", **given)
    killed(monkeypatch, trainer, base, records(16), undisturbed["steps"] - steps, event)
    resumed = trained(trainer, base, records(16))
    assert resumed["resumed"] and losses(resumed, "eval_loss") == losses(undisturbed, "eval_loss")
    assert losses(resumed) == losses(undisturbed)
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("one", "two")]
    assert weights[0] == weights[1]


def test_a_training_that_goes_on_warns_of_nothing(base, tmp_path, monkeypatch, caplog):
    """Its share of all steps is the number that it was"""
    engine = ENGINE | {"save_strategy": "steps", "save_steps": 0.25}
    trainer = sft(tmp_path, engine=engine)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    killed(monkeypatch, trainer, base, records(16), 5)
    assert trained(trainer, base, records(16))["resumed"]
    assert not [message for message in caplog.messages if "do not match" in message]
    assert {path.name for path in tmp_path.glob("checkpoints/checkpoint-*")} == {
        f"checkpoint-{n}" for n in (2, 4, 6, 8)
    }


def test_dpo_prefers_what_was_chosen(base, tmp_path):
    """The first loss is ln 2: student and reference are the same model."""
    pairs = [replace(record, extra={"rejected": "I do not know."}) for record in records(8)]
    given = {"effective_batch": 4, "args": ARGS | {"learning_rate": 1e-3, "beta": 0.1, "num_train_epochs": 5}}
    told = trained(DPO("tuned", "preferred", folder=str(tmp_path), engine=ENGINE, **given), base, pairs)
    assert losses(told)[0] == pytest.approx(math.log(2), abs=1e-3)
    assert losses(told)[-1] < 0.5 and losses(told, "rewards/margins")[-1] > 0.5
    assert (tmp_path / "model" / "model.safetensors").exists()
