import json
import math
from importlib.metadata import PackageNotFoundError

import pytest
import yaml
from repository import FAKES

from evodistill import RunError
from evodistill.backend import Sampling
from evodistill.backend.fake import Fake
from evodistill.backend.transformers import Transformers
from evodistill.benchmark import lm_eval
from evodistill.benchmark.lm_eval import LMEval, cut, sampling, scores, split
from evodistill.config import check

CAPITALS = [
    {"question": "The capital of France is", "choices": ["Paris", "Rome", "Tokyo"], "gold": 0},
    {"question": "The capital of Italy is", "choices": ["Paris", "Rome", "Tokyo"], "gold": 1},
    {"question": "The capital of Japan is", "choices": ["Paris", "Rome", "Tokyo"], "gold": 2},
]
SUMS = [{"question": "2 plus 2", "answer": "4"}, {"question": "3 plus 4", "answer": "7"}]


@pytest.fixture
def tasks(tmp_path):
    """A folder with three tasks: one of choices, one of generated numbers, one of perplexity."""

    def write(name, rows, **settings):
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(task | {"test_split": "test"} | settings))

    mean = {"aggregation": "mean", "higher_is_better": True}
    write(
        "own_capitals", CAPITALS, output_type="multiple_choice", doc_to_text="{{question}}",
        doc_to_choice="{{choices}}", doc_to_target="{{gold}}", metric_list=[{"metric": "acc", **mean}],
    )  # fmt: skip
    number = [{"function": "regex", "regex_pattern": r"(-?\d+)"}, {"function": "take_first"}]
    write(
        "own_sums", SUMS, output_type="generate_until", doc_to_text="What is {{question}}?",
        doc_to_target="{{answer}}", generation_kwargs={"until": ["\n"], "max_gen_toks": 8},
        filter_list=[{"name": "number", "filter": number}], metric_list=[{"metric": "exact_match", **mean}],
    )  # fmt: skip
    write(
        "own_text", [{"text": row["question"]} for row in CAPITALS], output_type="loglikelihood_rolling",
        doc_to_text="", doc_to_target="{{text}}", metric_list=[{"metric": "word_perplexity"}],
    )  # fmt: skip
    return str(tmp_path)


@pytest.mark.slow
def test_tasks_of_all_kinds_are_scored_item_by_item(tasks):
    rules = [{"match": "2 plus 2", "replies": ["It is 4.\nIt is not 5."]}, {"match": ".", "replies": ["5\n7"]}]
    benchmark = LMEval(model="student", tasks=["own_capitals", "own_sums", "own_text"], include_path=tasks)
    found = benchmark({"student": Fake("fake", rules=rules)})
    by_id = {score.id: dict(score.values) for score in found}
    assert by_id["own_sums:0"] == {"own_sums_exact_match": 1}
    assert by_id["own_sums:1"] == {"own_sums_exact_match": 0}, "what stands behind a stop is not read"
    assert {id: values for id, values in by_id.items() if id.startswith("own_text")} == {
        f"own_text:{number}": {} for number in range(3)
    }
    whole = benchmark.whole([], found)
    assert set(whole) == {"own_text_word_perplexity"}
    assert whole["own_text_word_perplexity"][0]["mean"] > 1 and whole["own_text_word_perplexity"][0]["n"] == 3
    texts = {texts.id: texts[1:] for texts in benchmark.texts()}
    assert texts["own_sums:1"] == (["What is 3 plus 4?"], ["7"]), "what training data must not hold"
    assert texts["own_capitals:0"] == (["The capital of France is"], []), "the number of a choice is no text"
    with pytest.raises(RunError, match=r"no task 'own_sumz' in the harness or in "):
        LMEval(model="student", tasks=["own_sumz"], include_path=tasks).ready()


@pytest.mark.slow
def test_a_real_model_knows_capitals(tasks, smollm2):
    engine = {"dtype": "float32", "compile": False, "threads": 2}
    model = Transformers("smollm2-135m", path=str(smollm2.folder), engine=engine)
    found = LMEval(model="student", tasks=["own_capitals"], include_path=tasks, limit=3)({"student": model})
    assert [score.values["own_capitals_acc"] for score in found] == [1, 1, 1]


@pytest.mark.slow
def test_a_text_that_cannot_be_scored_has_a_reason(tasks):
    class Short(Fake):
        def score(self, texts, limit=None):
            from evodistill.backend import Logprobs

            for group in super().score(texts, limit):
                yield [(i, Logprobs((), "too long") if "Italy" in texts[i][0] else found) for i, found in group]

    benchmark = LMEval(model="student", tasks=["own_capitals", "own_text"], include_path=tasks)
    found = benchmark({"student": Short("fake")})
    assert [(score.reason, score.values["own_capitals_acc"] is None) for score in found[:3]] == [
        ("", False), ("no_reply", True), ("", False),
    ]  # fmt: skip
    perplexity = {"mean": None, "ci95": None, "n": 2, "unparsed": 1}
    assert benchmark.whole([], found) == {"own_text_word_perplexity": {0: perplexity}}


