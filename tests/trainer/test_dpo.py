from dataclasses import replace

import pytest
from trainer.tiny import ARGS, tokenizer

from evodistill.record import Fault, Record
from evodistill.trainer.dpo import DPO
from evodistill.trainer.examples import Row


def dpo(**given) -> DPO:
    return DPO("tuned", "preferred", **{"args": ARGS} | given)


def record(output: str = "Assam.", **extra) -> Record:
    return replace(Record.seed("Name a tea."), output=output, extra=extra)


def turns(answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Name a tea."}, {"role": "assistant", "content": answer}]


def learned(given: Record, base, limit=256, **settings) -> list:
    return list(dpo(**settings).learn(given, tokenizer(base), limit))


def test_a_pair_holds_the_answers_and_no_header(base):
    """C4"""
    words = tokenizer(base)
    (row,) = learned(record("Assam.", rejected="A cup."), base)
    assert words.decode(row.columns["prompt_ids"]).endswith("<|start|>assistant\n")
    assert words.decode(row.columns["chosen_ids"]) == "Assam.<|end|>"
    assert words.decode(row.columns["rejected_ids"]) == "A cup.<|end|>"


@pytest.mark.parametrize("first", [0, 1])
def test_an_answer_may_be_given_as_a_turn(base, first):
    """UltraFeedback, binarized: with the prompt before it, or alone"""
    given = {"chosen": turns("Assam.")[first:], "rejected": turns("A cup.")[first:]}
    assert learned(record("", **given), base) == learned(record(rejected="A cup."), base)


def test_a_record_may_bring_several_pairs(base):
    """AutoIF: up to two chosen times two rejected replies"""
    pairs = [{"chosen": "A", "rejected": "B"}, {"chosen": "C", "rejected": "C"}, {"chosen": "C", "rejected": "D"}]
    found = learned(record(pairs=pairs), base)
    assert [type(row) for row in found] == [Row, Fault, Row]


@pytest.mark.parametrize(
    ("given", "settings", "reason"),
    [
        (record(), {}, "no_pair"),
        (record(pairs=[]), {}, "no_pair"),
        (record(pairs="A or B"), {}, "pair_not_text"),
        (record(pairs=["A", "B"][:1]), {}, "pair_not_text"),
        (record(chosen=None, rejected="A cup."), {}, "pair_not_text"),
        (record(rejected=7), {}, "pair_not_text"),
        (record(rejected=[*turns("A cup."), *turns("Two.")]), {}, "pair_not_text"),
        (record(rejected=turns("A cup.")[:1]), {}, "pair_not_text"),
        (record(chosen=turns("Assam."), rejected=turns(" Assam.")), {}, "pair_identical"),
        (record(rejected=" "), {}, "pair_empty"),
        (record("", rejected="A cup."), {}, "pair_empty"),
        (record("Assam.", rejected=" Assam.\n"), {}, "pair_identical"),
        (record(rejected="A cup", rejected_finish_reason="length"), {}, "pair_truncated"),
        (record(rejected="A cup of tea. " * 9), {"max_length_ratio": 3.0}, "pair_lengths"),
        (record(rejected="A cup."), {"min_margin": 1.0}, "no_margin"),
        (record(rejected="A cup.", margin=None), {"min_margin": 1.0}, "no_margin"),
        (record(rejected="A cup.", margin="high"), {"min_margin": 1.0}, "no_margin"),
        (record(rejected="A cup.", margin=0.5), {"min_margin": 1.0}, "pair_margin"),
        (record(rejected="A cup. " * 99), {"truncate": False}, "too_long"),
    ],
)
def test_a_pair_that_says_nothing_has_a_reason(base, given, settings, reason):
    """B1, C4, C9"""
    (fault,) = learned(given, base, **settings)
    assert isinstance(fault, Fault) and fault.reason == reason


def test_answers_that_are_equal_up_to_the_cut_are_no_pair(base):
    (fault,) = learned(record("Assam. " * 40 + "Yes", rejected="Assam. " * 40 + "No"), base, limit=64)
    assert fault.reason == "pair_identical"


def test_a_rejected_answer_that_was_cut_off_has_no_end(base):
    given = record(rejected="A cup", rejected_finish_reason="length")
    (row,) = learned(given, base, truncated=True)
    words = tokenizer(base)
    assert words.decode(row.columns["rejected_ids"]) == "A cup"
    assert words.decode(row.columns["chosen_ids"]) == "Assam.<|end|>"


def test_a_margin_that_is_large_enough_is_kept(base):
    (row,) = learned(record(rejected="A cup.", margin=2.0), base, min_margin=1.0)
    assert isinstance(row, Row)


@pytest.mark.parametrize("how", ["group_by_length", "batch_rebalance"])
def test_an_order_by_length_is_refused(how):
    """TRL would stop when the training begins: a pair has no one length"""
    with pytest.raises(ValueError, match=f"train_sampling_strategy={how} goes by the length of a row.*: leave it out"):
        dpo(args={"train_sampling_strategy": how})
    assert dpo(args={"train_sampling_strategy": "sequential"})


def test_a_ratio_below_one_is_refused():
    with pytest.raises(ValueError, match=r"max_length_ratio must be ≥ 1, got 0.5"):
        dpo(max_length_ratio=0.5)
