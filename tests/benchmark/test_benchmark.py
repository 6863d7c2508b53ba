"""What every benchmark shares, seen with GSM8K and IFEval."""

import gzip
import json
from pathlib import Path

import pytest
from repository import FAKES, ROOT

from evodistill import RunError
from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.benchmark.gsm8k import GSM8K
from evodistill.benchmark.humaneval import HumanEval
from evodistill.benchmark.ifeval import IFEval
from evodistill.benchmark.items import Item, paired, text
from evodistill.benchmark.mbpp import MBPP
from evodistill.config import build, check
from evodistill.pipeline import run
from evodistill.record import read_jsonl

THREE = [Item("1", "One?"), Item("2", "Two?"), Item("3", "Three?")]


def answers(path, items=THREE, ids=("id",), draws=1):
    return paired(path, items, ids, text, "an answer", draws)


GOLD = [Item("1", "One?", {"answer": "#### 1", "text": "a task"}), Item("2", "Two?", {"answer": "#### 2"})]


def test_a_model_gives_a_score_an_item_whose_seed_is_the_items_id(items):
    student = Fake.scripted("#### 22", "I think 34", "no idea", "#### -4", "")
    scores = GSM8K(model="student", data=items("gsm8k"))({"student": student})
    assert [score.values["gsm8k"] for score in scores] == [1, 1, 0, 1, 0]
    assert all(score.id == score.seed and score.round == 0 and not score.reason for score in scores)
    assert len({score.id for score in scores}) == 5


def test_recorded_answers_need_no_model(items, file):
    given = [json.loads(line) for line in Path(items("gsm8k")).read_text().splitlines()]
    path = file(*({"question": row["question"], "response": row["answer"]} for row in reversed(given)))
    benchmark = GSM8K(model="student", data=items("gsm8k"), answers=path)
    assert benchmark.roles == ()
    assert [score.values["gsm8k_strict"] for score in benchmark({})] == [1] * 5


def test_answers_are_joined_by_id_or_by_prompt_never_by_place(file):
    """JD4"""
    path = file({"prompt": "Three?", "output": "c"}, {"id": 1, "completion": "a"}, {"id": "2", "text": "b"})
    assert answers(path) == [["a"], ["b"], ["c"]]


def test_an_item_without_an_answer_and_an_answer_to_another_wording_have_a_reason(file, caplog):
    """JD4"""
    path = file(
        {"id": "1", "prompt": "Won?", "response": "a"}, {"id": "9", "response": "z"}, {"id": "3", "answer": "c"}
    )
    first, second, third = (found[0] for found in answers(path))
    assert (first.reason, first.text, second.reason, third) == ("other_prompt", "Won?", "no_answer", "c")
    assert "1 answers of no item that is asked, 1 items without an answer" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"id": "8", "response": "a"}],
            r"none of its 1 answers names one of the 3 items; give each row the item's id",
        ),
        ([{"id": "1", "reply": "a"}], r"given.jsonl:1: this row needs an answer"),
        ([{"id": "1", "response": "a"}, {"id": 1, "response": "b"}], "item 1 has more than 1 answer"),
        (["text"], "no recorded answer"),
    ],
)
def test_a_file_of_answers_that_does_not_fit_is_one_line(file, rows, message):
    with pytest.raises(RunError, match=message):
        answers(file(*rows))


def test_the_items_own_column_is_not_taken_for_the_answer(file):
    """rows of a test with the answers in a column more; without that its column is the answer"""
    path = file(
        {"id": "1", "answer": "#### 1", "text": "a task", "output": "It is 5"},
        {"id": "2", "answer": "#### 2", "completion": "#### 2", "output": "#### 2"},
    )
    assert answers(path, GOLD) == [["It is 5"], ["#### 2"]]
    with pytest.raises(RunError, match="this row needs an answer"):
        answers(file({"id": "1", "answer": "#### 1", "output": None}), GOLD)
    assert answers(file({"id": "1", "answer": "#### 1"}, {"id": "2", "answer": "two"}), GOLD) == [["#### 1"], ["two"]]


def test_several_columns_that_may_be_the_answer_are_one_line(file):
    path = file({"id": "2", "answer": "2", "output": "It is 5"})
    with pytest.raises(
        RunError, match=r"given.jsonl:1: any of the columns answer, output may be the answer; leave one"
    ):
        answers(path, GOLD)


def test_a_missing_file_is_found_before_anything_runs(cfg, items):
    for key in ("data", "answers"):
        with pytest.raises(RunError, match=rf"benchmark.gsm8k: .*{key}: no such file: nowhere.jsonl"):
            check(cfg("+benchmark=[gsm8k]", f"benchmark.gsm8k.{key}=nowhere.jsonl"))


def test_a_file_of_another_kind_is_one_line(items):
    with pytest.raises(RunError, match=r"ifeval.jsonl:1: no item of gsm8k \(no 'answer'\); benchmark.gsm8k.data"):
        GSM8K(model="student", data=items("ifeval")).ready()
    with pytest.raises(RunError, match=r"gsm8k.jsonl:1: no item of ifeval \(no 'instruction_id_list'\)"):
        IFEval(model="student", data=items("gsm8k")).ready()


