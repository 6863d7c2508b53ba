import json

import pytest

from evodistill import prompt
from evodistill.autoif.function_reply import read, runnable

CODE = 'def evaluate(response):\n    return "," not in response'


def written(reply):
    parsed = read(reply)
    assert parsed.value is not None, parsed.reason
    return parsed.value


def in_json(**fields):
    value = {"func": CODE, "cases": [{"input": "a b", "output": True}]} | fields
    return f"```json\n{json.dumps(value)}\n```"


def test_a_python_block_with_assertions():
    tests = 'assert evaluate("a b") == True\nassert not evaluate("a, b")\nassert evaluate("x" * 3) is True'
    reply = f"Here it is:\n```python\n{CODE}\n\n{tests}\n```\nDone."
    assert written(reply) == (CODE, [("a b", True), ("a, b", False), ("xxx", True)], [])


def test_labelled_lines_and_annotated_prints():
    reply = f'```python\n{CODE}\n```\nFollows: "a b"\n- Breaks: a, b\nprint\n'
    assert written(reply).cases == [("a b", True), ("a, b", False)]
    reply = f'```python\n{CODE}\n\nprint(evaluate("a, b"))  # Output: False\n```'
    assert written(reply).cases == [("a, b", False)]


def test_a_broken_test_costs_neither_the_function_nor_the_other_tests():
    reply = (
        f'```python\n{CODE}\n# Test cases\nassert evaluate("a "b" c") == True\nassert evaluate("a, b") == False\n```'
    )
    code, cases, bad = written(reply)
    assert (code, cases, len(bad)) == (CODE, [("a, b", False)], 1)


def test_what_would_run_at_definition_is_left_out_and_what_the_function_needs_stays():
    """AI16: whole statements of the syntax tree, never lines that look suspicious"""
    code = (
        "import re\nLIMIT = 3\n\n\ndef helper(x):\n    # requests are downloaded here\n    return len(x)\n\n\n"
        'def evaluate(response):\n    return helper(re.findall("a", response)) > LIMIT'
    )
    reply = f'```python\n{code}\n\nif __name__ == "__main__":\n    print(evaluate("a"))\n```'
    kept = written(reply).code
    assert "requests are downloaded here" in kept and "LIMIT = 3" in kept and "import re" in kept
    assert "__main__" not in kept


@pytest.mark.parametrize(
    "body",
    [
        '    # True if the text follows this rule, else False: Use no commas.\n    return "," not in response',
        '    """Use no commas."""\n    # True if it has none, else False: Use none.\n    return "," not in response',
        "    # False: too long\n    return len(response) < 9",
        '    follows = response.endswith(".")\n    return follows',
        '    """Few lines."""\n    breaks = response.count("\\n")\n    return breaks < 2',
    ],
)
def test_no_line_of_the_function_is_taken_for_a_test(body):
    """The first is the comment of our own prompt, which models copy."""
    code = f"def evaluate(response: str) -> bool:\n{body}"
    reply = f'```python\n{code}\n\nassert evaluate("a") == True\nassert evaluate("b") == False\n```'
    assert written(reply) == (code, [("a", True), ("b", False)], [])
    without = written(f"```python\n{code}\n```\nFollows: a\nBreaks: b")
    assert without == (code, [("a", True), ("b", False)], [])


def test_our_own_prompt_filled_in_is_read():
    asked = prompt.render("autoif/functions", constraint="Use no commas.")
    filled = asked.replace("    ...", '    return "," not in response').replace("evaluate(...)", 'evaluate("a")', 3)
    code, cases, bad = written(filled.replace("evaluate(...)", 'evaluate("a, b")'))
    assert "return" in code and (cases, bad) == ([("a", True), ("a, b", False)], [])


def test_what_fills_a_table_or_finds_an_import_belongs_to_the_function():
    start = "try:\n    import re2 as re\nexcept ImportError:\n    import re\nBAD = set()\n"
    start += "for word in 'ab':\n    BAD.add(word)"
    code = f"{start}\ndef evaluate(response):\n    return not BAD & set(re.split(' ', response))"
    tests = 'for text in ("a", "c"):\n    print(evaluate(text))\nassert evaluate("c")'
    assert written(f"```python\n{code}\n{tests}\n```") == (code, [("c", True)], [])


def test_a_helper_may_have_a_block_of_its_own():
    helper = "def count(text):\n    return len(text.split())"
    main = 'def evaluate(response):\n    return count(response) < 3\n\nassert evaluate("a") == True'
    code, cases, _ = written(f"A helper:\n```python\n{helper}\n```\nThe check:\n```python\n{main}\n```")
    assert helper in code and "count(response) < 3" in code and cases == [("a", True)]


def test_a_test_may_have_several_lines_and_its_text_a_hash():
    tests = 'assert evaluate("""a\nb""") == True\nprint(evaluate("Tell a #True story, now"))  # False'
    assert written(f"```python\n{CODE}\n\n{tests}\n```").cases == [("a\nb", True), ("Tell a #True story, now", False)]


