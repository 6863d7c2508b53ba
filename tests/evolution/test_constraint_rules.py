import pytest

from evodistill.evolution.constraint_rules import Known, unfit


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Use exactly twelve words.", ""),
        ("Words must be sorted by length.", ""),
        ("Schreibe jedes Wort gross: Übung.", ""),
        ("No vowels", "too_short"),
        ("Use " + "very " * 50 + "long words", "too_long"),
        ("I'm sorry, but I cannot write rules.", "refusal"),
        ("Insert an image after each sentence.", "not_checkable"),
        ("Write in a friendly tone.", "not_checkable"),
        ("Add a hyperlink to a source.", "not_checkable"),
        ("```python\nUse two words\n```", "code"),
        ("The cat has four legs and a tail.", "no_requirement"),
    ],
)
def test_what_is_no_constraint_has_a_reason(text, reason):
    assert unfit(text, 3, 40)[0] == reason


def test_words_of_the_prompt_are_a_leak():
    asked = "They are not about topic, tone, style or feelings. Write one rule a line."
    assert unfit("Always write one rule a line.", 3, 40, asked) == ("leaked", "write one rule a line")


def test_the_published_seeds_pass_but_for_style_and_translation(shared):
    lines = (shared / "data/autoif_sample/seed_instruction.txt").read_text().splitlines()
    assert {line: unfit(line, 3, 40)[0] for line in lines if unfit(line, 3, 40)[0]} == {
        "Construct the reply as if it's a telegram STOP": "not_checkable",
        "Incorporate a famous movie quote seamlessly into your answer": "not_checkable",
        "Translate your answer into emojis": "not_checkable",
    }


def test_exact_and_near_duplicates_are_found():
    """AI1"""
    known = Known(0.9)
    known.add("Use exactly two semicolons.", "of_seed")
    assert known.find("use exactly  two semicolons") == ("of_seed", "Use exactly two semicolons. (similarity 1.000)")
    assert known.find("Use exactly two semicolon") is not None
    assert known.find("Use at least nine commas.") is None
    assert Known(1.0).find("Use exactly two semicolons.") is None


def test_with_similarity_1_only_exact_duplicates_are_found():
    known = Known(1.0)
    known.add("Use exactly two semicolons.", "of_earlier")
    assert known.find("USE EXACTLY TWO SEMICOLONS") and not known.find("Use exactly two semicolon")