def test_items_that_are_there_twice_are_refused(file):
    row = {"question": "1 + 1?", "answer": "#### 2"}
    with pytest.raises(RunError, match="is there twice"):
        GSM8K(model="student", data=file(row, row)).items()


def test_ready_finds_answers_of_another_test(items, file):
    path = file({"id": "x", "response": "y"})
    with pytest.raises(RunError, match="none of its 1 answers"):
        GSM8K(model="student", data=items("gsm8k"), answers=path).ready()


def test_a_limit_draws_the_same_items_for_every_model_and_more_take_none_away(items):
    def drawn(limit, seed=0):
        return [item.id for item in GSM8K(model="student", data=items("gsm8k"), limit=limit, seed=seed).items()]

    assert len(drawn(2)) == 2 and set(drawn(2)) < set(drawn(3)) < set(drawn(None))
    assert len({tuple(drawn(2, seed)) for seed in range(9)}) > 1
    with pytest.raises(ValueError, match="limit must be ≥ 1"):
        drawn(0)


def test_a_request_that_failed_has_a_reason_and_no_value(items):
    failed = Completion("", "error", error="too long")
    scores = GSM8K(model="student", data=items("gsm8k"), limit=1)({"student": Fake.scripted(failed)})
    assert [(score.reason, score.raw, set(score.values.values())) for score in scores] == [
        ("no_reply", "too long", {None})
    ]


def test_a_compressed_file_is_read_as_it_is(items, tmp_path):
    path = tmp_path / "items.jsonl.gz"
    path.write_bytes(gzip.compress(Path(items("gsm8k")).read_bytes()))
    assert len(GSM8K(model="student", data=str(path)).items()) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b'{"a": 1}\n\n{"a":\n'), r"items.jsonl.gz:3: no recorded answer \(broken JSON"),
        (b"no gzip", r"items.jsonl.gz:1: damaged .gz file, or none from here on \(Not a gzipped file"),
        (
            gzip.compress(b'{"id": "1", "text": "a"}\n')[:-4],
            r"items.jsonl.gz:1: damaged .gz file.*\(Compressed file ended",
        ),
    ],
    ids=["json", "no_gzip", "cut"],
)
def test_a_broken_compressed_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "items.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(RunError, match=message):
        answers(str(path), draws=9)


def test_the_sources_are_the_content_of_the_files_or_the_name_on_the_hub(cfg, items, file):
    composed = cfg("+benchmark=[gsm8k]")
    assert build(composed.benchmark.gsm8k).sources == ("hub:openai/gsm8k@main",)
    local = GSM8K(model="student", data=items("gsm8k"), answers=file({"id": 1, "response": "a"}))
    assert [source[:7] for source in local.sources] == ["sha256:"] * 2


def test_a_run_of_benchmarks_alone(cfg, items, tmp_path):
    """no dataset, no step: models are asked and scored"""
    data = [f"benchmark.{name}.data={items(name)}" for name in ("gsm8k", "ifeval")]
    settings = ["+benchmark=[gsm8k,ifeval]", "steps=[]", "metric=[]", "tracker=none", f"artifacts={tmp_path}/a", *data]
    means = run(cfg(*FAKES, *settings), tmp_path / "run")
    assert {"gsm8k/0", "gsm8k_strict/0", "ifeval_prompt_strict/0", "ifeval_instruction_loose/0"} <= set(means)
    assert len(list(read_jsonl(tmp_path / "run/scores/gsm8k.jsonl"))) == 5


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/benchmark").glob("*.yaml")))
def test_every_benchmark_fits_its_settings(cfg, name):
    tasks = ["benchmark.lm_eval.tasks=[gsm8k]"] if name == "lm_eval" else []
    check(cfg(f"+benchmark=[{name}]", *tasks))


@pytest.mark.parametrize(
    ("kind", "row", "column"),
    [
        (GSM8K, {"question": "1 + 1?", "answer": "#### 2"}, "question"),
        (GSM8K, {"question": "1 + 1?", "answer": "#### 2"}, "answer"),
        (HumanEval, {"prompt": "def f():", "test": "def check(f): pass", "entry_point": "f"}, "prompt"),
        (MBPP, {"text": "Add.", "test_list": ["assert f(1)"]}, "text"),
    ],
)
def test_a_column_without_a_text_is_one_line(file, kind, row, column):
    settings = {} if kind is GSM8K else {"sandbox": None}
    kind(model="student", data=file(row), **settings).ready()
    for value, why in ((None, "is no text: None"), (" ", "is empty")):
        with pytest.raises(RunError, match=rf"given.jsonl:1: no item of \w+ \({column} {why}\)"):
            kind(model="student", data=file(row | {column: value}), **settings).ready()


def test_tests_that_are_no_list_are_one_line(file):
    with pytest.raises(RunError, match="test_list is no list of tests"):
        MBPP(model="student", data=file({"text": "Add.", "test_list": "f"}), sandbox=None).ready()
