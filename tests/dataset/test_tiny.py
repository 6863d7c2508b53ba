"""The shipped seeds: whole, varied, and without answers."""

from collections import Counter

from evodistill.dataset.tiny import Tiny

RECORDS = Tiny()([], {})


def test_tiny_has_64_usable_seeds():
    assert len(RECORDS) == 64
    assert not [record.fault for record in RECORDS if record.fault]


def test_tiny_mixes_kinds_inputs_and_languages():
    tasks = Counter(record.extra["task"] for record in RECORDS)
    languages = Counter(record.extra["language"] for record in RECORDS)
    assert sum(bool(record.input) for record in RECORDS) == 24
    assert tasks["maths"] == tasks["code"] == 8
    assert len(tasks) >= 16
    assert set(languages) == {"en", "es", "fr", "de", "zh", "ja", "hi", "ar", "pt"}
    assert sum(languages.values()) - languages["en"] == 8


def test_tiny_has_no_answers_and_no_stray_space():
    for record in RECORDS:
        assert record.output == ""
        assert record.instruction == record.instruction.strip() and record.input == record.input.strip()


def test_tiny_shows_code_and_tables_to_preserve():
    assert sum("```" in record.input for record in RECORDS) >= 4
    assert any(record.input.startswith("|") for record in RECORDS)


def test_tiny_draws_and_shards():
    assert len(Tiny(limit=24)([], {})) == 24
    assert sum(len(Tiny(shard=f"{i}/4")([], {})) for i in range(4)) == 64
    assert Tiny().sources[0].startswith("sha256:")
