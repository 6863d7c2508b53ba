from dataclasses import dataclass

import pytest

from evodistill import RunError
from evodistill.autoif.queries import Queries, join
from evodistill.dataset import Dataset, Row, Seed
from evodistill.dataset.jsonl import JSONL
from evodistill.dataset.sharegpt import ShareGPT
from evodistill.record import Record

COLUMNS = {"instruction": "instruction", "input": None, "output": None}


@dataclass(frozen=True, kw_only=True)
class Listed(Dataset):
    texts: tuple[str, ...]

    @property
    def sources(self):
        return ("listed",)

    def rows(self):
        return (Row(f"listed:{number}", text) for number, text in enumerate(self.texts, 1))

    def parse(self, value):
        return Seed(value)


MANY = Listed(texts=tuple(f"How do people make bread number {number} at home?" for number in range(50)))


def constraints(*texts):
    functions = [{"code": "def evaluate(response):\n    return True", "replies": [0]}]
    return [Record.seed(text, functions=functions, cases=[{"text": "a"}], kind="x") for text in texts]


def children(made):
    return [record for record in made if record.origin.step == "queries"]


def test_each_constraint_gets_its_queries_and_ends():
    given = constraints("Leave out all commas.", "Use exactly twelve words.")
    made = Queries(MANY, per_constraint=3)(given, {})
    assert [record.id for record in made if record.fault] == [record.id for record in given]
    assert {record.fault.reason for record in made if record.fault} == {"expanded"}
    assert len(children(made)) == 6 and not any(record.fault for record in children(made))
    child = children(made)[0]
    assert child.instruction == f"{child.extra['query']} {child.extra['constraint']}" and child.input == ""
    assert child.extra["functions"] == given[0].extra["functions"] and "cases" not in child.extra
    assert (child.origin.parent, child.origin.round) == (given[0].id, 1)


def test_two_evolvers_get_the_same_queries_and_are_paired():
    """AI18"""
    mine = children(Queries(MANY, per_constraint=4)(constraints("One rule here.", "Two rules here."), {}))
    theirs = children(Queries(MANY, per_constraint=4)(constraints("My rule.", "Your rule.", "Their rule."), {}))
    assert {record.origin.seed for record in mine} < {record.origin.seed for record in theirs}
    query = {record.origin.seed: record.extra["query"] for record in theirs}
    assert all(query[record.origin.seed] == record.extra["query"] for record in mine)
    assert len({record.origin.seed for record in theirs}) == 12
    assert len({record.id for record in mine + theirs}) == 20


def test_a_number_of_constraints_is_drawn_by_seed_and_id_not_by_row():
    """AI18: 780 cut to 420 instructions, not rows"""
    given = constraints(*(f"Use exactly {number} words." for number in range(20)))
    made = Queries(MANY, per_constraint=2, constraints=5)(given, {})
    assert len(children(made)) == 10
    assert [record.fault.reason for record in made if record.fault].count("not_drawn") == 15
    again = Queries(MANY, per_constraint=2, constraints=5)(given[::-1], {})
    assert {record.id for record in children(made)} == {record.id for record in children(again)}
    assert {r.origin.parent for r in children(made)} != {record.id for record in given[:5]}


def test_the_first_turn_of_the_person_is_the_query():
    """AI19"""
    turns = {"speaker": "from", "content": "value", "language": "en", "min_chars": 20, "max_chars": 300}
    named = {"id": None, "subset": None, "file": None, "split": "train", "revision": "main", "keep_extra": False}
    dataset = ShareGPT(path=None, columns={"turns": "conversations"}, **turns, **named)
    asked = "What should I cook with six eggs?"
    seed = dataset.parse({"conversations": [{"from": "gpt", "value": "Hello!"}, {"from": "human", "value": asked}]})
    assert seed and seed.instruction == asked


@pytest.mark.parametrize(
    "text",
    ["Too short.", "Was kostet ein Laib Brot heute auf dem Markt in der Stadt?", "How " + "very " * 80 + "long?"],
)
def test_queries_of_another_length_or_language_are_left_out(text):
    """AI19: English only, more than 20 and fewer than 300 characters"""
    made = Queries(Listed(texts=(text, *MANY.texts[:2])))(constraints("Leave out all commas."), {})
    assert sorted(record.extra["query"] for record in children(made)) == sorted(MANY.texts[:2])


def test_any_language_can_be_asked_for():
    text = "Was kostet ein Laib Brot heute auf dem Markt in der Stadt?"
    assert len(children(Queries(Listed(texts=(text,)), language=None)(constraints("Use two words."), {}))) == 1
    assert len(children(Queries(Listed(texts=(text,)), language="de")(constraints("Use two words."), {}))) == 1


def test_without_any_usable_query_it_says_what_removed_them():
    with pytest.raises(RunError, match=r"none of 2 rows is a usable query \(length 2\); change queries.min_chars"):
        Queries(Listed(texts=("Hi.", "Ho.")))(constraints("Use two words."), {})


def test_a_missing_query_set_is_found_before_any_model_is_asked():
    with pytest.raises(RunError, match=r"no query set: dataset.path: no such file: nowhere.jsonl .*queries.dataset"):
        Queries(JSONL(path="nowhere.jsonl", columns=COLUMNS, keep_extra=False))
    with pytest.raises(RunError, match=r"no query set: dataset\.path is not set"):
        Queries(JSONL(path=None, columns=COLUMNS, keep_extra=False))


def test_without_constraints_no_query_is_read():
    bad = Record.seed("x").reject("empty")
    assert Queries(Listed(texts=()))([bad], {}) == [bad]


def test_fewer_queries_than_asked_for_are_all_used_once(caplog):
    made = children(Queries(Listed(texts=MANY.texts[:3]))(constraints("Use two words."), {}))
    assert len(made) == len({record.extra["query"] for record in made}) == 3
    assert "3 usable, so each constraint gets these; per_constraint=16" in caplog.text
    Queries(MANY, per_constraint=2, constraints=3)(constraints("Use two words."), {})
    assert "1 constraints are there, constraints=3 are asked for" in caplog.text


def test_columns_are_the_layout_of_the_reduced_form():
    made = children(Queries(MANY, per_constraint=1, layout="columns")(constraints("Use two words."), {}))
    assert made[0].instruction == "Use two words." and made[0].input == made[0].extra["query"]


@pytest.mark.parametrize(
    ("query", "constraint", "text"),
    [
        ("what is tea?", "use two words", "What is tea? Use two words."),
        ("name a tea", "Use two words.", "Name a tea. Use two words."),
        ("Name a tea.", "Use two words!", "Name a tea. Use two words!"),
        ('Define "tea."', "end with a question?", 'Define "tea." End with a question?'),
        ("", "use two words", "Use two words."),
        ("  ", "Use two words.", "Use two words."),
        ("name a tea\n- green\n- black", "use two words", "Name a tea\n- green\n- black\n\nUse two words."),
        ("3.5 cups of what", "-ing words only", "3.5 cups of what. -ing words only."),
        ("git push fails, why", '"tea" must appear', 'Git push fails, why. "tea" must appear.'),
        ("茶是什么？", "Use two words.", "茶是什么？ Use two words."),
    ],
)
def test_query_and_constraint_are_sentences_of_one_text(query, constraint, text):
    assert join(query, constraint) == text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_constraint": 0}, "per_constraint must be ≥ 1"),
        ({"constraints": 0}, "constraints must be ≥ 1"),
        ({"max_chars": 21}, "max_chars must leave room above min_chars=20"),
        ({"layout": "rows"}, "layout must be one of joined, columns"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Queries(MANY, **settings)