@pytest.mark.slow
def test_a_group_has_the_number_of_the_harness_and_its_interval(tasks, tmp_path):
    """Weighted by size it is the mean over all items; each task alike, it is none of theirs"""
    task = yaml.safe_load((tmp_path / "own_sums.yaml").read_text())
    data = tmp_path / "own_products.jsonl"
    data.write_text(json.dumps({"question": "3 times 4", "answer": "12"}))
    files = {"dataset_kwargs": {"data_files": {"test": str(data)}}}
    (tmp_path / "own_products.yaml").write_text(yaml.safe_dump(task | files | {"task": "own_products"}))
    for group, weighted in (("own_math", True), ("own_macro", False)):
        means = [{"metric": "exact_match", "aggregation": "mean", "weight_by_size": weighted}]
        told = {"group": group, "task": ["own_sums", "own_products"], "aggregate_metric_list": means}
        (tmp_path / f"{group}.yaml").write_text(yaml.safe_dump(told))
    rules = [{"match": "2 plus 2", "replies": ["4"]}, {"match": ".", "replies": ["5"]}]

    def asked(group):
        benchmark = LMEval(model="student", tasks=[group], include_path=tasks)
        found = benchmark({"student": Fake("fake", rules=rules)})
        assert len(found) == 3
        return benchmark.whole([], found)

    pooled = asked("own_math")["own_math_exact_match"][0]
    assert pooled["mean"] == pytest.approx(1 / 3) and (pooled["n"], pooled["unparsed"]) == (3, 0)
    assert pooled["ci95"][0] < 1 / 3 < pooled["ci95"][1]
    assert asked("own_macro") == {"own_macro_exact_match": {0: {"mean": 0.25, "ci95": None, "n": 3, "unparsed": 0}}}


@pytest.mark.slow
def test_the_likeliest_continuation_is_not_known_of_a_choice_either(tasks, tmp_path):
    task = yaml.safe_load((tmp_path / "own_capitals.yaml").read_text())
    task |= {"task": "own_exact", "metric_list": [{"metric": "acc"}, {"metric": "exact_match"}]}
    (tmp_path / "own_exact.yaml").write_text(yaml.safe_dump(task))
    with pytest.raises(RunError, match=r"exact_match of own_exact asks for the most likely continuation, .* acc"):
        LMEval(model="student", tasks=["own_exact"], include_path=tasks).ready()


def whole(means, *items, errors=()):
    """The numbers of whole sets, of what the harness found of the tasks a and b."""
    samples = {
        task: [{"doc_id": doc, "filter": "none", "metrics": ["m"], "m": value} for doc, value in enumerate(values)]
        for task, values in zip("ab", items, strict=True)
    }
    results = {name: {"alias": name, "m,none": mean, "m_stderr,none": "N/A"} for name, mean in means.items()}
    found = {"samples": samples, "results": results, "group_subtasks": {"ab": ["a", "b"]}}
    told = LMEval(model="student", tasks=["ab"]).whole([], list(scores(found, dict.fromkeys(errors, "timeout"))))
    return {name: rounds[0] for name, rounds in told.items()}


def test_an_item_without_a_reply_is_in_no_number_of_a_whole_set():
    corpus = whole({"a": 9.5, "b": 7.5}, [("a", "b"), ("", "b")], [("c", "d")], errors=[("a", 1)])
    assert corpus == {
        "a_m": {"mean": None, "ci95": None, "n": 1, "unparsed": 1},
        "b_m": {"mean": 7.5, "ci95": None, "n": 1, "unparsed": 0},
    }
    assert whole({"a": math.inf, "b": math.nan}, [("a", "b")], [("c", "d")])["a_m"]["mean"] is None
    group = whole({"a": 0.5, "b": 1.0, "ab": 0.75}, [1, 0], [1, 1], errors=[("a", 1)])
    assert list(group) == ["ab_m"] and group["ab_m"] == {"mean": 1.0, "ci95": [1, 1], "n": 3, "unparsed": 1}
    macro = whole({"a": 0.0, "b": 1.0, "ab": 0.5}, [0], [1, 1], errors=[("a", 0)])
    assert macro["ab_m"] == {"mean": None, "ci95": None, "n": 2, "unparsed": 1}


def test_without_the_harness_the_cure_is_said(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(lm_eval, "version", missing)
    with pytest.raises(RunError, match=r"benchmark=lm_eval needs the harness: pip install -e '.\[lm_eval\]'"):
        LMEval(model="student", tasks=["gsm8k"]).ready()


def test_tasks_must_be_named(cfg):
    with pytest.raises(RunError, match=r"set these keys: benchmark.lm_eval.tasks"):
        check(cfg("+benchmark=[lm_eval]", *FAKES))
    with pytest.raises(ValueError, match="tasks is empty"):
        LMEval(model="student", tasks=[])


def test_the_settings_of_a_task_are_those_of_its_requests():
    assert sampling({"until": ["\n", "Q:"], "max_gen_toks": 12, "temperature": 0.0}) == Sampling(
        max_tokens=12, stop=("\n", "Q:")
    )
    assert sampling({"until": "\n", "do_sample": False, "temperature": 0.7}) == Sampling(max_tokens=256, stop=("\n",))
    assert sampling({"do_sample": True, "temperature": 0.7, "top_p": 0.9}) == Sampling(0.7, 0.9, 256)


def test_text_is_cut_at_the_first_stop_and_spaces_go_with_the_continuation():
    assert cut("one Q: two\nthree", ("\n", "Q:")) == "one "
    assert split("The capital is ", "Paris") == ("The capital is", " Paris")


@pytest.mark.slow
def test_a_task_that_runs_code_is_refused_before_any_work(tasks, tmp_path):
    task = yaml.safe_load((tmp_path / "own_sums.yaml").read_text())
    (tmp_path / "own_code.yaml").write_text(yaml.safe_dump(task | {"task": "own_code", "unsafe_code": True}))
    with pytest.raises(RunError, match="own_code runs what a model writes, outside the sandbox; leave it out"):
        LMEval(model="student", tasks=["own_code"], include_path=tasks).ready()
