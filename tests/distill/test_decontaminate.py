import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill import RunError, config
from evodistill.benchmark.gsm8k import GSM8K
from evodistill.benchmark.humaneval import HumanEval
from evodistill.benchmark.items import Texts
from evodistill.benchmark.mbpp import MBPP
from evodistill.benchmark.mt_bench import MTBench
from evodistill.distill import decontaminate
from evodistill.distill.decontaminate import Decontaminate, Index
from evodistill.pipeline import run
from evodistill.record import Record, read_jsonl, read_records
from evodistill.sandbox.process import Process

EXAM = "A crate holds 12 jars of honey; a shop buys 5 crates and sells many."  # fifteen words
SHORT = "Why is the sky blue?"


@pytest.fixture
def exam(tmp_path):
    """A file with the two items, and the step that compares with it."""
    path = tmp_path / "exam.jsonl"
    path.write_text("".join(json.dumps({"id": 7, "question": text}) + "\n" for text in (EXAM, SHORT)))
    return lambda **settings: Decontaminate(files=[{"path": str(path), "field": "question"}], **settings)


def reasons(records):
    return [record.fault.reason if record.fault else "" for record in records]


def one(step, *texts):
    (record,) = step([Record.seed(*texts)], {})
    return record.fault.detail if record.fault else None


def test_thirteen_words_in_a_row_are_contamination_and_twelve_are_none(exam):
    """Words 2 to 14 of the item are thirteen, 3 to 14 twelve."""
    words = EXAM.split()
    thirteen, twelve = " ".join(words[1:14]), " ".join(words[2:14])
    shared = "crate holds 12 jars of honey a shop buys 5 crates and sells"
    assert one(exam(), f"Please: {thirteen}") == f"exam.jsonl item 1: {shared!r}; 87% of its words are shared"
    assert one(exam(), f"Please: {twelve} all.") is None
    assert one(exam(n=8), f"Please: {twelve} all.") is not None


def test_case_punctuation_and_white_space_make_no_difference(exam):
    changed = EXAM.upper().replace(";", " —").replace(" ", "\n ").replace("HONEY", "“HONEY”")
    assert changed != EXAM and one(exam(), changed) is not None
    assert one(exam(), EXAM.replace("honey", "jam")) is None, "no thirteen of fifteen words are left in a row"


def test_an_item_of_fewer_words_is_found_as_a_whole_and_not_as_a_part(exam):
    assert one(exam(), "why is the sky  BLUE") == "exam.jsonl item 2: 'why is the sky blue', all of it"
    assert one(exam(), "Answer the question.", SHORT) is not None, "a question may stand in the input"
    assert one(exam(), f"{SHORT} Explain it to a child.") is None
    assert one(exam(), "The sky is blue.") is None


def test_coverage_is_a_share_of_the_items_words(exam):
    """Eight of fifteen words are 53 %; Tülu 3 takes half of the item's words."""
    eight = " ".join(EXAM.split()[:8])
    assert one(exam(n=8, coverage=0.5), eight) == (
        "exam.jsonl item 1: 'a crate holds 12 jars of honey a'; 53% of its words are shared"
    )
    assert one(exam(n=8, coverage=0.6), eight) is None
    two = f"{' '.join(EXAM.split()[:7])}. Then {' '.join(EXAM.split()[8:15])}"
    assert one(exam(n=7, coverage=0.9), two) is not None, "n-grams of two places add up: 14 of 15 words"


def test_the_item_that_is_covered_most_is_named():
    index = Index(2)
    index.add("first", "a b c d")
    index.add("second", "a b x")
    index.add("third", "a b y")
    assert index.shared("a b z", 0.0) == "second: 'a b'; 67% of its words are shared"
    assert index.shared("b c d", 0.0) == "first: 'b c'; 75% of its words are shared"


def test_answers_are_looked_at_where_it_is_asked(exam):
    record = Record.seed("Invent a problem.", "", EXAM)
    assert reasons(exam()([record], {})) == [""]
    assert reasons(exam(text="with_output")([record], {})) == ["contaminated"]


def test_no_n_gram_goes_from_a_question_to_its_answer(exam):
    first, rest = " ".join(EXAM.split()[:8]), " ".join(EXAM.split()[8:])
    assert reasons(exam(text="with_output")([Record.seed(first, "", rest)], {})) == [""]


def test_each_record_is_judged_by_its_own_text(exam):
    """As in the literature: a child of a contaminated seed that no longer holds the text stays"""
    seed = Record.seed(EXAM)
    children = [seed.child("How many jars does a shop keep?", round=1), seed.child(f"{EXAM} Explain.", round=1)]
    assert reasons(exam()([seed, *children], {})) == ["contaminated", "", "contaminated"]


