import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.evolution.eliminate import Eliminator
from evodistill.evolution.evol_instruct import DEPTH, EvolInstruct
from evodistill.record import Record

HARDER = " Give two concrete examples of each and compare them."
PLAIN = Eliminator(pool_similarity=None)


def longer(record: Record) -> str:
    return record.instruction + HARDER


def evolve(records, *replies, **settings):
    fake = Fake.scripted(*replies)
    return EvolInstruct(model="evolver", **{"rounds": 1} | settings)(records, {"evolver": fake}), fake


def test_every_record_given_or_made_comes_back(seeds):
    made, _ = evolve(seeds, *map(longer, seeds))
    assert made[: len(seeds)] == seeds
    assert [record.instruction for record in made[len(seeds) :]] == [longer(seed) for seed in seeds]


def test_operations_rotate_with_round_and_seed_index(seeds):
    """EV6: (round + index) mod P"""
    step = EvolInstruct(model="evolver")
    assert [step.operation(seed, 1) for seed in seeds] == [
        "deepening",
        "concretizing",
        "reasoning",
        "breadth",
        "constraints",
    ]
    assert [step.operation(seeds[0], number) for number in (1, 2, 3)] == ["deepening", "concretizing", "reasoning"]
    depth = EvolInstruct(model="evolver", breadth=False)
    assert {depth.operation(seed, number) for seed in seeds for number in (1, 2, 3, 4)} == set(DEPTH)


def test_a_dropped_record_does_not_shift_the_operations_of_the_others(seeds):
    """EV6"""
    whole, _ = evolve(seeds, *map(longer, seeds))
    part, _ = evolve(seeds[2:], *map(longer, seeds[2:]))
    operations = {record.origin.seed: record.origin.operation for record in whole if record.origin.round}
    assert all(operations[record.origin.seed] == record.origin.operation for record in part if record.origin.round)


def test_the_input_is_shown_and_kept(seeds):
    """EV1"""
    made, fake = evolve([seeds[1]], longer(seeds[1]))
    assert seeds[1].input in fake.asked[0].chat[0]["content"]
    assert made[1].input == seeds[1].input


def test_breadth_clears_the_input(seeds):
    """EV1: a new topic has no use for the old input"""
    made, _ = evolve(
        [seeds[1]],
        "Describe how a mill turns the force of a river into flour.",
        rounds=1,
        operations=["reasoning"],
        breadth=True,
    )
    assert made[1].origin.operation in ("breadth", "reasoning")
    breadth, _ = evolve(
        [Record.seed("Sum up the text.", "Text about mills.", index=3)],
        "Describe how a mill works, step by step, please.",
    )
    assert (breadth[1].origin.operation, breadth[1].input) == ("breadth", "")


def test_a_rewrite_that_took_the_input_in_does_not_keep_it_twice(seeds):
    made, _ = evolve([seeds[1]], f"Summarise this text in one sentence and name its setting: {seeds[1].input}")
    assert not made[1].fault and made[1].input == ""


def test_each_round_evolves_the_survivors_of_the_last(seeds):
    first = longer(seeds[0])
    second = first + " Then write a short table that sets them side by side."
    made, fake = evolve([seeds[0]], first, second, rounds=2)
    assert [record.origin.round for record in made] == [0, 1, 2]
    assert made[2].origin.parent == made[1].id and made[2].origin.seed == seeds[0].id
    assert first in fake.asked[1].chat[0]["content"]


def test_a_failed_record_goes_on_in_its_parents_form(seeds):
    made, fake = evolve([seeds[0]], seeds[0].instruction, longer(seeds[0]), rounds=2)
    seed, failed, kept, child = made
    assert [record.fault.reason if record.fault else "" for record in made] == ["", "unchanged", "", ""]
    assert (kept.instruction, kept.origin.operation, kept.origin.round, kept.origin.model) == (
        seed.instruction,
        "keep_parent",
        1,
        "",
    )
    assert failed.origin.parent == kept.origin.parent == seed.id and child.origin.parent == kept.id
    assert len(fake.asked) == 2


