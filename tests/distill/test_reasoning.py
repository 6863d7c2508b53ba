import pytest

from evodistill.distill.reasoning import parse_reasoning


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("<think>\nHm.\n\nSo 4.\n</think>\n\nFour.", ("Hm.\n\nSo 4.", "Four.")),
        ("Hm. So 4.</think>Four.", ("Hm. So 4.", "Four.")),  # the template opened it
        ("Four.", ("", "Four.")),
        ("<think></think>Four.", ("", "Four.")),
        (
            "<|begin_of_thought|>Hm.<|end_of_thought|><|begin_of_solution|>Four.<|end_of_solution|>",
            ("Hm.", "Four."),
        ),
        ("<think>想一想。</think>四。🍵", ("想一想。", "四。🍵")),
    ],
)
def test_reasoning_and_answer_are_told_apart(text, pair):
    assert parse_reasoning(text).value == pair


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<think>Hm.", "reasoning_not_closed"),
        ("<think>Hm.</think>  ", "answer_empty"),
        ("<think>Hm.</think>Four.<think>Or five?</think>Five.", "several_reasonings"),
    ],
)
def test_reasoning_without_end_or_answer_has_a_reason(text, reason):
    assert parse_reasoning(text).reason == reason
