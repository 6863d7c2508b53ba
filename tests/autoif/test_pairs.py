import json

import pytest

from evodistill import RunError
from evodistill.autoif.pairs import FILE, Pairs
from evodistill.record import Record


def reply(text, rate, unjudged=0, **more):
    return {"text": text, "pass_rate": rate, "unjudged": unjudged, **more}


def rated(*replies):
    return Record.seed("What is tea? Use two words.", replies=list(replies))


def paired(*replies, **settings):
    made = Pairs(**settings)([rated(*replies)], {})
    return made.records[0].extra["pairs"], [json.loads(line) for line in made.files[FILE]]


def test_what_passes_is_chosen_over_what_passes_nothing():
    pairs, lines = paired(reply("A drink.", 1.0), reply("It is a hot drink.", 0.0), reply("Half.", 0.4))
    assert pairs == [{"chosen": "A drink.", "rejected": "It is a hot drink.", "chosen_pass_rate": 1.0}]
    record = rated()
    assert lines[0]["prompt"] == record.prompt and lines[0].keys() >= {"prompt", "chosen", "rejected", "id", "seed"}


def test_no_more_than_two_by_two_of_one_prompt():
    good, bad = [reply(f"good {n}", 1.0) for n in range(4)], [reply(f"bad {n}", 0.0) for n in range(4)]
    pairs, lines = paired(*good, *bad)
    assert len(pairs) == len(lines) == 4
    assert len({pair["chosen"] for pair in pairs}) == len({pair["rejected"] for pair in pairs}) == 2
    assert paired(*good, *bad)[0] == pairs  # the same draw again
    assert len(paired(*good, *bad, per_side=3)[0]) == 9


def test_one_side_alone_makes_no_pair():
    assert paired(reply("a", 1.0), reply("b", 0.9)) == ([], [])
    assert paired(reply("a", 0.0)) == ([], [])


def test_the_bound_of_what_is_chosen():
    replies = [reply("a", 0.5), reply("b", 0.0)]
    assert paired(*replies)[0] == [] and len(paired(*replies, chosen=">= 0.5")[0]) == 1


def test_a_reply_that_a_function_failed_on_is_not_known_to_be_wrong():
    assert paired(reply("a", 1.0), reply("b", 0.0, unjudged=1))[0] == []


def test_replies_that_were_never_verified_are_refused():
    with pytest.raises(RunError, match="put the step verification before pairs"):
        paired({"text": "a"}, {"text": "b"})


def test_faulty_replies_are_on_no_side():
    assert paired(reply("a", 1.0, fault="low_quality"), reply("b", 0.0))[0] == []
    assert paired(reply("a", 1.0), {"text": "b", "fault": "truncated"})[0] == []


def test_the_records_stay_the_rows_to_fine_tune_on():
    bad = Record.seed("x").reject("empty")
    made = Pairs()([bad, rated(reply("a", 1.0))], {})
    assert made.records[0] == bad and made.records[1].instruction == "What is tea? Use two words."


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="a bound is a number"):
        Pairs(chosen="good")
    with pytest.raises(ValueError, match="per_side must be ≥ 1"):
        Pairs(per_side=0)
