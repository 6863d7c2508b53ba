import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.dataset.constraints import Constraints
from evodistill.evolution.autoif import AutoIF
from evodistill.record import Record

SEEDS = [
    Record.seed("Use exactly twelve words.", index=0),
    Record.seed("Leave out all commas.", index=1),
    Record.seed('Open with the word "Perhaps".', index=2),
]


def instruct(*replies, seeds=SEEDS, **settings):
    fake = Fake.scripted(*replies)
    return AutoIF("evolver", **{"calls": len(replies), "per_call": 3} | settings)(seeds, {"evolver": fake}), fake


def reasons(records):
    return [record.fault.reason if record.fault else "" for record in records]


def test_every_line_is_a_record_kept_or_rejected():
    """AI1"""
    listed = "1. Use two dashes -\n2. Leave out all commas.\n3. Add a picture of a cat.\n4. Use two dashes -."
    made, _ = instruct(f"Here are 3 rules:\n\n{listed}")
    assert made[:3] == SEEDS
    assert [record.instruction for record in made[3:]] == [
        "Here are 3 rules:",
        "Use two dashes -",
        "Leave out all commas.",
        "Add a picture of a cat.",
        "Use two dashes -.",
    ]
    assert reasons(made[3:]) == ["not_an_item", "", "duplicate_of_seed", "not_checkable", "duplicate_of_earlier"]
    assert all(record.fault.raw for record in made if record.fault)


def test_trailing_hyphens_stay():
    """AI2"""
    made, _ = instruct("- End every word with -\n- Use words that begin with re-")
    assert [record.instruction for record in made[3:]] == ["End every word with -", "Use words that begin with re-"]


def test_the_step_needs_nothing_but_the_standard_library_rapidfuzz_and_us():
    """AI3: no heavy imports"""
    import ast
    from pathlib import Path

    import evodistill.evolution.autoif as module

    assert module.__file__
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not {name.split(".")[0] for name in imported} - {
        "__future__",
        "random",
        "collections",
        "dataclasses",
        "evodistill",
    }


def test_all_seeds_are_shown_or_a_draw_of_them():
    _, fake = instruct("", "")
    assert all(seed.instruction in fake.asked[0].chat[0]["content"] for seed in SEEDS)
    assert fake.asked[0].chat == fake.asked[1].chat and fake.asked[1].draw == 1
    _, fake = instruct(*[""] * 6, examples=1)
    shown = [[seed.instruction in ask.chat[0]["content"] for seed in SEEDS] for ask in fake.asked]
    assert all(sum(one) == 1 for one in shown) and len({tuple(one) for one in shown}) > 1


def test_the_same_place_pairs_two_evolvers():
    mine, _ = instruct("- Use two dashes.\n- Use no digits at all.")
    theirs, _ = instruct("- Write three lines.\n- Write only one sentence.")
    assert [a.origin.seed for a in mine[3:]] == [b.origin.seed for b in theirs[3:]]
    assert not {a.id for a in mine[3:]} & {b.id for b in theirs[3:]}
    assert {record.origin.round for record in mine[3:]} == {1}


def test_a_line_that_was_cut_is_rejected():
    made, _ = instruct(Completion("- Use two dashes.\n- Use no", "length", 10, 8))
    assert reasons(made[3:]) == ["", "truncated"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("", "empty"), (Completion("", "error", error="no server"), "no_reply"), ("Sure:", "not_an_item")],
)
def test_a_reply_without_constraints_is_a_reject(reply, reason):
    made, _ = instruct(reply)
    assert reasons(made) == ["", "", "", reason]


def test_lines_have_ids_of_their_own():
    made, _ = instruct("- Use two dashes.\n- Use two dashes.", "- Use two dashes.")
    assert len({record.id for record in made}) == len(made) == 6


def test_seeds_can_be_left_out():
    step = AutoIF("evolver", calls=1, seeds=False)
    assert reasons(step(SEEDS, {"evolver": Fake.scripted("- Use two dashes.")})) == ["seed", "seed", "seed", ""]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calls": 0}, "calls must be ≥ 1"),
        ({"examples": 0}, "examples must be ≥ 1"),
        ({"max_similarity": 0}, r"max_similarity must be in \(0, 1\]"),
        ({"min_words": 9, "max_words": 8}, "max_words must be ≥ min_words=9"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AutoIF("evolver", **settings)


def test_without_seeds_the_prompt_still_renders():
    made, _ = instruct("- Use two dashes.", seeds=[])
    assert reasons(made) == [""]


def test_none_of_five_thousand_lines_is_lost():
    words = ["comma", "dash", "line", "word", "digit", "vowel", "letter", "question", "bracket", "title"]
    replies = [
        "\n".join(f"- Use {a} before {b} and {c} number {n} times" for a in words for b in words for c in words[:5])
        for n in range(10)
    ]
    made, _ = instruct(*replies, seeds=Constraints()([], {}), per_call=500)
    assert len(made) == 36 + 5000
