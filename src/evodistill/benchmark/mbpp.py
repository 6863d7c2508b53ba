"""MBPP: Python to write from a sentence and its tests, run in the sandbox (Austin et al., arXiv 2108.07732).

The split `test` are 500 items, task_id 11 to 510.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from evodistill import prompt
from evodistill.backend import Chat, chat
from evodistill.benchmark.items import Item, Texts, words
from evodistill.benchmark.pass_at_k import CHECKED, START, PassAtK, blocks, longest


@dataclass(frozen=True, kw_only=True)
class MBPP(PassAtK):
    """Values `mbpp` and `mbpp_pass_at_k`."""

    prompt: str = "mbpp/write"

    @property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        return {self.prompt: ("task", "tests")}

    def parse(self, row: Mapping[str, Any]) -> Item:
        """A row of `full` (text, test_setup_code) or of `sanitized` (prompt, test_imports)."""
        task, tests = words(row, "text" if "text" in row else "prompt"), row["test_list"]
        if not isinstance(tests, list) or not tests:
            raise ValueError("test_list is no list of tests")
        for line in (*tests, setup(row)):
            try:
                ast.parse(line)
            except SyntaxError:
                raise ValueError(f"{line!r} of its tests is no Python") from None
        return Item(self.id(row, task), task, row)

    def known(self, item: Item) -> Texts:
        code = item.row.get("code")
        return Texts(item.id, [item.prompt], [code] if isinstance(code, str) else [])

    def ask(self, item: Item) -> Chat:
        return chat(prompt.render(self.prompt, task=item.prompt, tests=list(item.row["test_list"])))

    def program(self, item: Item, reply: str) -> str | None:
        return written(item.row["test_list"], reply)

    def tests(self, item: Item) -> str:
        # as one line each: what stands within a string would be indented too
        lines = "\n".join(ast.unparse(ast.parse(test)) for test in item.row["test_list"])
        return f"{setup(item.row)}\n\ndef {CHECKED}():\n{indent(lines, '    ')}\n    return True\n"


def setup(row: Mapping[str, Any]) -> str:
    return "\n".join([row.get("test_setup_code") or "", *(row.get("test_imports") or ())])


def written(tests: Sequence[str], reply: str) -> str | None:
    """The block of a reply that defines what the tests call, else its first block of Python; a reply without blocks
    from its first line of Python on. None where there is none."""
    called = {node.id for test in tests for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    wanted = re.compile(rf"^(?:async def|def|class) (?:{'|'.join(map(re.escape, sorted(called)))})\b", re.M)
    first = START.search(reply)
    found = blocks(reply) or ([reply[first.start() :]] if first else [])
    for text in sorted(found, key=lambda text: not wanted.search(text)):
        if made := longest("", [text]):
            return made
    return None
