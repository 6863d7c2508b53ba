import json

import pytest

from evodistill.backend.fake import Fake
from evodistill.benchmark.ifeval import IFEval


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_prompts_and_instructions_strict_and_loose(items):
    replies = ("A lamp on a rock.", "* tide\n* b\n* c", "Iron rots. That is all.", "**<<Tea>>**", "")
    benchmark = IFEval(model="student", data=items("ifeval"))
    scores = benchmark({"student": Fake.scripted(*replies)})
    assert [score.values["ifeval_prompt_strict"] for score in scores] == [1, 1, 1, 1, 0]
    assert [score.label for score in scores] == [None] * 4 + ["empty"]
    assert scores[1].extra["instructions"] == ["detectable_format:number_bullet_lists", "keywords:existence"]
    whole = benchmark.whole([], scores)
    assert whole["ifeval_instruction_strict"][0]["mean"] == pytest.approx(6 / 7), "of 7 instructions, not of 5 prompts"
    low, high = whole["ifeval_instruction_strict"][0]["ci95"]
    assert low < 6 / 7 < high


def test_a_prompt_without_an_answer_is_in_no_share(items, file):
    path = file({"key": 1, "response": "One, two."}, {"key": 4, "response": "<<Tea>>"})
    benchmark = IFEval(model="student", data=items("ifeval"), answers=path)
    scores = benchmark({})
    assert [score.reason for score in scores] == ["", "no_answer", "no_answer", "", "no_answer"]
    assert benchmark.whole([], scores)["ifeval_instruction_strict"][0] | {"ci95": None} == {
        "mean": 0.5, "ci95": None, "n": 2, "unparsed": 3,
    }  # fmt: skip


def test_the_official_flags_come_out_to_the_last_one(shared, tmp_path):
    """541 responses of a small model, judged by the official checker; flags that hold over its random seeds"""
    folder = shared / "data/ifeval"
    items, given, official = (
        lines(folder / f"{name}.jsonl") for name in ("input_data", "responses_sample", "official_results_sample")
    )
    path = tmp_path / "answers.jsonl"  # by key: one of the prompts has another wording in the responses
    path.write_text(
        "".join(
            json.dumps({"key": item["key"], "response": row["response"]}) + "\n"
            for item, row in zip(items, given, strict=True)
        )
    )
    benchmark = IFEval(model="student", data=str(folder / "input_data.jsonl"), answers=str(path))
    scores = benchmark({})
    found = {
        (score.id, way, number): flag
        for score in scores
        for way in ("strict", "loose")
        for number, flag in enumerate(score.extra[way])
    }
    stable = {
        (str(row["key"]), way, number): flag
        for row in official
        for way in ("strict", "loose")
        for number, flag in enumerate(row[way])
        if row[f"stable_{way}"][number]
    }
    assert len(stable) > 1650 and stable.items() <= found.items()
    whole = benchmark.whole([], scores)
    assert sum(score.values["ifeval_prompt_strict"] for score in scores) == 269
    assert sum(score.values["ifeval_prompt_loose"] for score in scores) == 295
    assert whole["ifeval_instruction_strict"][0]["mean"] == pytest.approx(510 / 834)
    assert whole["ifeval_instruction_loose"][0]["mean"] == pytest.approx(545 / 834)
