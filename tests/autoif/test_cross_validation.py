import pytest

from evodistill import RunError
from evodistill.autoif.cross_validation import CrossValidation
from evodistill.record import Record

ANY_ONE = {"case_agreement": "> 0", "function_accuracy": ">= 0.8", "leave_own_reply_out": False, "both_outcomes": False}
NO_COMMA = 'def evaluate(response):\n    return "," not in response'
COUNTED = 'def evaluate(response):\n    return response.count(",") == 0'
ALWAYS = "def evaluate(response):\n    return True"


def constraint(functions, cases):
    """Functions (code, number of its reply) and cases (text, outcome, number of its reply)."""
    return Record.seed(
        "Leave out all commas.",
        functions=[{"code": code, "replies": [number]} for code, number in functions],
        cases=[{"text": text, "follows": follows, "replies": [number]} for text, follows, number in cases],
    )


BOTH = [("a b", True, 0), ("a, b", False, 0), ("c", True, 1), ("c, d", False, 1)]


def validate(sandbox, record, **settings):
    (done,) = CrossValidation(sandbox, **settings)([record], {})
    return done


def reason(record):
    return record.fault.reason if record.fault else ""


def test_functions_and_cases_that_agree_are_kept(sandbox):
    done = validate(sandbox, constraint([(NO_COMMA, 0), (COUNTED, 1)], BOTH))
    assert not done.fault
    assert [f["accuracy"] for f in done.extra["functions"]] == [1.0, 1.0]
    assert [case["agreement"] for case in done.extra["cases"]] == [1.0] * 4
    assert done.extra["cross_validation"] == {"functions_written": 2, "cases_written": 4, "errors": {}}


def test_model_code_runs_in_the_sandbox_and_not_here(sandbox, tmp_path):
    """AI7"""
    mark = tmp_path / "mark"
    code = f"def evaluate(response):\n    open({str(mark)!r}, 'w').write('x')\n    return True"
    done = validate(sandbox, constraint([(code, 0), (NO_COMMA, 1)], BOTH))
    assert not mark.exists()
    assert [f["code"] for f in done.extra["functions"]] == [NO_COMMA] if not done.fault else reason(done)


def test_a_function_that_hangs_costs_its_own_cases_only(sandbox):
    """AI8: also one that swallows every exception"""
    loop = "while True:\n        try:\n            sum(range(10**6))\n        except Exception:\n            pass"
    hangs = f"def evaluate(response):\n    {loop}"
    done = validate(sandbox, constraint([(hangs, 0), (NO_COMMA, 1), (COUNTED, 2)], BOTH))
    assert [f["code"] for f in done.extra["functions"]] == [NO_COMMA, COUNTED]
    assert done.extra["cross_validation"]["errors"].keys() == {"timeout"}


def test_each_function_has_a_namespace_of_its_own(sandbox):
    """AI9: top-level imports, constants and helpers are seen, those of other functions are not"""
    helper = "import re\nMOST = 0\n\ndef commas(text):\n    return len(re.findall(',', text))\n\n"
    helped = helper + "def evaluate(response):\n    return commas(response) <= MOST"
    thief = "def evaluate(response):\n    return commas(response) <= MOST"
    done = validate(sandbox, constraint([(helped, 0), (COUNTED, 1), (thief, 2)], BOTH))
    assert [f["code"] for f in done.extra["functions"]] == [helped, COUNTED]
    assert done.extra["cross_validation"]["errors"] == {"exception": 4}


def test_a_reply_does_not_judge_its_own_cases(sandbox):
    """AI10"""
    alone = constraint([(NO_COMMA, 0)], BOTH[:2])
    found = validate(sandbox, alone)
    assert reason(found) == "no_judge" and "no case has a function of another reply" in found.fault.detail
    assert reason(validate(sandbox, alone, leave_own_reply_out=False)) == ""
    twins = constraint([(NO_COMMA, 0)], BOTH[:2])
    twins.extra["functions"][0]["replies"].append(1)  # another reply wrote the same function
    assert reason(validate(sandbox, twins)) == ""


def test_minimum_counts_are_of_what_was_written(sandbox):
    """AI10; AutoIF's code counts before it validates"""
    two = constraint([(NO_COMMA, 0), (COUNTED, 1)], BOTH)
    done = validate(sandbox, two, min_functions=3)
    assert reason(done) == "few_functions" and done.fault.detail == "2 written, min_functions=3"
    assert reason(validate(sandbox, two, min_cases=5)) == "few_cases"
    assert reason(validate(sandbox, two, min_functions=2, min_cases=4)) == ""
    assert reason(validate(sandbox, two, min_kept_cases=5)) == "few_agreed_cases"
    assert reason(validate(sandbox, two, min_kept_functions=3)) == "few_accurate_functions"


def test_a_case_needs_the_agreement_that_is_asked_for(sandbox):
    wrong = 'def evaluate(response):\n    return "," in response'
    split = constraint([(NO_COMMA, 0), (wrong, 1)], [("a b", True, 2), ("a, b", False, 2)])
    assert reason(validate(sandbox, split)) == "no_agreed_case"
    done = validate(sandbox, split, case_agreement=">= 0.5")
    assert [f["code"] for f in done.extra["functions"]] == [NO_COMMA]
    assert done.extra["cases"][0]["agreement"] == 0.5


