"""White-box distillation, from records to a trained model, in this process on models of two layers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from repository import FAKES
from trainer.tiny import ARGS, llama, records

from evodistill import RunError
from evodistill.backend.fake import Fake
from evodistill.backend.transformers import Transformers
from evodistill.config import build, check, identity
from evodistill.plan import describe
from evodistill.record import Record
from evodistill.trainer import teacher
from evodistill.trainer.kd import KD
from evodistill.trainer.logprobs import Logprobs

ENGINE = {"per_device_train_batch_size": 2, "logging_steps": 1, "save_strategy": "no"}
STILL = ARGS | {"learning_rate": 0.0}
pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model that has distributions to learn from."""
    return llama(tmp_path_factory.mktemp("sharp"), sharp=15)


@pytest.fixture(scope="module")
def wiser(tmp_path_factory) -> Path:
    """Another one with the same tokenizer."""
    return llama(tmp_path_factory.mktemp("wiser"), seed=1, sharp=15)


def kd(folder: Path, **given) -> KD:
    told = {"args": STILL, "engine": ENGINE, "effective_batch": 4, "top_k": 16}
    told |= {"teacher_engine": {"dtype": "float32", "batch_tokens": 300}}
    return KD("student", "distilled", folder=str(folder), **told | given)


def trained(trainer: KD, student: Path, taught_by: Path, given: list[Record]) -> tuple[list[dict], dict]:
    """(loss curve, facts)"""
    models = {"student": Transformers("student", path=str(student)), "teacher": Transformers("t", path=str(taught_by))}
    made = trainer(given, models)
    curve = [json.loads(line) for line in made.files["training.jsonl"]]
    return [row for row in curve if "loss" in row or "eval_loss" in row], json.loads(
        "".join(made.files["training.json"])
    )


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_a_student_that_is_the_teacher_has_no_loss(base, tmp_path, divergence):
    """W1-W5: with shuffled rows, several batches a step and a second epoch; any wrong row would show"""
    curve, facts = trained(kd(tmp_path, divergence=divergence, temperature=1.5), base, base, records(12))
    assert len(curve) == 6 and max(row["kd"] for row in curve) < 1e-4
    assert min(row["ce"] for row in curve) > 1 and facts["rows"] == 12


def test_another_teacher_is_a_loss(base, wiser, tmp_path):
    curve, _ = trained(kd(tmp_path), base, wiser, records(12))
    assert min(row["kd"] for row in curve) > 0.2


def rolled(place: Path, to: Path, by: int) -> Path:
    """The same log-probabilities, each `by` positions later in its sample."""
    shutil.copytree(place, to)
    found = Logprobs(place)
    for name in ("tokens.i32", "logprobs.f16"):
        parts = [np.roll(found.of(id, name), by, axis=0) for id in found.numbers]
        (to / name).write_bytes(np.concatenate(parts).tobytes())
    return to


def test_one_position_off_is_a_loss(base, tmp_path):
    """W3"""
    _, facts = trained(kd(tmp_path / "made"), base, base, records(8))
    place = Path(facts["logprobs"])
    found = {}
    for by in (0, 1, -1):
        told = kd(tmp_path / f"by{by}", logprobs=str(rolled(place, tmp_path / f"rolled{by}", by)))
        curve, _ = trained(told, base, base, records(8))
        found[by] = max(row["kd"] for row in curve)
    assert found[0] < 1e-4 and found[1] > 0.2 and found[-1] > 0.2


def test_neither_order_nor_batches_change_the_loss(base, wiser, tmp_path):
    """W1, W2, W4: an epoch's loss is that of its rows, however they are ordered and put together"""
    found = []
    for name, given, rows in (("a", records(8), 1), ("b", records(8)[::-1], 2), ("c", records(8), 8)):
        told = kd(tmp_path / name, effective_batch=8, engine=ENGINE | {"per_device_train_batch_size": rows}, weight=0.7)
        curve, _ = trained(told, base, wiser, given)
        found += [(row["loss"], row["ce"], row["kd"]) for row in curve]
    assert len(found) == 6
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-3)


def test_both_terms_are_on_one_scale_and_make_the_loss(base, wiser, tmp_path):
    """W4. The held out rows are one batch: transformers takes the mean of several batches' means."""
    engine = ENGINE | {"per_device_train_batch_size": 8}
    given = kd(tmp_path, args=ARGS, engine=engine, effective_batch=8, weight=0.3, temperature=2.0, held_out=0.3)
    curve, _ = trained(given, base, wiser, records(16))
    for kind in ("", "eval_"):
        rows = [row for row in curve if f"{kind}loss" in row]
        assert len(rows) >= 2
        for row in rows:
            assert row[f"{kind}loss"] == pytest.approx(0.7 * row[f"{kind}ce"] + 0.3 * row[f"{kind}kd"], rel=2e-3)


def test_eight_rows_are_over_fitted(base, wiser, tmp_path):
    engine = ENGINE | {"per_device_train_batch_size": 8}
    args = ARGS | {"num_train_epochs": 40}
    given = kd(tmp_path, args=args, engine=engine, weight=1.0, effective_batch=8)
    curve, _ = trained(given, base, wiser, records(8))
    assert curve[-1]["kd"] < 0.1 * curve[0]["kd"]


