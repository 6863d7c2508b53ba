from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill.document.chunk import KINDS, Chunk, spans
from evodistill.record import Record

TEXT = st.text(st.sampled_from("ab .!?\n\t。字"), min_size=1, max_size=400).filter(str.strip)


@given(TEXT, st.integers(20, 90), st.sampled_from(sorted(KINDS)))
def test_chunks_joined_are_the_text(text, size, by):
    """N3, N5, S2: nothing lost, none too long, none blank"""
    found = spans(text, size, 0, KINDS[by])
    assert "".join(text[start:end] for start, end in found) == text
    assert all(text[start:end].strip() for start, end in found[1:])
    assert all(len(text[start:end].strip()) <= size for start, end in found)


@given(TEXT, st.integers(20, 90), st.integers(1, 3))
def test_overlapping_chunks_leave_no_gap_and_end(text, size, overlap):
    """S2"""
    found = spans(text, size, overlap, KINDS["sentences"])
    assert found[0][0] == 0 and found[-1][1] == len(text)
    assert all(later[0] <= before[1] and later[1] >= before[1] for before, later in pairwise(found))


def test_sentences_come_again_where_they_overlap():
    text = "One is here. Two is here. Three is here. Four is here. "
    found = [text[start:end] for start, end in spans(text, 30, 1, KINDS["sentences"])]
    assert found == ["One is here. Two is here. ", "Two is here. Three is here. ", "Three is here. Four is here. "]


def test_a_chunk_ends_with_a_paragraph_where_it_can():
    text = "A first paragraph that is long enough.\n\nA second one. It has two sentences."
    first, _ = spans(text, 60, 0, KINDS["sentences"])
    assert text[slice(*first)] == "A first paragraph that is long enough.\n\n"


def test_a_word_that_is_too_long_is_cut():
    """N5"""
    assert spans("x" * 100, 30, 0, KINDS["words"]) == [(0, 30), (30, 60), (60, 90), (90, 100)]


def test_chunks_know_their_pages_and_offsets_and_the_document_is_set_aside():
    """N5, S6"""
    text = "Page one is here. " * 3 + "Page two is here. " * 3
    document = Record.seed("", text, document="a.pdf", starts=[0, 54])
    aside, *chunks = Chunk(size=40)([document], {})
    assert aside.fault and aside.fault.reason == "chunked" and aside.id == document.id
    assert [chunk.extra["pages"] for chunk in chunks] == [[1, 1], [1, 2], [2, 2]]
    for chunk in chunks:
        assert text[chunk.extra["start"] : chunk.extra["end"]] == chunk.input
        assert chunk.origin.parent == document.id and chunk.origin.seed == chunk.id


def test_ids_are_the_same_every_time_and_differ_by_place():
    document = Record.seed("", "Again and again. " * 20)
    first, second = (Chunk(size=40)([document], {}) for _ in range(2))
    assert [record.id for record in first] == [record.id for record in second]
    assert len({record.id for record in first}) == len(first)


@pytest.mark.parametrize("settings", [{"size": 5}, {"by": "lines"}, {"overlap": -1}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Chunk(**settings)
