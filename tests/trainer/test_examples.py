import pyarrow as pa
import pytest
from trainer.tiny import TEMPLATE, tokenizer

from evodistill.backend import chat
from evodistill.backend.tokens import encode
from evodistill.record import Fault
from evodistill.trainer.examples import Example, Row, RowFile, ended, example


def test_the_prompt_is_what_the_model_reads_when_it_is_asked(base):
    """C1, C4: one template, one code"""
    words = tokenizer(base)
    made = example(words, "Name a tea.", "Assam.")
    assert made.prompt == encode(words, chat("Name a tea."))
    assert words.decode(made.prompt) == "<|start|>user\nName a tea.<|end|>\n<|start|>assistant\n"


def test_the_answer_ends_with_the_end_token_and_nothing_behind_it(base):
    """C1: what the template writes behind the end token is never generated"""
    words = tokenizer(base)
    assert words.decode(example(words, "Name a tea.", "Assam.").answer) == "Assam.<|end|>"


def test_the_prompt_has_the_same_tokens_whatever_the_answer_begins_with(base):
    """An answer that begins with white space would merge with the end of the prompt"""
    words = tokenizer(base)
    assert example(words, "Tea?", "\n\nYes").prompt == example(words, "Tea?", "Yes").prompt


def test_a_template_that_rewrites_answered_prompts_is_a_reason(base):
    words = tokenizer(base)
    words.chat_template = "{{ messages | length }}" + TEMPLATE
    assert example(words, "Name a tea.", "Assam.").reason == "template_differs"


def test_an_end_token_is_added_where_the_template_writes_none():
    """Else the student would never stop"""
    assert ended([5, 6], 2) == [5, 6, 2]
    assert ended([5, 2, 6, 2, 7], 2) == [5, 2, 6, 2]
    assert ended([5], None) == [5]


def test_a_lone_surrogate_does_not_stop_the_training(base):
    assert not isinstance(example(tokenizer(base), "a\ud800b", "c\udfffd"), Fault)


@pytest.mark.parametrize(("limit", "left"), [(5, [4, 5]), (4, [4]), (3, []), (9, [4, 5])])
def test_a_cut_takes_the_end_of_the_answer(limit, left):
    assert Example([1, 2, 3], [4, 5]).cut(limit) == Example([1, 2, 3], left)


def test_rows_are_written_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("evodistill.trainer.examples.BATCH", 2)
    with RowFile(tmp_path / "rows.arrow") as file:
        for number in range(5):
            file.add(Row({"input_ids": [number] * number}, number, cut=number == 3))
    assert (file.rows, file.tokens, file.cut) == (5, 10, 1)
    found = pa.ipc.open_stream(str(tmp_path / "rows.arrow")).read_all().to_pylist()
    assert [row["input_ids"] for row in found] == [[number] * number for number in range(5)]


def test_rows_of_a_run_before_are_gone(tmp_path):
    with RowFile(tmp_path / "rows.arrow") as file:
        file.add(Row({"input_ids": [1]}, 1))
    with RowFile(tmp_path / "rows.arrow"):
        pass
    assert not (tmp_path / "rows.arrow").exists()