def test_the_teacher_reads_once_whatever_is_made_of_it(base, wiser, tmp_path, monkeypatch):
    """Another divergence, another order: the same log-probabilities"""
    _, first = trained(kd(tmp_path / "store" / "one"), base, wiser, records(8))
    monkeypatch.setattr(teacher, "load", lambda *given: pytest.fail("the teacher was asked again"))
    told = kd(tmp_path / "store" / "two", divergence="reverse_kl")
    _, second = trained(told, base, wiser, records(8)[::-1])
    assert first["logprobs"] == second["logprobs"]
    manifest = json.loads((Path(first["logprobs"]) / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["about.json", "answers.i32", "logprobs.f16", "samples.jsonl", "tokens.i32"]


def test_log_probabilities_of_other_answers_are_refused(base, tmp_path):
    """W6"""
    _, facts = trained(kd(tmp_path / "one"), base, base, records(4))
    changed = [replace(record, output="Four.") for record in records(4)]
    with pytest.raises(RunError, match=r"of 4 samples 4 have other tokens than the teacher read .*logprobs=null"):
        trained(kd(tmp_path / "two", logprobs=facts["logprobs"]), base, base, changed)
    with pytest.raises(RunError, match=r"was made with top_k=16 and temperature=1.0; set these"):
        trained(kd(tmp_path / "three", logprobs=facts["logprobs"], top_k=8), base, base, records(4))
    with pytest.raises(RunError, match="holds no log-probabilities of a teacher"):
        trained(kd(tmp_path / "four", logprobs=str(tmp_path)), base, base, records(4))


def test_other_vocabularies_are_refused_before_anything_is_read(base, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "load", lambda *given: pytest.fail("it began"))
    wide = llama(tmp_path / "wide", padding=28)
    with pytest.raises(
        RunError, match=r"vocabularies of 500 and 528 tokens, equal as far .* vocab_policy=common_slice"
    ):
        trained(kd(tmp_path / "run"), base, wide, records(4))
    other = llama(tmp_path / "other", words=480)
    with pytest.raises(RunError, match="student and teacher have different vocabularies"):
        trained(kd(tmp_path / "run", vocab_policy="common_slice"), base, other, records(4))
    with pytest.raises(RunError, match=r"top_k=500 must be below the vocabulary, 500 tokens"):
        trained(kd(tmp_path / "run", top_k=500), base, base, records(4))


def test_the_common_slice_leaves_padding_out(base, tmp_path):
    """A teacher that is the student, with a padded vocabulary: still no loss"""
    import torch
    from transformers import AutoModelForCausalLM

    wide = llama(tmp_path / "wide", padding=28)
    one, other = (AutoModelForCausalLM.from_pretrained(place) for place in (base, wide))
    same = one.state_dict()
    with torch.no_grad():
        for name, weights in other.state_dict().items():
            weights[: len(same[name])] = same[name]
    other.save_pretrained(wide)
    curve, _ = trained(kd(tmp_path / "run", vocab_policy="common_slice"), base, wide, records(4))
    assert max(row["kd"] for row in curve) < 1e-4


def test_adapters_can_be_distilled(base, wiser, tmp_path):
    lora = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
    args = ARGS | {"num_train_epochs": 10}
    curve, _ = trained(kd(tmp_path, lora=lora, args=args, weight=1.0), base, wiser, records(4))
    assert curve[-1]["kd"] < curve[0]["kd"] and (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_a_teacher_without_weights_is_one_line(base, tmp_path):
    models = {"student": Transformers("student", path=str(base)), "teacher": Fake("gpt-4")}
    with pytest.raises(RunError, match=r"model gpt-4: neither path nor package says where its weights are"):
        kd(tmp_path)(records(4), models)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"divergence": "kl"}, "divergence must be one of forward_kl, reverse_kl, jsd, got kl"),
        ({"vocab_policy": "pad"}, "vocab_policy must be one of error, common_slice, got pad"),
        ({"weight": 1.5}, r"weight must be in \[0, 1\], got 1.5"),
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"top_k": 0}, "top_k ≥ 1"),
        ({"teacher_engine": {"device": "cpu"}}, "teacher_engine.device is unknown; known: dtype, batch_tokens"),
        ({"args": {"packing": True}}, "packing does not go with distillation"),
    ],
)
def test_bad_settings_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        kd(Path("nowhere"), **given)


def test_how_the_teacher_reads_is_no_part_of_what_is_made():
    one, other = kd(Path("a")), kd(Path("b"), teacher_engine={"batch_tokens": 7})
    assert identity(one) == identity(other) != identity(kd(Path("a"), top_k=3))


def test_the_plan_says_that_the_teacher_reads():
    told, tokens = kd(Path("nowhere")).plan(records(8))
    assert "teacher reads them once" in told and tokens > 0


@pytest.mark.parametrize("name", ["kd", "on_policy"])
def test_the_shipped_settings_fit_the_code_and_trl(cfg, name):
    words = [f"+trainer@{name}={name}", f"steps=[dataset,respond,{name}]", "metric=[]", "instructions=null"]
    composed = cfg(*words, "model@teacher=smollm2-135m")
    check(composed)
    build(composed[name]).ready()


@pytest.mark.parametrize("name", ["kd", "on_policy"])
def test_models_that_do_not_go_together_are_refused_before_anything_is_asked(cfg, base, tmp_path, name):
    words = [f"+trainer@{name}={name}", f"steps=[dataset,{name}]", "metric=[]", "instructions=null"]
    for role, folder in (("student", base), ("teacher", llama(tmp_path, words=480))):
        words += [f"model@{role}=smollm2-135m", f"{role}.path={folder}", f"{role}.package=null"]
    words += ["kd.args.max_length=256"] if name == "kd" else []
    with pytest.raises(RunError, match=r"vocabularies"):
        check(cfg(*words))
    check(cfg(*words, f"teacher.path={base}"))


def test_a_dry_run_plans_the_reading(cfg):
    words = ["+experiment=smoke", *FAKES, "+trainer@kd=kd", "steps=[dataset,respond,kd]", "metric=[]"]
    text = describe(cfg(*words, "instructions=null", "dataset.limit=5"))
    assert "kd: fake becomes distilled: 5 rows, about" in text and "teacher reads them once" in text
