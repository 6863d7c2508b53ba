import pytest

from evodistill.document.quality import Quality
from evodistill.record import Record


def reason(text, **settings):
    [record] = Quality(**settings)([Record.seed("", text)], {})
    return record.fault.reason if record.fault else ""


PROSE = (
    "The village on the coast has a harbour, a church and forty houses, and most of its people fish for a living. " * 1
)
LONG = " ".join(
    f"Sentence number {word} tells something new about {word} things."
    for word in ["old", "red", "wet", "dry", "odd", "raw", "big", "sad", "shy"]
)


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (LONG, {}, ""),
        ("Too short.", {}, "too_short"),
        ("12.5 33 % | " * 40, {"max_repeated": None}, "few_letters"),
        ("again and again " * 30, {}, "repetitive"),
        (LONG, {"languages": ["de"]}, "language"),
        (LONG, {"languages": ["en"]}, ""),
    ],
)
def test_a_chunk_that_is_no_prose_has_a_reason(text, settings, expected):
    assert reason(text, **settings) == expected


def test_the_same_passage_in_another_document_is_a_near_duplicate():
    records = [Record.seed("", LONG, index=0), Record.seed("", LONG + " And then one more.", index=1)]
    done = Quality()(records, {})
    assert done[0].fault is None and done[1].fault and done[1].fault.reason == "near_duplicate"


def test_bounds_are_checked():
    with pytest.raises(ValueError, match="minhash must be"):
        Quality(minhash=2)
