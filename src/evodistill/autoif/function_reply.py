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
TESTS = re.compile(
    r"^(?=assert\b|print\(|# ?Test|if __name__|(?:[^\w\n]|\d)*+(?:follows|breaks|true|false|pass|fail)\b[^\n(]*[:=])",
    re.M | re.I,
)
KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


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
    """A Python block; the cases are labelled lines anywhere, or assertions and annotated prints in the block."""
    blocks = [block for _, block in FENCE.findall(reply) if DEF.search(block)]
    if not blocks and (start := UNFENCED.search(reply)):
        blocks = [unfenced(reply[start.start() :])]
    if not blocks:
        return Parsed(reason="no_code")
    # tests end the block: each is read by itself, so that a broken one costs neither the function nor the others
    defined = DEF.search(blocks[0])
    tests = TESTS.search(blocks[0], defined.end() if defined else 0)
    head, tail = (blocks[0][: tests.start()], blocks[0][tests.start() :]) if tests else (blocks[0], "")
    tree = parsed(head)
    if tree is None:
        return Parsed(reason="syntax")
    lines = head.splitlines()
    code = runnable("\n".join(segment(lines, node) for node in tree.body if isinstance(node, KEPT)))
    if code.value is None:
        return Parsed(reason=code.reason)
    cases = [labelled(match) for match in LABELLED.finditer(reply)]
    for line in tail.splitlines():
        if line.startswith(("assert", "print")):
            cases += asserted(line)
    return Parsed(sorted_out(code.value, cases))


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