def test_a_function_by_another_name_is_called_evaluate():
    assert written("```python\ndef check(text):\n    return True\n```").code.endswith("evaluate = check")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("Use the function of your choice.", "no_code"),
        ("```python\ndef evaluate(response):\n    return (\n```", "syntax"),
        ("```python\ndef one(a):\n    return 1\n\ndef two(a):\n    return 2\n```", "no_evaluate"),
        ("```python\ndef evaluate(response, limit):\n    return True\n```", "wrong_arguments"),
        ("```python\ndef evaluate():\n    return True\n```", "wrong_arguments"),
        ('```json\n{"func": "def evaluate(response):\n```', "json_broken"),
        (in_json(func=None), "json_shape"),
        (in_json(func=[CODE]), "json_shape"),
        ('```json\n{"cases": []}\n```', "json_shape"),
        (f"```json\n{json.dumps([CODE])}\n```", "json_shape"),
        (f"```json\n{json.dumps({'func': CODE})}\n```", "json_shape"),
        (in_json(func="def evaluate(response) return True"), "syntax"),
        (in_json(func="x = 1"), "no_evaluate"),
        ("```python\n" + "def evaluate(x):\n    return " + "(" * 500 + ")" * 500 + "\n```", "syntax"),
        ("```python\ndef evaluate(x):\n    return '\0'\n```", "syntax"),
    ],
)
def test_a_reply_without_a_function_has_a_reason(reply, reason):
    """AI13: a missing function, a list, a value that is no text"""
    assert read(reply).reason == reason


@pytest.mark.parametrize(
    ("output", "result"),
    [
        *((value, True) for value in (True, "true", "True", " TRUE.", 1, "1", "yes")),
        *((value, False) for value in (False, "false", "False", 0, "0", "no")),
    ],
)
def test_outcomes_are_read_in_words_and_numbers(output, result):
    """AI6, AI11"""
    assert written(in_json(cases=[{"input": "a", "output": output}])).cases == [("a", result)]


@pytest.mark.parametrize(
    "case",
    [
        {"input": "a", "output": "maybe"},
        {"input": "a", "output": None},
        {"input": "a", "output": 2},
        {"input": ["a"], "output": True},
        {"input": 3, "output": True},
        {"output": True},
        {"input": "a"},
        "a",
        ["a", True],
    ],
)
def test_a_case_of_the_wrong_type_is_told_and_the_others_stay(case):
    """AI11, AI13"""
    code, cases, bad = written(in_json(cases=[case, {"input": "b", "output": False}]))
    assert (code, cases, len(bad)) == (CODE, [("b", False)], 1)


def test_newlines_are_mended_where_they_keep_code_from_parsing_and_nowhere_else():
    """AI12"""
    assert runnable(CODE.replace("\n", "\\n")).value == CODE
    sound = "def evaluate(response):\n    return len(response.split('\\n')) == 2"
    assert runnable(sound).value == sound
    assert written(in_json(cases=[{"input": "a\\nb", "output": True}])).cases == [("a\nb", True)]


def test_json_that_is_nearly_json():
    """True for true, real newlines in a string, a trailing comma, an escape that is Python's"""
    inside = r"def evaluate(response):\n    return '\'' not in response and '\s' not in response"
    reply = '```json\n{"func": "' + inside + '",\n "cases": [{"input": "one\ntwo", "output": True},]\n}\n```'
    code, cases, bad = written(reply)
    assert code == "def evaluate(response):\n    return '\\'' not in response and '\\s' not in response"
    assert (cases, bad) == ([("one\ntwo", True)], [])
    quoted = str({"func": CODE, "cases": [{"input": "a", "output": False}]})
    assert written(f"```\n{quoted}\n```").cases == [("a", False)]


def test_the_same_case_twice_is_one():
    assert written(in_json(cases=[{"input": "a", "output": True}, {"input": "a", "output": "true"}])).cases == [
        ("a", True)
    ]


def test_a_reply_that_contradicts_itself_says_nothing_of_that_text():
    cases = [{"input": "a", "output": True}, {"input": "a", "output": False}, {"input": "b", "output": True}]
    code, kept, bad = written(in_json(cases=cases))
    assert (code, kept, bad) == (CODE, [("b", True)], ["both True and False: 'a'"])


def test_texts_are_never_evaluated():
    reply = f'```python\n{CODE}\nassert evaluate("a" * 10**9) == True\nassert evaluate(open("x").read()) == True\n```'
    assert written(reply).cases == []
    assert written(f'```python\n{CODE}\nassert evaluate("a" * 999999999) == True\n```').cases == []


def test_every_reply_of_the_published_sample_is_read(shared):
    """Its own script loses two of the 40: an invalid escape, and True for true."""
    with (shared / "data/autoif_sample/eval_func_rft.jsonl").open(encoding="utf-8") as lines:
        replies = [reply for line in lines for reply in json.loads(line)["gpt-answer"]]
    assert [len(written(reply).cases) for reply in replies] == [3] * 40
    assert not any(written(reply).bad for reply in replies)
