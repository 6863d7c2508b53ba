import json
from dataclasses import replace

import pytest
from document_text import PROSE

from evodistill.backend import Completion, Sampling
from evodistill.backend.fake import Fake
from evodistill.document.llm_clean import LLMClean

WARM = Sampling(temperature=0.7, top_p=0.9, max_tokens=512)


def repaired(passages, *replies, **settings):
    model = Fake.scripted(*replies)
    return LLMClean(model="teacher", **settings)(passages, {"teacher": model}), model


def test_the_reply_is_kept_from_its_first_character(passages):
    """N1, N2: one user turn, and what came back"""
    (records, _), model = repaired(passages[:1], PROSE)
    assert records[0].input == PROSE.strip() and records[0].extra["clean_method"] == "llm"
    [request] = model.asked
    assert [message["role"] for message in request.chat] == ["user"] and PROSE.strip() in request.chat[0]["content"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("A harbour was built.", "shortened"),
        (PROSE + PROSE, "lengthened"),
        (Completion(PROSE, "length"), "truncated"),
        (Completion("", "error", error="gone"), "no_reply"),
        ("Sure! " + PROSE, "preamble"),
        ("- " + PROSE, "markdown"),
        (PROSE.replace("1821", "1822"), "new_number"),
        (PROSE.replace("in the year 1821 ", "long before "), "lost_number"),
        (PROSE.replace("fishermen", "engineers").replace("carried", "measured").replace("storm", "flood"), "invented"),
    ],
)
def test_a_spoiled_reply_falls_back_to_the_rules_text(passages, reply, reason):
    """N7: never a summary, an invention, a format; never dropped"""
    (records, files), _ = repaired(passages[:1], reply)
    assert records[0].input == PROSE and records[0].fault is None
    assert (records[0].extra["clean_method"], records[0].extra["clean_reason"]) == ("fallback", reason)
    assert json.loads(files["cleaning.json"][0]) == {"llm": 0, "fallback": {reason: 1}}


def test_a_spoiled_reply_is_drawn_again_with_another_seed(passages):
    """N8"""
    (records, _), model = repaired(
        passages[:2], "no", PROSE.replace("harbour", "lighthouse").replace("1821", "1904"), PROSE, sampling=WARM
    )
    assert [record.extra["clean_method"] for record in records] == ["llm", "llm"]
    assert [request.sampling.seed for request in model.asked] == [0, 0, 1]


def test_greedy_replies_are_not_drawn_twice(passages):
    _, model = repaired(passages[:1], "no")
    assert len(model.asked) == 1


def test_the_clean_text_of_each_document_is_a_file(passages):
    """what the notebook ends with"""
    other = replace(passages[2], extra={**passages[2].extra, "document": "../b c.pdf"})
    (_, files), _ = repaired([*passages[:2], other], "", "", "")
    assert set(files) == {"village.pdf.clean.txt", "b_c.pdf.clean.txt", "cleaning.json"}
    assert "".join(files["village.pdf.clean.txt"]).count("They carried every stone by hand.") == 2
