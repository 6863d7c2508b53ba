import pytest

from evodistill.evolution.items import items


def kept(reply: str) -> list[str]:
    return [text for text, is_item in items(reply) if is_item]


def test_numbers_bullets_preambles_headers_and_blanks_go():
    """AI1"""
    listed = "1. Use two words.\n2) Use three words.\n\n- Use four words.\n* Use five."
    reply = f"Here are 50 instructions:\n\n## Words\n{listed}\nI hope this helps!"
    assert kept(reply) == ["Use two words.", "Use three words.", "Use four words.", "Use five."]
    assert [text for text, is_item in items(reply) if not is_item] == [
        "Here are 50 instructions:",
        "## Words",
        "I hope this helps!",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Use words that begin with re-",
        "-ing words only",
        "Separate words by - signs",
        "End with --",
        "3-word lines only",
    ],
)
def test_hyphens_of_the_text_stay(text):
    """AI2"""
    assert kept(f"- {text}") == [text]
    assert kept(text) == [text]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("- **Use two words.**", "Use two words."),
        ("1. **Word count:** Use two words.", "Use two words."),
        ("1. **Rule 1: ** Use two words.", "Use two words."),
        ('- "Use two words."', "Use two words."),
        ('- Use the word "tea" and "bread"', 'Use the word "tea" and "bread"'),
        ('- "tea" must come before "bread"', '"tea" must come before "bread"'),
        ("- Use *two* words", "Use *two* words"),
        ("(3) Use two words.", "Use two words."),
        ("- 2. Use two words.", "Use two words."),
    ],
)
def test_wrapping_goes_and_text_stays(line, text):
    assert kept(line) == [text]


def test_without_marks_each_line_is_an_item_but_headings():
    assert kept("Rules:\nUse two words.\n---\nUse three words.") == ["Use two words.", "Use three words."]


def test_code_is_no_item():
    assert kept("```python\ndef f(x):\n    return x\n```\nUse two words.") == ["Use two words."]
    assert kept("```\n- Use two words.\n```") == ["Use two words."]


def test_a_numbered_heading_is_no_item():
    assert kept("1. Words and letters:\n   - Use two words.") == ["Use two words."]


def test_nothing_is_nothing():
    assert items("") == [] and items("\n \n") == []