def test_the_usable_records_of_a_round_are_one_for_each_line(seeds):
    """So that two evolvers are compared on the same seeds, however often one of them fails."""
    made, _ = evolve(
        seeds,
        longer(seeds[0]),
        "",
        seeds[2].instruction,
        longer(seeds[3]),
        "I'm sorry.",
        *["", "", "", "", ""],
        rounds=2,
    )
    for number in (1, 2):
        assert sorted(r.origin.seed for r in made if r.origin.round == number and not r.fault) == sorted(
            seed.id for seed in seeds
        )


def test_a_kept_parent_leaves_its_answer_behind():
    """One teacher answers the whole round."""
    made, _ = evolve([Record.seed("Name three kinds of tea.", output="Green, black, white.")], "")
    assert made[2].origin.operation == "keep_parent" and made[2].output == ""


def test_or_drops_out(seeds):
    made, fake = evolve(
        [seeds[0], seeds[2]], "", longer(seeds[2]), longer(seeds[2]) + " Draw it.", rounds=2, on_failure="drop"
    )
    assert len(fake.asked) == 3
    assert sum(record.origin.seed == seeds[0].id for record in made) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Completion("Name three kinds of", "length", 9, 4), "truncated"),
        (Completion("", "error", error="prompt of 9000 tokens does not fit the context of 8192"), "no_reply"),
        ("", "empty"),
        ("I'm sorry, I can't do that.", "refusal"),
        ("#The Given Prompt#", "leaked"),
    ],
)
def test_what_fails_keeps_its_reason_and_raw_text(seeds, reply, reason):
    """EV2, EV8"""
    made, _ = evolve([seeds[0]], reply)
    assert made[1].fault and made[1].fault.reason == reason
    text = reply if isinstance(reply, str) else reply.text
    assert made[1].fault.raw == text


def test_lineage_is_written(seeds):
    """EV3"""
    made, _ = evolve([seeds[0]], Completion(longer(seeds[0]), "stop", 100, 20))
    origin = made[1].origin
    assert (origin.parent, origin.seed, origin.index, origin.step) == (seeds[0].id, seeds[0].id, 0, "evol_instruct")
    assert (origin.operation, origin.round, origin.model, origin.finish_reason) == ("deepening", 1, "fake", "stop")
    assert (origin.prompt_tokens, origin.completion_tokens) == (100, 20)


def test_messages_go_to_the_engine_not_rendered_text(seeds):
    """EV5: the chat template, and so the BOS, is applied once, by the backend"""
    _, fake = evolve([seeds[0]], longer(seeds[0]))
    assert [message["role"] for message in fake.asked[0].chat] == ["user"]


def test_the_instruction_is_not_cut(seeds):
    """EV7"""
    long = Record.seed("Explain " + "very " * 3000 + "much.", index=0)
    _, fake = evolve([long], longer(long))
    assert long.instruction in fake.asked[0].chat[0]["content"]


def test_near_duplicates_across_lines_are_rejected(seeds):
    same = "Describe step by step how a pot of tea is made, and say why each of the steps matters for the taste."
    made, _ = evolve([seeds[0], seeds[2]], same, same)
    assert [record.fault.reason for record in made if record.fault] == ["near_duplicate_pool"]


def test_equality_is_asked_where_wanted(seeds):
    """WizardLM's first rule"""
    evolver, judge = Fake.scripted(longer(seeds[0]), longer(seeds[2]), ""), Fake.scripted("Equal", "**Not Equal**")
    step = EvolInstruct(model="evolver", rounds=1, eliminator=Eliminator(equality="judge"))
    made = step([seeds[0], seeds[2], seeds[3]], {"evolver": evolver, "judge": judge})
    assert [record.fault.reason if record.fault else "" for record in made[3:6]] == ["no_gain", "", "empty"]
    assert step.roles == ("evolver", "judge") and len(judge.asked) == 2


def test_no_records_and_one_record(seeds):
    assert evolve([])[0] == []
    assert len(evolve(seeds[:1], longer(seeds[0]))[0]) == 2


def test_one_engine_for_every_method_and_no_parallel_size_in_the_step():
    """EV9: placement belongs to the backend"""
    assert not {"tensor_parallel_size", "engine", "batch_size"} & set(EvolInstruct.__dataclass_fields__)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "rounds must be ≥ 1"),
        ({"operations": []}, "operations is empty"),
        ({"on_failure": "x"}, "on_failure"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EvolInstruct(model="evolver", **settings)
