"""Whatever a model, a file or a config holds: a value or a reason, in time, and never evaluated."""

import copy
import json
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from evodistill import RunError, config, prompt
from evodistill.autoif import case_forms, function_reply, loose_json
from evodistill.backend import Completion
from evodistill.backend.reply import Again, Stop, read
from evodistill.benchmark import gsm8k, humaneval, mbpp, mt_bench, win_rate
from evodistill.benchmark import instructions as ifeval
from evodistill.benchmark.items import Answer
from evodistill.dataset import rows
from evodistill.distill import anchored, extract, label, mfd, reasoning, written
from evodistill.document import chunk, paragraphs, rules
from evodistill.evolution import clean, constraint_rules, eliminate, four_steps, items, method
from evodistill.evolution.optimizer import answer
from evodistill.metric import keywords
from evodistill.parse import Parsed, parse_label, parse_score, parse_tag
from evodistill.record import Record, read_records, to_line

LABELS = ("very easy", "easy", "medium", "hard", "very hard")
ELIMINATOR = eliminate.Eliminator()
# each reads a model's reply or a line of a file, and is total
PARSERS = {
    "label": lambda text: parse_label(text, LABELS),
    "score": lambda text: parse_score(text, 0, 100),
    "tag": lambda text: parse_tag(text, "answer"),
    "class": lambda text: label.parse_class(text, ("Math", "Law")),
    "pair": extract.parse_pair,
    "items": items.items,
    "topics": anchored.parse_items,
    "mfd": lambda text: mfd.parse_pair(text, 0, 10),
    "reasoning": reasoning.parse_reasoning,
    "unwrapped": written.unwrapped,
    "clean": clean.clean,
    "final": four_steps.parse_final,
    "methods": lambda text: four_steps.parse_methods(text, "Write a list of methods."),
    "method": method.parse_method,
    "function": function_reply.read,
    "json": loose_json.loads,
    "assertion": lambda text: list(case_forms.asserted(text)),
    "unfit": lambda text: constraint_rules.unfit(text, 3, 40, "Add one constraint to this list."),
    "eliminate": lambda text: ELIMINATOR.reason("Name three kinds of tea.", text, prompt="Rewrite it.", answer="Tea."),
    "failure": answer.failure,
    "gsm8k": lambda text: (gsm8k.strict(text), gsm8k.flexible(text)),
    "humaneval": lambda text: humaneval.written("def add(a, b):\n", "add", text),
    "mbpp": lambda text: mbpp.written(["assert add(1, 2) == 3"], text),
    "rating": lambda text: mt_bench.parse_rating(Answer(text)),
    "verdict": win_rate.parse_verdict,
    "keywords": lambda text: keywords.parse_phrase(text, 4),
    "reply": lambda text: read(200, {}, text.encode("utf-8", "surrogatepass"), 0),
    "rules": lambda text: [rule([text, text]) for rule in rules.RULES.values()],
    "paragraphs": lambda text: paragraphs.figures(paragraphs.paragraphs([text])[0]),
    "chunks": lambda text: chunk.spans(text, 1000, 1, chunk.SENTENCE),
    "placeholders": lambda text: ifeval.placeholders(text, 2),
    "bullets": lambda text: ifeval.bullets(text, 2),
    "title": ifeval.title,
}
# what replies are made of, beside text of all planes: control characters, lone surrogates, right-to-left, templates
PARTS = [
    *(
        "\n",
        "\n\n",
        " ",
        "\t",
        "\x00",
        "\ud800",
        "\udfff",
        "\U0010ffff",
        "\u202e",
        "שלום",
        "مرحبا",
        "漢字",
        "\u2028",
        "\x1c",
    ),
    *(
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{# #}",
        "{instruction}",
        "${oc.env:HOME}",
        "%s",
        "\\",
        '"',
        "'",
        "`",
        "```python\n",
        "\n```\n",
    ),
    *(
        "<answer>",
        "</answer>",
        "<instruction>",
        "</response>",
        "<think>",
        "</think>",
        "[[",
        "]]",
        "<<",
        ">>",
        "***",
        "#### ",
    ),
    *(
        "Score: ",
        "85",
        "1e999",
        "-",
        "/100",
        "Rating: [[9]]",
        "Better: 1",
        "very easy",
        "Instruction: ",
        "Response: ",
        "Topic: ",
    ),
    *(
        "#Rewritten Prompt#:",
        "Sure! ",
        "Here is the new prompt:",
        "\nNote: ",
        "Step 4 Finally Rewritten Instruction:",
        "Methods:",
    ),
    *(
        "def evaluate(response):\n    return True\n",
        "assert evaluate('a') == True",
        "Follows: a",
        '{"func": ',
        "- ",
        "1. ",
        "a|b\n-|-",
    ),
]
REPEATED = [
    *(
        " ",
        "\n",
        "\t",
        "a",
        "#",
        "*",
        "```\n",
        "[",
        "<<",
        "<answer>",
        "Score: ",
        "Score: 1 ",
        "#Rewritten Prompt#:\n",
        "Sure! ",
    ),
    *(
        "Here is the new prompt:\n",
        "Final Rewritten Instruction\t",
        "x = 1\n",
        "def evaluate(r):\n ",
        '{"func": ',
        "a|b\n-|-\n",
    ),
]
REPLIES = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=20)), max_size=12).map("".join)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", PARSERS)
@given(text=st.one_of(REPLIES, st.text()))
@QUICK
def test_a_parser_is_total(name, text):
    found = PARSERS[name](text)
    if isinstance(found, Parsed):
        assert (found.value is None) == bool(found.reason)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_takes_time_in_proportion_to_what_a_model_repeats(name):
    PARSERS[name]("what it loads is loaded")
    for part in REPEATED:
        text = part * (10_000 // len(part))
        started = time.process_time()
        PARSERS[name](text)
        assert time.process_time() - started < 2, f"10,000 characters of {part!r}"


@pytest.mark.parametrize("join", [" + ", " == "])
def test_an_expression_that_is_deeper_than_the_stack_has_a_reason(join):
    block = "```python\ndef evaluate(r):\n    return True\nassert evaluate({})\n```"
    found = function_reply.read(block.format(join.join(["'a'"] * 1500)))
    assert found.value and not found.value.cases and found.value.bad
    found = function_reply.read(block.format("'a') " + "".join(["and not "] * 1500) + "print('a'"))
    assert found.value and not found.value.cases


@given(body=st.one_of(st.binary(), REPLIES.map(lambda text: text.encode("utf-8", "replace"))))
@QUICK
def test_any_body_of_any_status_is_an_answer_or_a_reason(body):
    for status in (200, 400, 429, 500):
        outcome, _ = read(status, {"retry-after": body.decode("latin-1")}, body, 2)
        assert isinstance(outcome, Completion | Again | Stop)
        assert not isinstance(outcome, Completion) or outcome.text or outcome.error


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | REPLIES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(REPLIES, inner, max_size=3),
    max_leaves=6,
)


