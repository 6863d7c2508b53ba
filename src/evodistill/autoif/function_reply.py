"""What a model wrote when asked for a verification function and cases to test it with.

Two forms are read: a Python block with labelled lines (or assertions) for the cases, which small models can follow, and
the JSON object {"func": …, "cases": [{"input": …, "output": …}]} of AutoIF, also where it is slightly broken.
"""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

from evodistill.autoif.case_forms import LABELLED, Case, asserted, labelled, pair, parsed
from evodistill.autoif.loose_json import loads
from evodistill.parse import Parsed

NAME = "evaluate"
FENCE = re.compile(r"```[ \t]*+(\w*+)[ \t]*+\n(.*?)(?:\n[ \t]*+```|\Z)", re.S)
UNFENCED = re.compile(r"^(?:import |from |def )", re.M)
DEF = re.compile(r"^def \w+", re.M)
# never an indented line: that is one of the function, such as a comment copied from the prompt
TESTS = re.compile(
    r"^(?=assert\b|print\(|# ?Test|if __name__"
    r"|(?!\s)(?:[^\w\n]|\d)*+(?:follows|breaks|true|false|pass|fail)\b[^\n(]*[:=])",
    re.M | re.I,
)
TEST = re.compile(r"^(?=assert\b|print\b)", re.M)
KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
NEEDED = (ast.Try, ast.If, ast.For, ast.While, ast.With, ast.AugAssign)  # kept unless they test or print
TRIED = 20  # lines of a test that is written over several


class Written(NamedTuple):
    """A function that parses, the cases with a text and an outcome, and what was wrong with the other cases."""

    code: str
    cases: list[Case]
    bad: list[str]


def read(reply: str) -> Parsed[Written]:
    """The function and cases of a reply, or why there are none."""
    if not reply.strip():
        return Parsed(reason="empty")
    found = in_json(reply)
    return in_python(reply) if found is None else found


def in_json(reply: str) -> Parsed[Written] | None:
    """AutoIF's form; None where the reply does not have it."""
    blocks = [block for _, block in FENCE.findall(reply) if block.lstrip()[:1] in ("{", "[")]
    if not blocks and '"func"' in reply:
        blocks = [reply[reply.find("{") : reply.rfind("}") + 1]]
    if not blocks:
        return None
    value = loads(blocks[0])
    if value is None:
        return Parsed(reason="json_broken")
    if not isinstance(value, dict) or not isinstance(value.get("func"), str) or "cases" not in value:  # AI13
        return Parsed(reason="json_shape")
    code = runnable(value["func"])
    if code.value is None:
        return Parsed(reason=code.reason)
    listed = value["cases"] if isinstance(value["cases"], list) else [value["cases"]]
    return Parsed(sorted_out(code.value, [pair(case) for case in listed]))


def in_python(reply: str) -> Parsed[Written]:
    """A Python block; the cases are assertions and annotated prints in it, or else labelled lines, anywhere but in the
    function."""
    blocks = [block for _, block in FENCE.findall(reply) if DEF.search(block)]
    if not blocks and (start := UNFENCED.search(reply)):
        blocks = [unfenced(reply[start.start() :])]
    if not blocks:
        return Parsed(reason="no_code")
    # helpers may have blocks of their own before that of the function
    last = next((number for number, block in enumerate(blocks) if f"def {NAME}(" in block), 0)
    # tests end a block: each is read by itself, so that a broken one costs neither the function nor the others
    parts = [split(block) for block in blocks[: last + 1]]
    head = "\n".join(head for head, _ in parts)
    tree = parsed(head)
    if tree is None:
        return Parsed(reason="syntax")
    lines = head.splitlines()
    code = runnable("\n".join(segment(lines, node) for node in tree.body if kept(node)))
    if code.value is None:
        return Parsed(reason=code.reason)
    cases = [case for _, tail in parts for test in TEST.split(tail)[1:] for case in asserted(whole(test))]
    if not any(isinstance(case, tuple) for case in cases):
        for code_part, _ in parts:
            reply = reply.replace(code_part, "", 1)
        cases += [labelled(match) for match in LABELLED.finditer(reply)]
    return Parsed(sorted_out(code.value, cases))


def split(block: str) -> tuple[str, str]:
    """(definitions, tests)"""
    defined = DEF.search(block)
    tests = TESTS.search(block, defined.end() if defined else 0)
    return (block[: tests.start()], block[tests.start() :]) if tests else (block, "")


def whole(test: str) -> str:
    """The lines of a test: the first, or as many as it takes until they parse."""
    lines = test.splitlines()[:TRIED]
    counts = range(1, len(lines) + 1)
    return next((code for count in counts if parsed(code := "\n".join(lines[:count]))), lines[0])


def kept(node: ast.stmt) -> bool:
    """Whether a statement belongs to the function: a definition, or what fills a table or finds an import for it."""
    if not isinstance(node, NEEDED):
        return isinstance(node, KEPT)
    inside = list(ast.walk(node))
    named = {name.id for name in inside if isinstance(name, ast.Name)}
    return not named & {NAME, "__name__", "print", "input"} and not any(isinstance(part, ast.Assert) for part in inside)


def runnable(code: str) -> Parsed[str]:
    """The code if it parses and defines `evaluate` of one text. Newlines written as \\n are mended if that is what
    keeps it from parsing, and only then (AI12): '\\n' in a string of a sound function stays."""
    code = code.strip()
    tree = parsed(code)
    if tree is None and "\\n" in code:
        code = code.replace("\\n", "\n").replace("\\t", "\t")
        tree = parsed(code)
    if tree is None:
        return Parsed(reason="syntax")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if named := [node for node in functions if node.name == NAME]:
        return Parsed(code) if takes_one(named[-1]) else Parsed(reason="wrong_arguments")
    if len(functions) == 1 and takes_one(functions[0]):  # small models choose a name of their own
        return Parsed(f"{code}\n\n{NAME} = {functions[0].name}")
    return Parsed(reason="no_evaluate")


def takes_one(node: ast.FunctionDef) -> bool:
    """Whether the function can be called with one positional argument."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    needed = len(arguments) - len(node.args.defaults)
    keywords = [default for default in node.args.kw_defaults if default is None]
    return needed <= 1 and (bool(arguments) or node.args.vararg is not None) and not keywords


def segment(lines: list[str], node: ast.stmt) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : node.end_lineno])


def unfenced(text: str) -> str:
    """The lines of code at the start of a text: up to the first line that is neither indented nor a statement."""
    kept = []
    for line in text.splitlines():
        if line[:1].strip() and not re.match(r"(?:import|from|def|assert|print)\b|@|#|\w+ = ", line):
            break
        kept.append(line)
    return "\n".join(kept)


def sorted_out(code: str, cases: list[Case | str]) -> Written:
    """A reply that says both of one text says nothing of it."""
    good = dict.fromkeys(case for case in cases if not isinstance(case, str))
    told = [case for case in cases if isinstance(case, str)]
    both = dict.fromkeys(text for text, follows in good if (text, not follows) in good)
    told += [f"both True and False: {text!r:.200}" for text in both]
    return Written(code, [case for case in good if case[0] not in both], told)
