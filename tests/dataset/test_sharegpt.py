"""ShareGPT: which turn is the query, what is left out and what is malformed."""

import json

import pytest

from evodistill import RunError
from evodistill.dataset.sharegpt import ShareGPT
from evodistill.record import split

ENGLISH = "Could you tell me how to bake a simple loaf of bread?"
SETTINGS = {
    "id": None,
    "subset": None,
    "file": None,
    "split": "train",
    "revision": "main",
    "columns": {"turns": "conversations"},
    "speaker": "from",
    "content": "value",
    "language": None,
    "min_chars": 20,
    "max_chars": 300,
    "keep_extra": False,
}


@pytest.fixture
def load(tmp_path):
    """Loads conversations, each a list of (speaker, text); `raw` lines stand behind them."""

    def load(*conversations, raw=(), **changes):
        settings = {**SETTINGS, **changes}
        rows = [
            {
                settings["columns"]["turns"]: [
                    {settings["speaker"]: who, settings["content"]: what} for who, what in turns
                ]
            }
            for turns in conversations
        ]
        path = tmp_path / "talk.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *raw]), encoding="utf-8")
        return ShareGPT(path=str(path), **settings)([], {})

    return load


@pytest.mark.parametrize("human", ["human", "user"])
@pytest.mark.parametrize("model", ["gpt", "assistant", "chatgpt", "bing"])
def test_first_turn_of_the_person_is_the_instruction_and_the_reply_the_output(load, human, model):
    [record] = load(
        [(human, ENGLISH), (model, "Mix and bake."), (human, "Thanks, and what about cake?"), (model, "Same.")]
    )
    assert (record.instruction, record.input, record.output) == (ENGLISH, "", "Mix and bake.")


def test_first_turn_may_not_be_the_person_ai19(load):
    [record] = load(
        [("system", "Be kind."), ("gpt", "… as I said before."), ("human", ENGLISH), ("gpt", "Mix and bake.")]
    )
    assert (record.instruction, record.output) == (ENGLISH, "Mix and bake.")


def test_output_is_empty_where_no_reply_follows(load):
    asked_twice, alone = load([("human", ENGLISH), ("human", "Hello?"), ("gpt", "Mix.")], [("human", ENGLISH + "!")])
    assert asked_twice.output == alone.output == ""


def test_other_keys_of_turns_can_be_named(load):
    turns = [("user", ENGLISH), ("assistant", "Mix.")]
    [record] = load(turns, columns={"turns": "messages"}, speaker="role", content="content")
    assert (record.instruction, record.output) == (ENGLISH, "Mix.")


def test_length_bounds_are_exclusive(load):
    kept = load(*([("human", "x" * n)] for n in (20, 21, 299, 300)))
    assert [len(record.instruction) for record in kept] == [21, 299]


def test_left_out_rows_keep_their_place_in_the_numbering(load):
    records = load([("human", "short")], [("human", ENGLISH)])
    assert [record.origin.index for record in records] == [1]


def test_language_filter_keeps_one_language(load):
    talks = [
        [("human", ENGLISH)],
        [("human", "Wie backe ich ein einfaches Brot, ohne eine Küchenmaschine zu benutzen?")],
        [("human", "请告诉我怎样在家里不用机器烤一个简单的面包，需要哪些材料和步骤？")],
    ]
    assert [record.instruction for record in load(*talks, language="en")] == [ENGLISH]
    assert [record.origin.index for record in load(*talks, language="de")] == [1]
    assert len(load(*talks)) == 3


def test_unknown_language_is_an_error_that_lists_the_known(load):
    with pytest.raises(RunError, match=r"dataset\.language=english .* de, .*en,"):
        load([("human", ENGLISH)], language="english")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": 1}, "no conversations"),
        ({"conversations": "text"}, "conversations is a string, not a list of turns"),
        ({"conversations": None}, "conversations is null, not a list of turns"),
        ({"conversations": []}, "no turn of a person"),
        ({"conversations": ["text"]}, "the row is a string"),
        ({"conversations": [{"from": "gpt", "value": "a"}]}, "no turn of a person"),
        (
            {"conversations": [{"role": "user", "content": "a"}]},
            "turns have no from, they have role, content; set dataset.speaker=role dataset.content=content",
        ),
        ({"conversations": [{"who": "user", "says": "a"}]}, "set dataset.speaker=KEY dataset.content=KEY"),
        ({"conversations": [{"from": "human"}]}, "the first turn of the person has no value"),
        ({"conversations": [{"from": "human", "value": 7}]}, "value is a number, not text"),
        ({"conversations": [{"from": ["human"], "value": "a"}]}, "no turn of a person"),
    ],
)
def test_malformed_conversation_is_rejected_with_its_reason(load, row, reason):
    usable, [rejected] = split(load([("human", ENGLISH)], raw=[row]))
    assert len(usable) == 1
    assert rejected.fault.reason == "malformed"
    assert "talk.jsonl:2: " in rejected.fault.detail and reason in rejected.fault.detail


def test_everything_left_out_is_an_error_with_the_count(load):
    with pytest.raises(RunError, match=r"no usable row among 2 \(2 left out by filters\)"):
        load([("human", "short")], [("human", "brief")])


def test_bounds_that_leave_no_room_are_refused():
    with pytest.raises(ValueError, match="max_chars"):
        ShareGPT(path="x", **{**SETTINGS, "min_chars": 20, "max_chars": 21})
