import pytest

from evodistill import prompt
from evodistill.evolution.method import SLOT, Method, parse_method, slotted
from evodistill.record import Record

TEXT = f"Make this harder.\n\nInstruction: {SLOT}\n\nEnd with Finally Rewritten Instruction:"
BRACES = [
    "{{ 7*7 }}",
    "{% raw %}",
    "{% endraw %}",
    "{# note #}",
    "{",
    "}}",
    "{0}",
    "{{{",
    "{%- if x -%}",
    "#}",
    "{{ '{{' }}",
]


@pytest.mark.parametrize("text", BRACES)
def test_braces_of_a_method_are_text_in_use_and_in_its_file(text, tmp_path):
    """AE7: a method that a model wrote is data; its saved file shows it as it is"""
    method = Method(f"{text} Make this harder: {text}{SLOT}{text}\nFinally Rewritten Instruction: {text}")
    file = tmp_path / "method.jinja"
    file.write_text(method.template())
    for record in (Record.seed("Name a tea."), Record.seed("Sum up.", "A text.")):
        filled = method.fill(record)
        assert filled.count(text) >= 4 and "49" not in filled
        assert prompt.render(str(file), instruction=record.instruction, input=record.input) == filled


@pytest.mark.parametrize("text", [*BRACES, SLOT])
def test_braces_of_an_instruction_are_text(text):
    """AE7"""
    assert Method(TEXT).fill(Record.seed(f"Explain {text}.")) == TEXT.replace(SLOT, f"Explain {text}.", 1)


def test_the_input_is_shown():
    """AE6, EV1"""
    assert "Sum up.\n\nInput: A text." in Method(TEXT).fill(Record.seed("Sum up.", "A text."))


@pytest.mark.parametrize("name", ["auto_evol/universal", "auto_evol/short"])
def test_a_packaged_method_reads_the_same_as_text(name):
    method = slotted(name)
    for record in (Record.seed("Name a tea."), Record.seed("Sum up.", "A text.")):
        assert method.fill(record) == prompt.render(name, instruction=record.instruction, input=record.input)


@pytest.mark.parametrize(
    "reply",
    [
        f"```Optimized Method\n{TEXT}\n```",
        f"Here it is:\n\n```Optimised Method\n{TEXT}\n```\nI hope that it helps.",
        f"**Optimized Method**\n\n```\n{TEXT}\n```",
        f"### Optimized Method:\n```text\n{TEXT}\n```",
        f"```\n{TEXT}\n```",
        f"The old one:\n```\nold {SLOT}\n```\nOptimized Method:\n```\n{TEXT}\n```",
        f"```optimized_method\n{TEXT.replace(SLOT, '{{ instruction }}')}\n```",
        f"```Optimized Method\n{TEXT.replace(SLOT, '{{Instruction}}')}\n```",
    ],
)
def test_the_method_is_read_from_its_block(reply):
    found = parse_method(reply).value
    assert found and found.text == TEXT


def test_a_block_inside_the_method_belongs_to_it():
    inner = f"{TEXT}\n```\nMethods List:\n```\nThat was an example."
    found = parse_method(f"```Optimized Method\n{inner}\n```").value
    assert found and found.text == inner


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no_block"),
        ("I would ask for more.", "no_block"),
        (f"```Optimized Method\n{TEXT}", "no_block"),  # cut off
        (f"```\n{TEXT}\n```\nor\n```\n{TEXT}\n```", "several_blocks"),
        ("```Optimized Method\nFinally Rewritten Instruction:\n```", "no_slot"),
        (f"```Optimized Method\n{TEXT}\n{SLOT}\n```", "several_slots"),
        (f"```Optimized Method\nMake it harder: {SLOT}\n```", "no_final_heading"),
        ("```Optimized Method\n\n```", "empty"),
        (f"```Optimized Method\n{TEXT}\n{'more ' * 2000}\n```", "too_long"),
    ],
)
def test_a_candidate_without_a_slot_or_a_final_heading_is_refused(reply, reason):
    """AE4"""
    assert parse_method(reply).reason == reason


def test_a_method_without_a_slot_is_no_method():
    with pytest.raises(ValueError, match="no_slot"):
        Method("Finally Rewritten Instruction:")
