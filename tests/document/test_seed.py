import pytest

from evodistill.backend import Completion, Sampling
from evodistill.backend.fake import Fake
from evodistill.document.seed import KINDS, Seed


def seeds(passages, *replies, judge=(), **settings):
    models = {"evolver": Fake.scripted(*replies), "judge": Fake.scripted(*judge)}
    settings = {"tries": 1, "per_chunk": 1} | settings
    step = Seed(model="evolver", judge="judge" if judge else None, **settings)
    done = step(passages, models)
    return [
        record for record in done if record not in passages and not (record.fault and record.fault.reason == "passage")
    ], models


def test_every_chunk_is_asked_for_as_many_and_kinds_take_turns(passages):
    """S1: the last chunk of a long document as the first"""
    replies = [f"Explain idea number {n} of this text to a child." for n in range(6)]
    made, models = seeds(passages, *replies, per_chunk=2)
    assert [record.origin.operation for record in made] == [KINDS[n % 5] for n in range(6)]
    assert [record.origin.parent for record in made] == [p.id for p in passages for _ in range(2)]
    assert all(
        p.input.strip() in r.chat[0]["content"]
        for p, r in zip([p for p in passages for _ in "ab"], models["evolver"].asked, strict=True)
    )


def test_an_instruction_keeps_document_pages_and_offsets(passages):
    """S6"""
    (record,), _ = seeds(passages[1:2], "Who built the lighthouse, and when?")
    assert record.extra["document"] == "village.pdf" and record.extra["pages"] == [2, 2]
    assert (record.origin.seed, record.origin.round) == (passages[1].id, 1)
    assert record.input == passages[1].input.strip()


def test_standalone_instructions_carry_no_passage_and_do_not_lean_on_it(passages):
    made, _ = seeds(
        passages[:2],
        "According to the passage, who built it?",
        "Describe how harbours were built around 1820.",
        mode="standalone",
    )
    assert made[0].fault and made[0].fault.reason == "needs_passage"
    assert made[1].fault is None and made[1].input == ""


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("Yes.", "too_short"),
        ("They carried every stone by hand.", "copied"),
        ("Task:", "empty"),
        ("Write one specific question that the passage answers.", "leaked"),
        (Completion("Explain the", "length"), "truncated"),
        (Completion("", "error", error="x"), "no_reply"),
    ],
)
def test_a_reply_that_is_no_instruction_is_a_reject_with_its_text(passages, reply, reason):
    """S3"""
    (record,), _ = seeds(passages[:1], reply)
    assert record.fault and record.fault.reason == reason


@pytest.mark.parametrize("label", ["Task:", "New task: ", "**Question:**\n", "The task is:"])
def test_what_a_model_calls_it_is_no_part_of_an_instruction(passages, label):
    (record,) = seeds(passages[:1], f"{label} Who built the harbour, and when?")[0]
    assert record.instruction == "Who built the harbour, and when?"


def test_lines_inside_an_instruction_stay(passages):
    """S4"""
    text = "Rewrite the text as a table:\n\n| year | event |\n|---|---|"
    assert seeds(passages[:1], text)[0][0].instruction == text


def test_a_failed_draw_is_made_again_and_kept(passages):
    made, models = seeds(
        passages[:1], "No.", "Who built the harbour, and when?", tries=2, sampling=Sampling(temperature=0.7)
    )
    assert [bool(record.fault) for record in made] == [True, False] and made[1].extra["try"] == 2
    assert [request.sampling.seed for request in models["evolver"].asked] == [0, 1]


def test_the_judge_sees_the_chunk_and_only_rejects(passages):
    """S5: what it says never replaces the data"""
    asked = ["Who built the harbour, and when?", "What does the lighthouse cost today?", "How is bread made at home?"]
    made, models = seeds(passages, *asked, judge=("Yes", "no", "hm"))
    assert [record.instruction for record in made] == asked
    assert [record.fault.reason if record.fault else "" for record in made] == ["", "not_grounded", ""]
    assert passages[1].input in models["judge"].asked[1].chat[0]["content"]


def test_equal_standalone_instructions_are_duplicates(passages):
    made, _ = seeds(
        passages[:2], "Describe how harbours were built.", "Describe how harbours were built.", mode="standalone"
    )
    assert [record.fault.reason if record.fault else "" for record in made] == ["", "duplicate"]


def test_equal_draws_have_ids_of_their_own(passages):
    made, _ = seeds(passages[:1], "No.", "No.", "No.", "No.", per_chunk=2, tries=2, sampling=Sampling(temperature=1.0))
    assert len({record.id for record in made}) == 4


@pytest.mark.parametrize("settings", [{"mode": "both"}, {"per_chunk": 0}, {"kinds": ()}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Seed(model="evolver", **settings)
