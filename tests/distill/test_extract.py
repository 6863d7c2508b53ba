import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.extract import Extract, parse_pair
from evodistill.record import Record

CORK = "Cork is the bark of the cork oak. The first harvest is possible after twenty-five years."
PAIR = "Instruction: How old is a cork oak when it is first harvested?\nResponse: Twenty-five years."


def extract(records, *replies, **settings):
    reader = Fake.scripted(*replies)
    return Extract(model="teacher", **settings)(records, {"teacher": reader}), reader


def test_a_pair_is_a_child_of_its_passage_and_the_passage_is_set_aside():
    made, reader = extract([Record.seed(CORK, document="cork.pdf", pages=[3])], PAIR)
    passage, pair = made
    assert passage.fault and passage.fault.reason == "passage" and CORK in reader.asked[0].chat[0]["content"]
    assert (pair.instruction, pair.output) == (
        "How old is a cork oak when it is first harvested?",
        "Twenty-five years.",
    )
    assert pair.origin.parent == passage.id and pair.extra == {"document": "cork.pdf", "pages": [3]} and not pair.fault


def test_the_passage_is_the_input_where_there_is_one():
    _, reader = extract([Record.seed("Sum up the text.", CORK)], PAIR)
    asked = reader.asked[0].chat[0]["content"]
    assert CORK in asked and "Sum up" not in asked


def test_passages_can_go_on_too():
    assert not extract([Record.seed(CORK)], PAIR, keep_passage=True)[0][0].fault


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Cork is a bark.", "no_pair"),
        ("Instruction: Who?", "no_pair"),
        ("Instruction:\nResponse: Nobody.", "half_a_pair"),
        ("Instruction: What does the passage say about cork?\nResponse: That it is a bark.", "needs_passage"),
        ("指令：本文讲了什么？\n回答：软木。", "needs_passage"),
        (Completion(PAIR, "length", 9, 9), "truncated"),
        (Completion("", "error", error="context"), "no_reply"),
    ],
)
def test_half_a_pair_is_none(reply, reason):
    """C9: nor is one that was cut off; S6: nor one that cannot be followed without the text"""
    made, _ = extract([Record.seed(CORK)], reply)
    assert made[1].fault and made[1].fault.reason == reason


@pytest.mark.parametrize(
    "reply",
    [
        "<instruction>Who?</instruction><response>Nobody.\n\n```python\nprint(1)\n```</response>",
        "**Instruction:** Who?\n\n**Response:** Nobody.\n\n```python\nprint(1)\n```",
        "Here you are.\n\nInstruction: Who?\nAnswer: Nobody.\n\n```python\nprint(1)\n```\n",
        "指令：Who?\n回答：Nobody.\n\n```python\nprint(1)\n```",
    ],
)
def test_tags_and_labels_are_read_and_answers_keep_their_lines(reply):
    """S4: newlines inside an answer are kept"""
    assert parse_pair(reply).value == ("Who?", "Nobody.\n\n```python\nprint(1)\n```")
