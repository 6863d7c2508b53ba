"""Test cases of a verification function, in the forms in which models write them: a text and whether it follows.

    {"input": "…", "output": "true"} · Follows: … · assert evaluate("…") == False · print(evaluate("…"))  # False

Each reader gives a case, or a sentence that says what is wrong with it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

Case = tuple[str, bool]
TRUE, FALSE = ("true", "yes", "1", "follows", "pass", "passes"), ("false", "no", "0", "breaks", "fail", "fails")
LABELLED = re.compile(
    r"(?im)^[ \t]*+(?:[-*#>]++[ \t]*+|\d++[.)][ \t]*+)?[*_`]*+(?P<label>follows|breaks|true|false|pass|fail)"
    r"[*_`]*+[ \t]*+\d*+[*_`]*+[ \t]*+[:=][ \t]*+[*_]*+[ \t]*+(?P<text>\S(?:.*[^ \t\n])?+)[ \t]*+$"
)
DEEPEST = 500  # levels of a syntax tree: a sum of a thousand texts has as many, and Python's stack ends there
LONGEST = 20_000  # characters of a test text: "word " * 50 is meant, "a" * 10**9 is not


def pair(case: object) -> Case | str:
    """A case of the JSON form: the text and the outcome, or what is wrong with it."""
    if not isinstance(case, dict) or "input" not in case or "output" not in case:
        return f"no input and output: {str(case)[:200]}"
    if not isinstance(case["input"], str):
        return f"input is no text: {case['input']!r:.200}"
    result = outcome(case["output"])
    return (newlines(case["input"]), result) if result is not None else f"output is no outcome: {case['output']!r:.200}"


def outcome(value: object) -> bool | None:
    """True and False, as such, in words or as 1 and 0; models mix them (AI6, AI11)."""
    word = str(value).strip(" .'\"").lower()
    return True if word in TRUE else False if word in FALSE else None


def newlines(text: str) -> str:
    """A text on one line that holds \\n means line breaks; an escaped apostrophe is one."""
    return (text.replace("\\n", "\n") if "\n" not in text else text).replace("\\'", "'")


def labelled(match: re.Match[str]) -> Case | str:
    result = outcome(match["label"])
    text = match["text"].strip("`") if match["text"].startswith("`") else match["text"]
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        tree = parsed(text)
        value = constant(tree.body[0].value) if tree and isinstance(tree.body[0], ast.Expr) else None
        text = value if isinstance(value, str) else text[1:-1]
    return (newlines(text), result is True)


def asserted(test: str) -> Iterator[Case | str]:
    """`assert evaluate("…")`, `… == False`, `assert not …`, and `print(evaluate("…"))  # False`."""
    tree = parsed(test)
    node = tree.body[0] if tree and tree.body else None
    behind = test.splitlines()[(node.end_lineno or 1) - 1].encode()[node.end_col_offset :].decode() if node else ""
    comment = re.search(r"#.*?\b(True|False)\b", behind)
    found: list[Case] = []
    if isinstance(node, ast.Assert):
        found = list(case_of(node.test, True))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.args and comment:
        found = list(case_of(node.value.args[0], comment[1] == "True"))
    yield from found or [f"no text and outcome: {test:.200}"]


def case_of(node: ast.expr, result: bool) -> Iterator[Case]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from case_of(node.operand, not result)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.Is):
        other = node.comparators[0]
        if isinstance(other, ast.Constant) and isinstance(other.value, bool):
            yield from case_of(node.left, other.value == result)
    elif isinstance(node, ast.Call) and len(node.args) == 1:
        text = constant(node.args[0])
        if isinstance(text, str):
            yield text, result


def constant(node: ast.expr) -> object:
    """The value of a string or number, or of sums and multiples of them; None for anything else. Nothing is run."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        left, right = constant(node.left), constant(node.right)
        if isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add):
            return left + right if len(left) + len(right) <= LONGEST else None
        if isinstance(left, int) and isinstance(right, str):
            left, right = right, left
        if isinstance(left, str) and isinstance(right, int) and isinstance(node.op, ast.Mult):
            return left * right if len(left) * right <= LONGEST else None
    return None


def parsed(code: str) -> ast.Module | None:
    """The syntax tree; None where there is none, or one that is too deep to walk. Nothing is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes such as "\d"
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return None if level else tree