def test_a_character_of_a_script_without_spaces_is_a_word(tmp_path):
    (tmp_path / "zh.jsonl").write_text(json.dumps({"q": "一个箱子里有十二罐蜂蜜，商店买了五箱。"}))
    step = Decontaminate(files=[{"path": str(tmp_path / "zh.jsonl"), "field": "q"}])
    assert one(step, "请问：一个箱子里有十二罐蜂蜜，商店") is not None
    assert one(step, "请问：一个箱子里有十二罐蜂蜜吗？") is None


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "A!", "…"]), max_size=8).map(" ".join), max_size=12))
def test_every_record_comes_back_in_order_and_is_judged_as_by_comparing_all_pairs(texts):
    items = ["a b c d a", "d d", "b. B, b"]
    step = Decontaminate(benchmarks={"own": Own(items)}, n=3)
    records = list({record.id: record for record in map(Record.seed, texts)}.values())
    made = step(records, {})
    assert [record.id for record in made] == [record.id for record in records]
    for record in made:
        words = decontaminate.split(record.instruction)
        grams = [words[i : i + 3] for i in range(len(words) - 2)]
        known = [decontaminate.split(item) for item in items]
        held = any(item[i : i + 3] in grams for item in known for i in range(len(item) - 2))
        assert (record.fault is not None) == (held or words == ["d", "d"])


class Own:
    """A test of the given prompts."""

    def __init__(self, prompts, solutions=()):
        self.prompts, self.solutions = prompts, solutions

    def texts(self):
        return [Texts(str(number), [prompt], self.solutions) for number, prompt in enumerate(self.prompts)]


def test_a_solution_counts_with_n_words_and_never_as_a_whole():
    """That the solution is 42 makes no answer of 42 a copy of it"""
    test = {"own": Own(["What is it?"], ["42", "Add five to seven, then halve it."])}
    step = Decontaminate(benchmarks=test, n=6, text="with_output")
    assert one(step, "How many?", "", "42") is None
    told = one(step, "How many?", "", "First add five to seven, then halve that.")
    assert told == "own item 0, its solution: 'add five to seven then halve'; 86% of its words are shared"
    assert one(Decontaminate(benchmarks=test, n=6, text="with_output", solutions=False), "x", "", "42") is None
    assert one(Decontaminate(benchmarks=test, n=6, solutions=False), "Add five to seven, then halve it.") is None


def test_what_benchmarks_tell_of_an_item(tmp_path):
    """Both turns, references and code; GSM8K's solutions also without its calculator's notes; `limit` hides nothing."""

    def written(name, *rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"model": "student", "data": str(tmp_path / name), "limit": 1}

    sums = [{"question": f"{n} and 1?", "answer": f"{n}+1=<<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1}"} for n in (1, 2)]
    found = list(GSM8K(**written("gsm8k.jsonl", *sums)).texts())
    assert [texts.prompts for texts in found] == [["1 and 1?"], ["2 and 1?"]]
    assert found[0].solutions == ["1+1=<<1+1=2>>2.\n#### 2", "1+1=2.\n#### 2"]

    turns = [
        {"question_id": n, "turns": ["Write.", "Rhyme."], "reference": ref} for n, ref in ((1, ["A.", None]), (2, []))
    ]
    references = tmp_path / "references.jsonl"
    references.write_text(json.dumps({"question_id": 2, "choices": [{"turns": ["B.", "C."]}]}))
    bench = MTBench(**written("mt.jsonl", *turns), judge="judge", references=str(references))
    assert [tuple(texts) for texts in bench.texts()] == [
        ("1", ["Write.", "Rhyme."], ["A."]),
        ("2", ["Write.", "Rhyme."], ["B.", "C."]),
    ]

    code = {"task_id": "a/1", "prompt": "def f():", "entry_point": "f", "test": "def check(f): pass"}
    human = HumanEval(**written("human.jsonl", code | {"canonical_solution": "    return 1"}), sandbox=Process())
    assert [tuple(texts) for texts in human.texts()] == [("a/1", ["def f():"], ["    return 1"])]
    task = {"task_id": 11, "text": "Write f.", "test_list": ["assert f() == 1"]}
    mbpp = MBPP(
        **written("mbpp.jsonl", task, {**task, "task_id": 12, "code": "f = int"}),
        sandbox=Process(),
        prompt="mbpp/write",
    )
    assert [tuple(texts) for texts in mbpp.texts()] == [("11", ["Write f."], []), ("12", ["Write f."], ["f = int"])]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n must be ≥ 1, got 0"),
        ({"coverage": 1.5}, r"coverage must be in \[0, 1\], got 1.5"),
        ({"text": "output"}, "text must be one of with_input, with_output, got 'output'"),
    ],
)
def test_a_bad_value_is_refused(exam, settings, message):
    with pytest.raises(ValueError, match=message):
        exam(**settings)


