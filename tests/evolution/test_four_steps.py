import pytest

from evodistill import prompt
from evodistill.evolution.four_steps import bullets, parse_final, parse_methods

TEXT = "Explain why the sky is blue at noon and red at dusk."
REPLY = f"""Methods List:
- Add a constraint
- Ask for a comparison
Plan:
Compare noon with dusk.
Rewritten Instruction:
Explain the colours of the sky.
Finally Rewritten Instruction:
{TEXT}"""


@pytest.mark.parametrize(
    "heading",
    [
        "Finally Rewritten Instruction:\n",
        "Finally Rewritten Instruction: ",
        "Final Rewritten Instruction: ",
        "#Finally Rewritten Instruction#:\n",
        "#Finally Rewritten Instruction#\n",
        "#Final Rewritten Instruction#: ",
        "**Finally Rewritten Instruction:** ",
        "**Final Rewritten Instruction**: ",
        "**Finally Rewritten Instruction**\n\n",
        "### Final Rewritten Instruction\n",
        "Step 4: #Finally Rewritten Instruction#:\n",
        "**Step 4 #Final Rewritten Instruction#:**\n",
        "### Step 4. Finally Rewritten Instruction\n",
        "4. Finally Rewritten Instruction:\n",
        "4. **Finally Rewritten Instruction:** ",
        "finally rewritten instruction - ",
        "FINALLY REWRITTEN INSTRUCTION：",
        '"Final Re-written Instruction": ',
        "Finally Rewritten Instruction (step 4):\n",
        "The Final Rewritten Prompt:\n",
    ],
)
@pytest.mark.parametrize("wrap", ["{}", '"{}"', "{}\n", "```\n{}\n```"])
def test_the_final_instruction_is_found_whatever_its_heading(heading, wrap):
    """AE2: label, colon and newline are not needed exactly"""
    reply = f"Methods List:\n- Add a constraint\n\nPlan: compare.\n\n{heading}{wrap.format(TEXT)}"
    assert parse_final(reply).value == TEXT


def test_an_echo_of_the_prompt_before_the_reply_is_not_the_instruction():
    """AE2"""
    asked = prompt.render("auto_evol/universal", instruction="Name a tea.", input="")
    assert parse_final(asked + "\n" + REPLY).value == TEXT
    assert parse_methods(asked + "\n" + REPLY) == ["Add a constraint", "Ask for a comparison"]


def test_the_heading_is_no_heading_inside_a_sentence():
    assert (
        parse_final("In the end I write the Finally Rewritten Instruction: but not yet.").reason == "no_final_heading"
    )
    assert parse_final("Rewritten Instruction: Name three teas.").reason == "no_final_heading"


def test_several_lines_stay_and_what_follows_does_not():
    text = "Write a table of teas:\n\n| tea | taste |\n|---|---|\n\nThen explain it."
    assert parse_final(f"Finally Rewritten Instruction:\n{text}").value == text
    assert parse_final(f"Finally Rewritten Instruction:\n{text}\n\nStep 5: answer it.\nGreen tea.").value == text
    assert parse_final(f"Finally Rewritten Instruction: {text}\n\nNote: I added a table.").value == text


@pytest.mark.parametrize(
    "text",
    [
        "Write these up:\nStep 1: boil water\nStep 4: wait\nStep 5: serve",
        "Plan a week.\nStep 5 must be about food.",
        "Step 1: boil. Say what follows.\nStep 6: serve",
    ],
)
def test_an_instruction_may_have_steps_of_its_own(text):
    assert parse_final(f"Finally Rewritten Instruction:\n{text}").value == text


def test_a_reply_without_a_final_instruction_has_a_reason():
    """AE3"""
    assert parse_final("").reason == "no_final_heading"
    assert parse_final("Name three teas.").reason == "no_final_heading"
    assert parse_final("Methods List:\n- x\nFinally Rewritten Instruction:\n").reason == "nothing_under_heading"


@pytest.mark.parametrize(
    "start",
    [
        "Methods List:\n",
        "Method List:\n",
        "#Methods List#:\n",
        "Step 1 #Methods List#:\n",
        "**Step 1: Methods List**\n",
        "### Methods\n",
        "List of methods:\n",
        "Here is what I would do.\n\n**Possible Methods List:**\n\n",
    ],
)
@pytest.mark.parametrize(
    "end", ["Plan:\n", "Step 2 #Plan#: ", "\n**Plan**\n", "Step 2: combine them\n", "Rewritten Instruction: "]
)
def test_the_methods_of_step_1_are_found_in_either_spelling(start, end):
    """AE9: the published skip test looked for "Method List" while its label says "Methods List" """
    reply = f"{start}- Add a constraint\n- Ask for a comparison\n{end}Compare.\nFinally Rewritten Instruction: x"
    assert parse_methods(reply) == ["Add a constraint", "Ask for a comparison"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("- a b\n\n- c\n\n\n", ["a b", "c"]),  # blank lines are no methods
        ("- add a constraint that\n  goes over two lines\n- c", ["add a constraint that goes over two lines", "c"]),
        ("1. **Add depth:** ask why\n2. *Compare*\n10) Narrow", ["Add depth: ask why", "Compare", "Narrow"]),
        ("- Depth\n  - ask why\n  - ask how\n- Breadth", ["Depth ask why ask how", "Breadth"]),
        ("- a\n- b\n\nThese make it harder.", ["a", "b"]),
        ("I can think of two:\n* a\n* b", ["a", "b"]),
        ("- same\n- Same\n- other", ["same", "other"]),
        ("a\nb", ["a", "b"]),
        ("-ing words\n", ["-ing words"]),
        ("- \n- ...\n- x", ["x"]),
        ("", []),
    ],
)
def test_bullets_are_methods_and_lines_are_not(text, found):
    """AE9"""
    assert bullets(text) == found


def test_a_reply_without_step_1_has_no_methods():
    assert parse_methods("Finally Rewritten Instruction: Name three teas.") == []
    assert parse_methods("- Name three teas.\n- Name a river.") == []
    assert parse_methods("") == []


def test_what_was_copied_from_the_prompt_is_no_method():
    asked = "Reply in this form:\nMethods List:\n- (one method a line)\nPlan: (one or two sentences)"
    reply = "Methods List:\n- (One method a line)\n- one\n- Reply in a table\nPlan: x"
    assert parse_methods(reply, asked) == ["one", "Reply in a table"]
