"""On-policy distillation by TRL's trainer, in this process on models of two layers."""

import json
from pathlib import Path

import pytest
from trainer.tiny import ARGS, llama, records, tokenizer

from evodistill import RunError
from evodistill.backend import chat
from evodistill.backend.tokens import encode
from evodistill.backend.transformers import Transformers
from evodistill.record import Fault
from evodistill.trainer.examples import Row
from evodistill.trainer.launch import Launch
from evodistill.trainer.on_policy import OnPolicy

GIVEN = {key: value for key, value in ARGS.items() if key != "max_length"} | {"max_completion_length": 8}
ENGINE = {"per_device_train_batch_size": 4, "logging_steps": 1, "save_strategy": "no", "gradient_checkpointing": False}
pytestmark = pytest.mark.usefixtures("in_this_process")


def on_policy(folder: Path, **given) -> OnPolicy:
    told = {"args": GIVEN, "engine": ENGINE, "effective_batch": 4}
    return OnPolicy("student", "distilled", folder=str(folder), **told | given)


def trained(trainer: OnPolicy, student: Path, taught_by: Path, n: int = 8) -> tuple[list[dict], dict]:
    models = {"student": Transformers("student", path=str(student)), "teacher": Transformers("t", path=str(taught_by))}
    made = trainer(records(n), models)
    curve = [json.loads(line) for line in made.files["training.jsonl"]]
    return [row for row in curve if "loss" in row], json.loads("".join(made.files["training.json"]))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_student_that_is_the_teacher_has_no_loss(base, tmp_path, beta):
    args = GIVEN | {"beta": beta, "num_train_epochs": 1, "learning_rate": 0.0}
    curve, _ = trained(on_policy(tmp_path, args=args), base, base)
    assert len(curve) == 2 and max(abs(row["loss"]) for row in curve) < 1e-4


def test_the_student_comes_nearer_to_another_teacher(base, tmp_path):
    """What is over is counted: a batch of two is none of four"""
    wiser = llama(tmp_path / "wiser", seed=1)
    args = GIVEN | {"beta": 0.0, "num_train_epochs": 10}
    curve, facts = trained(on_policy(tmp_path / "run", args=args), base, wiser, n=10)
    assert len(curve) == 20 and curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert facts["left over in an epoch"] == 2 and facts["padding"] is None
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_training_that_was_stopped_goes_on_where_it_was(base, tmp_path, monkeypatch):
    """The student that goes on writes the answers that it would have written"""
    wiser = llama(tmp_path / "wiser", seed=1)
    told = {"args": GIVEN | {"num_train_epochs": 4}, "engine": ENGINE | {"save_strategy": "steps", "save_steps": 2}}
    undisturbed, _ = trained(on_policy(tmp_path / "one", **told), base, wiser)

    class Killed(BaseException):
        pass

    def die(self, args, state, control, **more):
        if state.global_step == 5:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("evodistill.trainer.fit.Told.on_step_end", die, raising=False)
        with pytest.raises(Killed):
            trained(on_policy(tmp_path / "two", **told), base, wiser)
    resumed, facts = trained(on_policy(tmp_path / "two", **told), base, wiser)
    assert facts["resumed"] and len(undisturbed) == 8
    assert [row["loss"] for row in resumed] == [row["loss"] for row in undisturbed]


def test_the_prompt_is_what_a_served_student_reads(base):
    words = tokenizer(base)
    (given,) = records(1)
    (row,) = on_policy(Path()).learn(given, words, 256)
    assert isinstance(row, Row) and row.columns == {"prompt": encode(words, chat(given.prompt))}


def test_a_prompt_needs_room_for_its_answer(base):
    (fault,) = on_policy(Path()).learn(records(1)[0], tokenizer(base), 12)
    assert (
        isinstance(fault, Fault) and fault.reason == "prompt_too_long" and "and 8 of its answer, of 12" in fault.detail
    )


def test_fewer_rows_than_a_batch_are_refused(base, tmp_path):
    with pytest.raises(RunError, match=r"distilled: 3 rows are no whole batch of effective_batch=4; lower it"):
        trained(on_policy(tmp_path), base, base, n=3)


def test_only_whole_batches_are_learned_so_that_no_row_is_learned_twice():
    assert on_policy(Path(), launch=Launch(2), effective_batch=8).twice(9) == 0


def test_other_vocabularies_are_refused(base, tmp_path):
    wide = llama(tmp_path / "wide", padding=28)
    with pytest.raises(RunError, match="vocabularies of 500 and 528 tokens"):
        trained(on_policy(tmp_path / "run"), base, wide)


def test_max_length_has_another_name_here():
    with pytest.raises(ValueError, match=r"max_length: .* args.max_completion_length allows; set that"):
        on_policy(Path(), args=ARGS)


def test_the_plan_says_what_is_written():
    _, once = on_policy(Path(), args={"max_completion_length": 8, "max_steps": 2}).plan(records(8))
    assert once == 64
    told, tokens = on_policy(Path()).plan(records(8))
    assert "the student writes up to 128 tokens, which teacher reads" in told and tokens == 128
