"""The shipped constraints, and a file of one's own."""

import pytest

from evodistill import RunError
from evodistill.dataset.constraints import Constraints
from evodistill.evolution.constraint_rules import Known, unfit

RECORDS = Constraints()([], {})


def test_there_are_36_of_many_kinds():
    assert len(RECORDS) == 36 and not any(record.fault for record in RECORDS)
    assert len({record.extra["kind"] for record in RECORDS}) >= 8


def test_they_keep_the_rules_that_new_constraints_must_keep():
    known = Known(0.9)
    for record in RECORDS:
        assert unfit(record.instruction, 3, 40) == ("", ""), record.instruction
        assert known.find(record.instruction) is None, record.instruction
        known.add(record.instruction, "of_seed")


def test_a_text_file_has_one_constraint_a_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("Use two words.\n\n  End with a dash -\nUse two words.\n")
    records = Constraints(path=str(path))([], {})
    assert [record.instruction for record in records] == ["Use two words.", "End with a dash -", "Use two words."]
    assert records[2].fault and records[2].fault.reason == "duplicate"
    assert [record.origin.index for record in records] == [0, 1, 2]


def test_other_files_have_a_column(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"rule": "Use two words."}\n{"rule": 7}\n{"other": "x"}\n"Write no digits."\n')
    records = Constraints(path=str(path), column="rule")([], {})
    assert [record.instruction for record in records if not record.fault] == ["Use two words.", "Write no digits."]
    assert [record.fault.detail.partition(": ")[2] for record in records if record.fault] == [
        "rule is a number, not text",
        "no rule",
    ]


def test_a_missing_file_is_named():
    with pytest.raises(RunError, match=r"no such file: nowhere\.txt"):
        _ = Constraints(path="nowhere.txt").sources


def test_the_published_seeds_can_be_used(shared):
    records = Constraints(path=str(shared / "data/autoif_sample/seed_instruction.txt"))([], {})
    assert len(records) == 36 and not any(record.fault for record in records)
