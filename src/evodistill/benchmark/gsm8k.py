"""GSM8K: 1,319 grade-school maths problems whose answer is one number (Cobbe et al., arXiv 2110.14168).

Two readings of a reply: strict, the number on its last line that begins with #### (as the data set writes it); and
flexible, the last number anywhere, which is what the paper's numbers rest on (OpenCompass) and what `gsm8k` is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from evodistill import prompt
from evodistill.backend import Chat, chat
from evodistill.benchmark import Benchmark, scored
from evodistill.benchmark.items import Answer, Item, Texts, words
from evodistill.metric import Score

NUMBER = re.compile(
    r"(?<!\w)(?<!\d\.)"  # behind "is..." or "Rs." it is one, within a word or 1.2.3 it is none
    r"(?:[-−+](?:[$€£] ?)?|[$€£] ?[-−+]?)?"  # a sign touches its number: "- 18" is a dash, or an item of a list
    r"(\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\.)\.\d+)"  # a full stop behind it ends the sentence
)
MARKED = re.compile(r"####(.*)")
CALCULATED = re.compile(r"<<[^<>]*+>>")  # 5*12=<<5*12=60>>60: of the data set's calculator


@dataclass(frozen=True, kw_only=True)
class GSM8K(Benchmark):
    """Values `gsm8k` and `gsm8k_strict`: 1 or 0. A reply without a number is wrong; the label says where the number was
    found (`marked`, `last`) or that there was none (`no_number`, `empty`)."""

    prompt: str = "gsm8k/solve"

    @property
    def values(self) -> tuple[str, ...]:
        return ("gsm8k", "gsm8k_strict")

    @property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        return {self.prompt: ("question",)}

    def parse(self, row: Mapping[str, Any]) -> Item:
        if strict(words(row, "answer")) is None:
            raise ValueError("its answer has no line '#### number'")
        question = words(row, "question")
        return Item(self.id(row, question), question, row)

    def known(self, item: Item) -> Texts:
        answer = item.row["answer"]
        return Texts(item.id, [item.prompt], [answer, CALCULATED.sub("", answer)])

    def ask(self, item: Item) -> Chat:
        return chat(prompt.render(self.prompt, question=item.prompt))

    def score(self, item: Item, answer: Answer) -> Score:
        right = strict(item.row["answer"])
        marked, last = strict(answer.text), flexible(answer.text)
        label = "marked" if marked is not None else "last" if last is not None else "no_number"
        values = {"gsm8k": float(last == right), "gsm8k_strict": float(marked == right)}
        extra = {"said": None if last is None else str(last)} | ({"cut": True} if answer.cut else {})
        return scored(item, values, label=label if answer.text.strip() else "empty", extra=extra)


def strict(text: str) -> Decimal | None:
    """The first number behind the last ####."""
    marked = MARKED.findall(text)
    found = NUMBER.search(marked[-1]) if marked else None
    return value(found) if found else None


def flexible(text: str) -> Decimal | None:
    """The last number."""
    found = list(NUMBER.finditer(text))
    return value(found[-1]) if found else None


def value(found: re.Match[str]) -> Decimal:
    """1,000 and $1000.00 are the same."""
    number = Decimal(found[1].replace(",", ""))
    return -number if re.search("[-−]", found[0]) else number
