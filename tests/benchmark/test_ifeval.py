import json

import pytest

from evodistill import RunError
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


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"kwargs": [{}]}, r"kwargs of keywords:existence: missing a required argument: 'keywords'"),
        ({"kwargs": [None]}, r"kwargs of keywords:existence are no object: None"),
        ({"kwargs": [{"keywords": ["tea("]}]}, r"keywords 'tea\(' is no regular expression \(missing \)"),
        ({"kwargs": [{"keywords": "tea"}]}, r"keywords must be a list of texts, got 'tea'"),
        ({"kwargs": [{"keywords": ["tea"], "num_words": 3}]}, r"unexpected keyword argument 'num_words'"),
        (
            {"instruction_id_list": ["length_constraints:number_words"],
             "kwargs": [{"num_words": "many", "relation": "at least"}]},
            r"num_words must be a number, got 'many'",
        ),
        ({"instruction_id_list": [], "kwargs": []}, r"instruction_id_list is no list of instructions"),
        ({"instruction_id_list": ["tea:cups"]}, r"unknown instruction tea:cups"),
        ({"prompt": 3}, r"prompt is no text: 3"),
    ],
)  # fmt: skip
def test_an_item_that_cannot_be_checked_is_refused_at_the_start(file, changed, why):
    row = {"key": 1, "prompt": "Name teas.", "instruction_id_list": ["keywords:existence"]}
    row |= {"kwargs": [{"keywords": ["tea"], "num_words": None}]}
    IFEval(model="student", data=file(row)).ready()
    with pytest.raises(RunError, match=rf"given.jsonl:1: no item of ifeval \(.*{why}"):
        IFEval(model="student", data=file(row | changed)).ready()