@given(instruction=REPLIES, input=st.text(), output=REPLIES, extra=st.dictionaries(st.text(), JSONS, max_size=3))
@QUICK
def test_a_record_of_any_text_comes_back_as_it_went(tmp_path_factory, instruction, input, output, extra):
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    record = Record.seed(instruction, input, output).child("c", extra=extra).reject("r", raw=input)
    path.write_bytes(to_line(record.to_dict()).encode())
    assert read_records(path) == [record]


@given(st.one_of(st.binary(), st.lists(JSONS, max_size=3).map(lambda v: "\n".join(map(json.dumps, v)).encode())))
@QUICK
def test_a_file_of_any_bytes_is_records_or_one_line_that_names_it(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_bytes(content)
    try:
        read_records(path)
    except RunError as error:
        assert "delete the folder" in str(error)


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "1" * 5000, "\xff", '{"id": "a"}', "[]", '"text"', '{"instruction": "a']
)
def test_a_line_that_is_no_record_is_one_line(tmp_path, line):
    (tmp_path / "records.jsonl").write_bytes(line.encode("latin-1"))
    with pytest.raises(RunError, match="delete the folder"):
        read_records(tmp_path / "records.jsonl")


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv"])
@given(content=st.one_of(st.binary(min_size=1), REPLIES.map(lambda text: ("[{" + text).encode("utf-8", "replace"))))
@QUICK
def test_a_seed_file_of_any_bytes_is_rows_with_or_without_fault_or_one_line(tmp_path_factory, suffix, content):
    path = tmp_path_factory.mktemp("seeds") / f"seeds.{suffix}"
    path.write_bytes(content)
    try:
        for row in rows.read(path):
            assert row.fault or row.value is not Ellipsis
    except RunError as error:
        assert str(path) in str(error)


def test_lines_of_ten_megabytes_are_read_written_and_judged_in_seconds(tmp_path):
    text = "{{ 7 * 7 }} word\n" * (10 * 2**20 // 17)
    path = tmp_path / "seeds.jsonl"
    path.write_text(json.dumps({"instruction": text}) + "\n")
    started = time.process_time()
    (row,) = rows.read(path)
    record = Record.seed(row.value["instruction"])
    path.write_text(to_line(record.to_dict()))
    assert read_records(path) == [record]
    assert text.strip() in prompt.render("respond/plain", instruction=record.instruction, input="")
    for name in ("score", "tag", "pair"):
        PARSERS[name](text)
    assert time.process_time() - started < 60


@given(instruction=REPLIES, input=REPLIES)
@QUICK
def test_data_is_never_a_template(instruction, input):
    """Whatever stands in the data stands in the prompt, as it was."""
    for name in ("respond/plain", "evol_instruct/deepening", "evol_instruct/breadth"):
        made = prompt.render(name, instruction=instruction, input=input)
        assert instruction.strip() in made
    filled = method.Method("Make {instruction} harder. Finally Rewritten Instruction:").fill(Record.seed(instruction))
    assert filled == f"Make {instruction} harder. Finally Rewritten Instruction:"


@pytest.fixture
def smoke(cfg):
    return cfg("+experiment=smoke")


@given(
    key=st.sampled_from(["steps", "metric", "seed", "evolution", "evolver", "tracker", "name", "axes", "artifacts"]),
    value=JSONS,
)
@settings(QUICK, max_examples=20)
@example(key="metric", value=1)
def test_any_value_in_a_config_passes_or_is_one_line(smoke, key, value):
    composed = copy.deepcopy(smoke)
    OmegaConf.set_struct(composed, False)
    try:
        composed[key] = value
        config.check(composed)
    except RunError as error:
        assert str(error)
