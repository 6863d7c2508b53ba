import json
from dataclasses import replace

import pytest

from evodistill import RunError
from evodistill.record import Record, digest, read_records, split, to_line


def test_a_record_survives_the_disk_byte_for_byte(tmp_path):
    seed = Record.seed("Say “hi”\u2028now", "in\nput", "out", index=3, task="chat")
    child = seed.child("Say hi twice", step="s", operation="breadth", round=2, model="m", completion_tokens=7).reject(
        "empty", "why", "raw\x00"
    )
    path = tmp_path / "records.jsonl"
    path.write_text(to_line(seed.to_dict()) + to_line(child.to_dict()), encoding="utf-8", newline="\n")
    assert read_records(path) == [seed, child]


def test_alpaca_keys_come_first():
    assert list(Record.seed("a", "b", "c").to_dict())[:3] == ["instruction", "input", "output"]


def test_a_lone_surrogate_is_written_as_valid_utf8():
    line = to_line(Record.seed("broken \ud800 text").to_dict())
    assert line.encode("utf-8") and "\\ud800" in line


def test_what_json_does_not_know_is_null():
    value = {"x": [float("nan"), -float("inf"), 0.5], "text": "\ud800ü"}
    assert json.loads(to_line(value), parse_constant=pytest.fail) == {"x": [None, None, 0.5], "text": "\ud800ü"}


def test_ids_are_the_same_on_every_machine():
    assert Record.seed("Name a tea.").id == "67f99b27f651a4fc"
    assert digest({"b": 1, "a": "é"}) == digest({"a": "é", "b": 1})


def test_an_id_depends_on_text_and_origin_but_not_on_the_answer():
    seed = Record.seed("a")
    child = seed.child("b", round=1, operation="x")
    assert child.id != seed.child("b", round=2, operation="x").id
    assert child.id != seed.child("c", round=1, operation="x").id
    assert replace(child, output="answer").id == child.id


def test_lineage_names_seed_parent_operation_round_and_model():
    """EV3"""
    seed = Record.seed("a", index=9)
    child = seed.child("b", step="evol_instruct", operation="deepening", round=1, model="small", finish_reason="stop")
    grandchild = child.child("c", step="evol_instruct", operation="breadth", round=2, model="small")
    assert (grandchild.origin.seed, grandchild.origin.parent, grandchild.origin.index) == (seed.id, child.id, 9)
    assert (child.origin.operation, child.origin.round, child.origin.model) == ("deepening", 1, "small")
    assert grandchild.origin.finish_reason == "", "what belongs to the parent's reply is not inherited"


def test_the_first_fault_stays():
    record = Record.seed("a").reject("truncated").reject("empty")
    assert record.fault and record.fault.reason == "truncated"
    assert split([record, Record.seed("b")]) == ([Record.seed("b")], [record])


def test_the_prompt_joins_instruction_and_input_as_training_does():
    """RG4"""
    assert Record.seed("Sum up.", "Text.").prompt == "Sum up.\nText."
    assert Record.seed("Sum up.").prompt == "Sum up."


def test_a_torn_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(to_line(Record.seed("a").to_dict()) + '{"instruction": "tor')
    with pytest.raises(RunError, match=r"records.jsonl:2: not JSON"):
        read_records(path)