def test_accuracy_is_the_share_of_kept_cases_with_its_bound(sandbox):
    half = 'def evaluate(response):\n    return response == "a b"'  # right about three of the four
    record = constraint([(NO_COMMA, 0), (COUNTED, 1), (half, 2)], [(text, follows, 3) for text, follows, _ in BOTH])
    accuracies = [f["accuracy"] for f in validate(sandbox, record, function_accuracy="> 0.5").extra["functions"]]
    assert accuracies == [1.0, 1.0, 0.75]
    assert len(validate(sandbox, record, function_accuracy=">= 0.75").extra["functions"]) == 3
    assert len(validate(sandbox, record, function_accuracy="> 0.75").extra["functions"]) == 2
    assert len(validate(sandbox, record, function_accuracy=0.8).extra["functions"]) == 2


@pytest.mark.parametrize("value", ["1", '"true"', "1.0", "[]", "None", "__import__('re').match('a', 'a')"])
def test_only_a_truth_value_counts_as_one(sandbox, value):
    """AI11: 1 == True passes in Python, "true" does not"""
    code = f"def evaluate(response):\n    return {value}"
    done = validate(sandbox, constraint([(code, 0)], [("a", True, 1), ("b", False, 1)]), **ANY_ONE)
    assert reason(done) == "no_judge"


def test_an_object_that_equals_everything_passes_nothing(sandbox):
    code = "class Yes:\n    def __eq__(self, other):\n        return True\n\ndef evaluate(response):\n    return Yes()"
    done = validate(sandbox, constraint([(code, 0)], [("a", True, 1)]), **ANY_ONE)
    assert reason(done) == "no_judge" and "type 1" in done.fault.detail


def test_order_is_that_of_writing(sandbox):
    """AI14"""
    record = constraint([(COUNTED, 0), (NO_COMMA, 1)], BOTH[::-1])
    done = validate(sandbox, record)
    assert [f["code"] for f in done.extra["functions"]] == [COUNTED, NO_COMMA]
    assert [case["text"] for case in done.extra["cases"]] == ["c, d", "c", "a, b", "a b"]


def test_one_sided_cases_prove_nothing(sandbox):
    """AI15"""
    record = constraint([(ALWAYS, 0), (ALWAYS + "  # sure", 1)], BOTH)
    done = validate(sandbox, record)
    assert reason(done) == "one_sided_cases"
    assert done.fault.detail == "2 of 4 cases, 0 of 2 functions kept, best accuracy 1.00"
    assert reason(validate(sandbox, record, both_outcomes=False)) == ""


def test_a_constant_function_is_dropped_where_the_cases_are_two_sided(sandbox):
    """AI15: it would be right about four of five"""
    cases = [(text, True, 3) for text in "abcdefgh"] + [("a, b", False, 3), ("c, d", False, 3)]
    record = constraint([(NO_COMMA, 0), (COUNTED, 1), (ALWAYS, 2)], cases)
    assert [f["code"] for f in validate(sandbox, record).extra["functions"]] == [NO_COMMA, COUNTED]
    assert len(validate(sandbox, record, both_outcomes=False).extra["functions"]) == 3


def test_no_line_of_a_function_is_deleted(sandbox):
    """AI16: deleting lines with `requests` would leave an empty body"""
    code = 'def evaluate(response):\n    requests = response.count(",")\n    return requests == 0'
    done = validate(sandbox, constraint([(code, 0), (NO_COMMA, 1)], BOTH))
    assert done.extra["functions"][0]["code"] == code


def test_what_is_left_of_nothing_is_told_with_counts(sandbox):
    broken = "def evaluate(response):\n    return 1 / 0"
    done = validate(sandbox, constraint([(broken, 0), (broken + "  # too", 1)], BOTH))
    assert reason(done) == "no_judge"
    assert done.fault.detail == (
        "0 of 4 cases, 0 of 2 functions kept, best accuracy 0.00; calls without a value: exception 8; "
        "no case has a function of another reply that gives true or false"
    )


def test_records_come_back_in_order_and_rejected_ones_untouched(sandbox):
    good = constraint([(NO_COMMA, 0), (COUNTED, 1)], BOTH)
    bad = Record.seed("x").reject("empty")
    few = Record.seed("Use two words.", functions=[], cases=[])
    done = CrossValidation(sandbox)([bad, few, good], {})
    assert [record.id for record in done] == [bad.id, few.id, good.id]
    assert [reason(record) for record in done] == ["empty", "few_functions", ""]


def test_without_the_step_before_the_cure_is_named(sandbox):
    with pytest.raises(RunError, match="a record has no functions: the step functions must come earlier in steps"):
        CrossValidation(sandbox)([Record.seed("Use two words.")], {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"case_agreement": "more than half"}, r'a bound is a number, or like "> 0.5"'),
        ({"function_accuracy": "< 0.5"}, "a bound is a number"),
        ({"min_functions": 0}, "min_functions must be ≥ 1, got 0"),
    ],
)
def test_bad_settings_are_refused(sandbox, settings, message):
    with pytest.raises(ValueError, match=message):
        CrossValidation(sandbox, **settings)


@pytest.mark.parametrize(
    ("preset", "agreement", "accuracy", "functions", "cases", "passes", "score"),
    [
        ("paper", "> 0.5", "> 0.5", 1, 1, "> 0.5", ">= 8"),
        ("code", "> 0", ">= 0.8", 3, 10, "> 0", "> 8"),
        ("reduced", "> 0", ">= 0.8", 1, 1, None, None),
    ],
)
def test_the_presets_are_those_of_the_table(cfg, preset, agreement, accuracy, functions, cases, passes, score):
    composed = cfg("+experiment=autoif", f"autoif_preset={preset}")
    step = composed.cross_validation
    assert (step.case_agreement, step.function_accuracy) == (agreement, accuracy)
    assert (step.min_functions, step.min_cases) == (functions, cases)
    assert composed.verification.pass_rate == passes
    assert ("quality" in composed.steps) == (score is not None)
    assert score is None or composed.quality.score == score
    assert ("back_translation" in composed.steps) == (preset != "reduced")
