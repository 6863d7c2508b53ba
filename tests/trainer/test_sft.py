from dataclasses import replace

import pytest
from trainer.tiny import ARGS, tokenizer

from evodistill.record import Fault, Record
from evodistill.trainer.examples import IGNORED, example
from evodistill.trainer.sft import SFT


def sft(**given) -> SFT:
    return SFT("student", "tuned", **{"args": ARGS} | given)


def record(answer: str, question: str = "Name a tea.") -> Record:
    return Record.seed(question, output=answer)


def test_only_the_answer_is_learned(base):
    """C3"""
    words = tokenizer(base)
    row = sft().row(record("Assam."), words, 256)
    learned = [id for id in row.columns["labels"] if id != IGNORED]
    assert words.decode(learned) == "Assam.<|end|>"
    assert row.columns["labels"][: len(row.columns["labels"]) - len(learned)] == [IGNORED] * (row.tokens - len(learned))
    assert words.decode(row.columns["input_ids"]).endswith("assistant\nAssam.<|end|>")


def test_the_input_is_part_of_the_prompt(base):
    """RG4: as it is when the student is asked"""
    words = tokenizer(base)
    row = sft().row(replace(record("Short."), input="A long text."), words, 256)
    assert "Name a tea.\nA long text." in words.decode(row.columns["input_ids"])


def test_a_long_answer_loses_its_end_and_is_counted(base):
    """C3: never silently"""
    words = tokenizer(base)
    whole = example(words, "Name a tea.", "Assam. " * 50)
    row = sft().row(record("Assam. " * 50), words, 40)
    assert row.cut and row.tokens == 40 and row.columns["input_ids"] == (whole.prompt + whole.answer)[:40]
    assert not sft().row(record("Assam."), words, 256).cut


@pytest.mark.parametrize(
    ("given", "limit", "settings", "reason"),
    [
        (record(""), 256, {}, "no_answer"),
        (record(" \n"), 256, {}, "no_answer"),
        (record("Assam.", "Name a tea. " * 30), 50, {}, "prompt_too_long"),
        (record("Assam. " * 50), 40, {"truncate": False}, "too_long"),
    ],
)
def test_what_cannot_be_learned_has_a_reason(base, given, limit, settings, reason):
    fault = sft(**settings).row(given, tokenizer(base), limit)
    assert isinstance(fault, Fault) and fault.reason == reason
