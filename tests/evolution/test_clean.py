import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill.evolution.clean import clean

PROMPT = "Name three kinds of tea and say where each is grown."


@pytest.mark.parametrize(
    "reply",
    [
        PROMPT,
        f"  {PROMPT}\n",
        f"#The Rewritten Prompt#:\n{PROMPT}",
        f"#Rewritten Prompt#: {PROMPT}",
        f"**Rewritten Prompt:** {PROMPT}",
        f"### New instruction:\n{PROMPT}",
        f"Here is the rewritten prompt:\n\n{PROMPT}",
        f"Sure! Here's a more complex version of the prompt:\n{PROMPT}",
        f"Certainly! {PROMPT}",
        f'"{PROMPT}"',
        f"“{PROMPT}”",
        f"```\n{PROMPT}\n```",
        f'Here is the new prompt: "{PROMPT}"',
        f"#The Given Prompt#:\nName three kinds of tea.\n\n#The Rewritten Prompt#:\n{PROMPT}",
        f"{PROMPT}\n\nNote: I added a place to each tea.",
        f"{PROMPT}\n\n**Explanation:** this adds a constraint.",
        f"{PROMPT}\n\nI have added one more requirement to make it harder.",
        f"{PROMPT}\n\n#The Given Input#:\nnothing",
    ],
)
def test_what_surrounds_the_instruction_is_stripped(reply):
    """EV2: headings, preambles, quotes, fences, notes"""
    assert clean(reply) == PROMPT


@pytest.mark.parametrize(
    "text",
    [
        'Define "x" and "y"',
        "Write a note: it should thank the host.",
        "Explain this code:\n```python\nprint(1)\n```",
        "Compare the following:\n- tea\n- coffee",
        "¿Cuál es la capital de Francia?",
        "Here is a list of numbers: 1, 2, 3. Sort them.",
        "Write a prompt for an image of a cat.",
    ],
)
def test_an_instruction_without_wrapping_stays_as_it_is(text):
    assert clean(text) == text


@given(st.text(max_size=200))
def test_cleaning_is_total_and_idempotent(text):
    assert clean(clean(text)) == clean(text)
