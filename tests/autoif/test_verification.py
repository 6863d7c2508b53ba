import pytest

from evodistill import RunError
from evodistill.autoif.verification import Verification
from evodistill.record import Record

SHORT = "def evaluate(response):\n    return len(response) < 20"
LOWER = "def evaluate(response):\n    return response.islower()"
RAISES = "def evaluate(response):\n    return 1 / 0"


def answered(codes, *replies):
    functions = [{"code": code, "replies": [i]} for i, code in enumerate(codes)]
    listed = [reply if isinstance(reply, dict) else {"text": reply} for reply in replies]
    return Record.seed(f"Q {codes} {replies}", functions=functions, replies=listed)


def verify(sandbox, record, **settings):
    (done,) = Verification(sandbox, **settings)([record], {})
    return done


def test_replies_are_checked_by_the_functions_and_the_best_becomes_the_output(sandbox):
    """AI17"""
    done = verify(sandbox, answered([SHORT, LOWER], "SHORT", "short", "A long text, in no case low.", "tiny"))
    assert [reply["pass_rate"] for reply in done.extra["replies"]] == [0.5, 1.0, 0.0, 1.0]
    assert [reply["passed"] for reply in done.extra["replies"]] == [False, True, False, True]
    assert done.output == "short" and not done.fault  # the first of equals


def test_the_pass_rate_has_its_bound(sandbox):
    record = answered([SHORT, LOWER], "SHORT")
    done = verify(sandbox, record)
    assert (done.fault.reason, done.fault.detail, done.output) == ("not_verified", "pass rates 0.50", "")
    assert verify(sandbox, record, pass_rate=">= 0.5").output == "SHORT"
    assert verify(sandbox, record, pass_rate="> 0").output == "SHORT"


def test_without_a_bound_any_reply_will_do_the_best_first(sandbox):
    assert verify(sandbox, answered([SHORT, LOWER], "A LONG TEXT THAT PASSES NOTHING"), pass_rate=None).output
    assert verify(sandbox, answered([SHORT, LOWER], "SHORT", "short"), pass_rate=None).output == "short"


def test_a_function_without_a_verdict_is_no_vote(sandbox):
    done = verify(sandbox, answered([SHORT, RAISES], "short"))
    assert done.fault.detail == "pass rates 0.50; calls without a value: exception 1"
    assert done.extra["replies"][0]["unjudged"] == 1
    truthy = "def evaluate(response):\n    return 1"
    assert verify(sandbox, answered([truthy], "short")).extra["replies"][0]["unjudged"] == 1


def test_faulty_replies_are_not_run(sandbox):
    done = verify(sandbox, answered([SHORT], {"text": "cut", "fault": "truncated"}, "whole"))
    assert done.output == "whole" and "pass_rate" not in done.extra["replies"][0]


def test_a_reply_on_which_a_function_hangs_costs_no_other_record_its_verdict(sandbox):
    hangs = "def evaluate(response):\n    while 'x' in response:\n        pass\n    return True"
    records = [answered([hangs], "x x"), answered([hangs], "fine"), Record.seed("y").reject("empty")]
    done = Verification(sandbox)(records, {})
    assert [record.id for record in done] == [record.id for record in records]
    assert [record.fault.reason if record.fault else "" for record in done] == ["not_verified", "", "empty"]
    assert "timeout 1" in done[0].fault.detail


def test_without_the_steps_before_the_cure_is_named(sandbox):
    with pytest.raises(RunError, match="a record has no functions: the step functions must come earlier"):
        Verification(sandbox)([Record.seed("x")], {})
    with pytest.raises(RunError, match="a record has no replies: the step replies must come earlier"):
        Verification(sandbox)([Record.seed("x", functions=[{"code": SHORT, "replies": [0]}])], {})


def test_a_bad_bound_is_refused(sandbox):
    with pytest.raises(ValueError, match="a bound is a number"):
        Verification(sandbox, pass_rate="most")
