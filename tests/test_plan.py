import json
import logging
import re

import pytest

from evodistill import RunError
from evodistill.dataset.tiny import FILE
from evodistill.estimate import Row, total
from evodistill.hardware import Hardware
from evodistill.plan import Plan, describe
from evodistill.record import read_jsonl


def test_the_plan_counts_what_a_run_asks(cfg):
    text = describe(cfg("+experiment=smoke", "dataset.limit=10", "evolution.rounds=2"))
    assert "dataset: 0 records in, up to 10 out, 0 rejected" in text
    assert "evolution: 10 records in, up to 30 out" in text
    assert "evolver = fake: 20 requests" in text
    assert "metric ifd: 30 records of respond" in text


def test_no_model_is_asked_or_built(cfg):
    """A model that could not even be loaded is planned for."""
    text = describe(cfg("+experiment=smoke", "dataset.limit=2", "model@evolver=llama31-70b", "evolver.path=/nowhere"))
    assert "evolver = llama31-70b: 6 requests" in text and "No model was asked" in text


def test_what_a_pairing_needs_of_its_rivals_is_counted_once(cfg):
    """… though one of them is the job's own model, and the study's other job does the same work"""
    words = ["+experiment=smoke", "dataset.limit=10", "evolution.rounds=1", "+distill@select=select", "metric=[]"]
    words += ["model@small=qwen25-coder-0.5b", "model@large=qwen25-coder-1.5b"]
    words += ["select.rivals=[small,large]", "steps=[dataset,evolution,select]"]
    plans = [Plan(cfg(*words, f"model@evolver={name}")) for name in ("qwen25-coder-0.5b", "qwen25-coder-1.5b")]
    for plan, own in zip(plans, ("0.5b", "1.5b"), strict=True):
        assert len(plan.works) == 5 and sum(row.requests for row in plan.rows) == 20
        other = {"0.5b": "large (qwen25-coder-1.5b)", "1.5b": "small (qwen25-coder-0.5b)"}[own]
        assert f"select needs the same steps with {other} as evolver:" in plan.text()
    both = [row for plan in plans for row in plan.rows]
    assert len({row.key for row in both}) == 2 and "in all                   20 " in "\n".join(
        total(both, plans[0].hardware)
    )


def test_two_weights_of_one_name_are_two_models(cfg):
    words = ["+experiment=smoke", "dataset.limit=10", "evolution.rounds=1", "metric=[]", "steps=[dataset,evolution]"]
    plans = [Plan(cfg(*words, "model@evolver=qwen25-coder-0.5b", f"evolver.path={path}")) for path in ("/a", "/b")]
    both = [row for plan in plans for row in plan.rows]
    assert len({row.key for row in both}) == 2


def test_two_judges_of_one_name_are_planned_where_their_weights_differ(cfg):
    words = ["+experiment=smoke", "dataset.limit=4", "evolution.rounds=1", "metric=[complexity_rate]"]
    words += ["metric.complexity_rate.second=large", "model@judge=qwen25-coder-0.5b", "model@large=qwen25-coder-0.5b"]
    assert "metric complexity_rate" in describe(cfg(*words, "large.path=/tuned"))
    with pytest.raises(RunError, match="has the same model as judge"):
        describe(cfg(*words))


def test_cost_follows_from_prices(cfg):
    text = describe(
        cfg(
            "+experiment=smoke",
            "dataset.limit=10",
            "evolution.rounds=1",
            "+evolver.price={prompt: 0, completion: 1000}",
        )
    )
    # 10 requests of at most 2,048 tokens at 1,000 USD per million
    assert "at most 20.48 USD" in text


def test_the_next_job_is_not_taken_for_this_one_where_it_reads_another_file(cfg, tmp_path):
    """What a decontamination compares with stands in no setting that is part of its identity"""
    file = tmp_path / "exam.jsonl"
    words = ["+experiment=smoke", "dataset.limit=null", "metric=[]", "+distill@decontaminate=decontaminate"]
    words += ["steps=[dataset,decontaminate]", f"decontaminate.files=[{{path: {file}, field: question}}]"]
    file.write_text('{"question": "What is said nowhere?"}')
    assert re.search(r"decontaminate: .*, 0 rejected", describe(cfg(*words)))
    seed = next(read_jsonl(FILE))["instruction"]
    file.write_text(json.dumps({"question": seed}))
    assert re.search(r"decontaminate: .*, 1 rejected", describe(cfg(*words)))


def test_the_first_prompt_of_each_step_is_shown(cfg):
    text = describe(cfg("+experiment=smoke", "dataset.limit=3"))
    for part in (
        "first prompt of evolution (evolver)",
        "first prompt of respond (teacher)",
        "first prompt of metric complexity_rate (judge)",
    ):
        assert part in text


def test_a_missing_key_is_a_warning_of_the_plan(cfg, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = describe(cfg("+experiment=smoke", "dataset.limit=2", "model@judge=gpt-4"))
    assert "WARNING, a run would stop: model gpt-4: set the environment variable OPENAI_API_KEY" in text
    assert "judge = gpt-4: " in text


def test_what_is_counted_among_replies_of_stand_ins_is_not_told(cfg, caplog):
    """… but what the dataset says of its rows is"""
    caplog.set_level("INFO")
    describe(cfg("+experiment=smoke", "dataset.limit=3", "evolution=auto_evol", "metric=[length]"))
    assert [record.name for record in caplog.records] == ["evodistill.dataset"]
    assert logging.getLogger("evodistill").getEffectiveLevel() == logging.INFO


def test_a_model_behind_a_server_takes_no_hours_of_ours(cfg):
    server = ["model@teacher=qwen25-0.5b", "backend@teacher=api"]
    few = ["+experiment=smoke", "dataset.limit=2", "metric=[]", "hardware=cpu"]
    assert re.search(r"^qwen25-0.5b .* [\d.]+ +0.00$", describe(cfg(*few, server[0])), re.M)
    text = describe(cfg(*few, *server))
    assert re.search(r"^qwen25-0.5b .* – +0.00$", text, re.M)
    assert "at most 0 hours on two CPU cores" in text and "no hours for fake:" in text


def test_hours_are_told_as_people_do():
    machine = Hardware("m", flops=1e12, reading=0.5, writing=0.1, training=0.25)
    for read, told in ((9e5, "at most 1.0 hours on m"), (9e4, "at most 0.1 hours on m"), (9e3, "under a minute on m")):
        assert any(line.startswith(told) for line in total([Row("a", "b", 1.0, 1, read)], machine))


@pytest.mark.parametrize(
    "experiment", ["quickstart", "auto_evol_tiny", "autoif_tiny", "metrics_tiny", "benchmarks_tiny"]
)
def test_tiny_experiments_are_planned_for_a_cpu(cfg, experiment):
    assert cfg(f"+experiment={experiment}").hardware.name == "two CPU cores"
    assert cfg(f"+experiment={experiment}", "+scale=tiny").hardware.name == "two CPU cores"
    assert "H100" in cfg(f"+experiment={experiment}", "hardware=h100x8").hardware.name
