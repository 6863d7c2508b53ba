"""HumanEval: 164 Python functions to write, held to their tests in the sandbox (Chen et al., arXiv 2107.03374)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Any

from evodistill import prompt
from evodistill.backend import Chat, chat
from evodistill.benchmark.items import Item, Texts, words
from evodistill.benchmark.pass_at_k import CHECKED, START, PassAtK, blocks, longest


@dataclass(frozen=True, kw_only=True)
class HumanEval(PassAtK):
    """Values `humaneval` and `humaneval_pass_at_k`."""

    prompt: str = "humaneval/complete"

    @property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        return {self.prompt: ("code",)}

    def parse(self, row: Mapping[str, Any]) -> Item:
        prompt, *_ = (words(row, key) for key in ("prompt", "test", "entry_point"))
        return Item(self.id(row, prompt), prompt, row)

    def known(self, item: Item) -> Texts:
        solution = item.row.get("canonical_solution")
        return Texts(item.id, [item.prompt], [solution] if isinstance(solution, str) else [])

    def ask(self, item: Item) -> Chat:
        return chat(prompt.render(self.prompt, code=item.prompt))

    def program(self, item: Item, reply: str) -> str | None:
        return written(item.prompt, item.row["entry_point"], reply)

    def tests(self, item: Item) -> str:
        return f"{item.row['test']}\n\ndef {CHECKED}():\n    check({item.row['entry_point']})\n    return True\n"


def written(prompt: str, name: str, reply: str) -> str | None:
    """The program that a reply makes of its prompt; None where it holds no Python.

    A chat model writes the function once more, in a fenced block or bare: it goes behind the prompt, whose imports and
    helpers it may need. A completion goes on in the function's body; its first line may have lost its indent."""
    head = f"{prompt.rstrip()}\n"
    fenced = blocks(reply)
    whole = re.compile(rf"^(?:async )?def {re.escape(name)}\b", re.M)
    for text in fenced:
        if whole.search(text):
            return longest(f"{head}    pass\n\n", [text])
    if not fenced and whole.search(reply):
        first = START.search(reply)
        return longest(f"{head}    pass\n\n", [reply[first.start() if first else 0 :]])
    for text in fenced or [reply]:
        body = text.strip("\n")
        if made := longest(head, [body, f"    {body}", indent(dedent(body), "    ")]):
            return made
    return None