def test_no_test_at_all_is_refused():
    with pytest.raises(ValueError, match=r"no test to compare with; choose '\+benchmark=\[NAME\]', or name files"):
        Decontaminate()
    with pytest.raises(ValueError, match="no test to compare with"):
        Decontaminate(benchmarks={"gsm8k": {"limit": 5}})  # settings of one that is not chosen


def test_a_file_that_does_not_fit_is_refused_before_anything_is_done(tmp_path):
    path = tmp_path / "exam.jsonl"
    with pytest.raises(ValueError, match=r"files\[0\]: no such file: .*exam.jsonl"):
        Decontaminate(files=[{"path": str(path), "field": "question"}])
    with pytest.raises(ValueError, match=r"files\[0\] must be \{path: FILE, field: NAME\}, got \{'path': 'a'\}"):
        Decontaminate(files=[{"path": "a"}])
    for text, message in [
        (
            '{"question": "a"}\n{"question": 5, "text": "b"}',
            r"exam.jsonl:2: no text in 'question', there is some in: text",
        ),
        ("[1]", r"exam.jsonl:1: no item \(no object with fields\)"),
        ("{", r"exam.jsonl:1: no item \(broken JSON"),
        ("", r"exam.jsonl holds no item"),
    ]:
        path.write_text(text)
        with pytest.raises(RunError, match=message):
            Decontaminate(files=[{"path": str(path), "field": "question"}]).ready()


def test_the_share_is_told(exam, caplog):
    caplog.set_level("INFO")
    step = exam()
    step.ready()
    step([Record.seed(text) for text in (EXAM, "A.", "B.", "C.")], {})
    assert "decontaminate: 2 items of exam.jsonl" in caplog.text
    assert "decontaminate: 1 of 4 records (25.00 %) hold text of a test" in caplog.text


def test_the_tests_of_a_run_are_compared_with_and_known_by_content(cfg, tmp_path):
    """… also those of a run whose records are paired with its own, which asks no benchmark."""
    items = tmp_path / "items.jsonl"
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(
        "".join(
            json.dumps({"instruction": text, "input": "", "output": "x"}) + "\n" for text in (EXAM, SHORT, "Other.")
        )
    )
    items.write_text(json.dumps({"question": EXAM, "answer": "#### 22"}))
    settings = ["+distill@decontaminate=decontaminate", "+benchmark=[gsm8k]", f"benchmark.gsm8k.data={items}"]
    settings += ["metric=[]", "dataset=jsonl", f"dataset.path={seeds}", f"artifacts={tmp_path}/artifacts"]
    settings += ["+distill@select=select", "select.rivals=[small,large]", "steps=[dataset,decontaminate,select]"]
    run(cfg("+experiment=smoke", *settings), tmp_path / "run")
    steps = {row["step"]: row for row in read_jsonl(tmp_path / "run" / "steps.jsonl")}
    told = [(row["in"], row["out"], row["reasons"]) for row in (steps["decontaminate"], steps["select"])]
    assert told == [(3, 2, {"contaminated": 1}), (2, 2, {})]
    rejects = read_records(tmp_path / steps["decontaminate"]["path"] / "rejects.jsonl")
    assert [record.fault.detail.partition(":")[0] for record in rejects if record.fault] == [
        f"gsm8k item {id_of(items)}"
    ]
    # how the model is asked changes nothing of it, the items do
    run(cfg("+experiment=smoke", *settings, "benchmark.gsm8k.sampling.max_tokens=9"), tmp_path / "again")
    again = {row["step"]: row for row in read_jsonl(tmp_path / "again" / "steps.jsonl")}
    assert again["decontaminate"]["reused"]
    items.write_text(json.dumps({"question": SHORT, "answer": "#### 22"}))
    run(cfg("+experiment=smoke", *settings), tmp_path / "other")
    other = {row["step"]: row for row in read_jsonl(tmp_path / "other" / "steps.jsonl")}
    assert not other["decontaminate"]["reused"] and other["decontaminate"]["rejected"] == 1


def id_of(items):
    return next(iter(GSM8K(model="student", data=str(items)).texts())).id


def test_without_a_test_the_config_is_refused(cfg):
    composed = cfg("+experiment=smoke", "+distill@decontaminate=decontaminate", "steps=[dataset,decontaminate]")
    with pytest.raises(RunError, match=r"decontaminate: .*there is no test to compare with"):
        config.check(composed)
