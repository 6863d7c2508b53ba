"""AutoIF from end to end on fake models, with every filter."""

import json

import pytest
from repository import FAKES

from evodistill import RunError
from evodistill.pipeline import run
from evodistill.plan import describe
from evodistill.record import read_records

TINY = ["+experiment=autoif", *FAKES, "dataset@queries.dataset=tiny", "queries.language=null", "metric=[]"]


@pytest.fixture
def pipeline(cfg, tmp_path):
    def go(*settings, folder="run"):
        # few replies, so that sometimes none of them passes
        often = ["evolution.calls=12", "queries.per_constraint=4", "replies.samples=3"]
        run(cfg(*TINY, f"artifacts={tmp_path}/artifacts", *often, *settings), tmp_path / folder)
        lines = (tmp_path / folder / "steps.jsonl").read_text().splitlines()
        return {row["step"]: row for row in map(json.loads, lines)}

    return go


def test_every_filter_filters_and_every_stage_leaves_something(pipeline):
    steps = pipeline()
    filters = ("evolution", "functions", "cross_validation", "back_translation", "verification", "quality")
    assert all(steps[name]["rejected"] > 0 for name in filters)
    assert all(row["out"] > 0 for row in steps.values())
    assert all(row["in"] + row["made"] == row["out"] + row["rejected"] for row in steps.values())


def test_what_comes_out_was_verified_judged_and_paired(pipeline, tmp_path):
    """AI17, AI20"""
    folder = tmp_path / "artifacts" / pipeline()["pairs"]["path"].rsplit("/", 1)[-1]
    records = read_records(folder / "records.jsonl")
    for record in records:
        assert record.extra["query"][1:10] in record.instruction and record.input == ""
        chosen = next(reply for reply in record.extra["replies"] if reply["text"] == record.output)
        assert chosen["passed"] and chosen["score"] >= 8
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert pairs and all(pair["chosen_pass_rate"] > 0.5 and pair["chosen"] != pair["rejected"] for pair in pairs)
    assert {pair["id"] for pair in pairs} <= {record.id for record in records}


def test_a_later_setting_does_not_do_the_earlier_stages_again(pipeline):
    pipeline()
    steps = pipeline("quality.score=9", folder="again")
    assert [name for name, row in steps.items() if not row["reused"]] == ["quality", "pairs"]


def test_two_evolvers_are_paired_over_queries(pipeline, tmp_path):
    """AI18: the second evolver writes other constraints; both stand beside the same queries"""
    seeds = []
    for number, name in enumerate(("small", "large")):
        steps = pipeline(f"evolver.name={name}", "steps=[dataset,evolution,functions,queries]", folder=str(number))
        records = read_records(tmp_path / "artifacts" / steps["queries"]["path"].rsplit("/", 1)[-1] / "records.jsonl")
        seeds.append({(record.origin.seed, record.origin.round): record.extra["query"] for record in records})
    small, large = seeds
    shared = small.keys() & large.keys()
    assert len(shared) == min(len(small), len(large)) > 0
    assert all(small[line] == large[line] for line in shared)


def test_no_surviving_constraint_says_which_filter_removed_all_with_counts(pipeline):
    with pytest.raises(
        RunError, match=r"cross_validation left none of \d+ records \(few_functions \d+\); read .*rejects"
    ):
        pipeline("cross_validation.min_functions=99")


def test_a_missing_query_set_stops_before_any_model_is_asked(pipeline, tmp_path):
    with pytest.raises(RunError, match=r"queries: no query set: dataset.path: no such file: nowhere.jsonl"):
        pipeline("dataset@queries.dataset=jsonl", "queries.dataset.path=nowhere.jsonl")
    assert not (tmp_path / "run" / "steps.jsonl").exists()


def test_the_reduced_preset_runs_too(pipeline, tmp_path):
    steps = pipeline("autoif_preset=reduced", "replies.samples=1")
    records = read_records(tmp_path / "artifacts" / steps["verification"]["path"].rsplit("/", 1)[-1] / "records.jsonl")
    assert all(record.input == record.extra["query"] and record.output for record in records)


def test_the_dry_run_plans_every_stage(cfg, tmp_path):
    small = ["evolution.calls=1", "evolution.per_call=3", "dataset.limit=5", "queries.per_constraint=2"]
    told = describe(cfg(*TINY, f"artifacts={tmp_path}/artifacts", *small))
    assert "evolution: 5 records in, up to 8 out" in told
    assert "functions: 8 records in, up to 8 out\n  teacher = fake: 64 requests" in told
    assert "replies: 16 records in, up to 16 out\n  teacher = fake: 128 requests" in told
    assert "pairs: 16 records in, up to 16 out" in told
