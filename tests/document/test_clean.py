from dataclasses import replace

from evodistill.document import PAGE
from evodistill.document.clean import Clean, joined
from evodistill.record import Record


def document(*pages, kind="pdf"):
    return replace(Record.seed("", PAGE.join(pages)), extra={"kind": kind})


def test_every_rule_can_be_switched_off_and_is_counted():
    words = ("old", "new", "red", "dry")
    pages = [f"Head\nThe ﬁrst {word} line is\nbroken {word} here.\n{n}" for n, word in enumerate(words, 1)]
    [done] = Clean()([document(*pages)], {})
    counts = done.extra["cleaned"]
    assert counts["unicode"] == 4 and counts["heads"] == 3 + 4 and counts["paragraphs"] > 0
    [raw] = Clean(unicode=False, heads=False)([document(*pages)], {})
    assert "ﬁrst" in raw.input and raw.input.count("Head") == 4 and "heads" not in raw.extra["cleaned"]


def test_offsets_tell_where_each_page_begins():
    [done] = Clean()([document("First page ends.", "Second page ends.", "Third.")], {})
    starts = done.extra["starts"]
    assert [done.input[at:].split()[0] for at in starts] == ["First", "Second", "Third."]


def test_a_sentence_goes_on_over_the_end_of_a_page():
    assert joined(["It begins", "and ends.", "Next."]) == ("It begins and ends.\n\nNext.", [0, 10, 21])


def test_markdown_keeps_its_lines():
    """S4"""
    text = "# Title\n\n- one\n- two\n\n```\nx = 1\ny = 2\n```"
    assert Clean()([document(text, kind="markdown")], {})[0].input == text


def test_a_document_of_which_a_line_is_left_is_kept():
    [done] = Clean()([document("12", "\u200b")], {})
    assert done.input == "12" and not done.fault


def test_nothing_left_is_a_reject():
    [done] = Clean()([document("\u200b", "\x07")], {})
    assert done.fault and done.fault.reason == "empty"
