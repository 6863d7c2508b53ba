"""What tests of generated Python share: answers run with their tests in the sandbox, and pass@k (Chen et al., arXiv
2107.03374)."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from textwrap import dedent

from evodistill.backend import Backend
from evodistill.benchmark import Benchmark, asked, scored
from evodistill.benchmark.items import Answer, Item
from evodistill.metric import Score
from evodistill.sandbox import Outcome, Program, Sandbox
from evodistill.sandbox.modules import ANY

BLOCK = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.S | re.M)  # the last one may be cut off
START = re.compile(r"^(?:import |from \w|@|class |def |async def )", re.M)
CHECKED = "all_tests_passed"


@dataclass(frozen=True, kw_only=True)
class PassAtK(Benchmark):
    """Value `<benchmark>`, which is pass@1, and `<benchmark>_pass_at_k` for other k: the chance that one of k answers
    passes all tests, estimated from `samples` answers (equation 1). With one answer the label says how it fared."""

    sandbox: Sandbox
    allow: Sequence[str] = (ANY,)  # added to the sandbox's own: what a correct program imports must not fail it
    prompt: str
    samples: int = 1
    k: Sequence[int] = (1,)

    ids = ("task_id", "id")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.k or min(self.k) < 1 or max(self.k) > self.samples:
            raise ValueError(f"each k must be from 1 to samples={self.samples}, got {list(self.k)}")
        if self.samples > 1 and not self.answers and self.sampling.temperature == 0:
            raise ValueError(f"samples={self.samples} needs sampling.temperature > 0: greedy answers are all the same")

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(self.name if k == 1 else f"{self.name}_pass_at_{k}" for k in self.k)

    @property
    def draws(self) -> int:
        return self.samples

    def program(self, item: Item, reply: str) -> str | None:
        """The code that a reply makes of its item; None where it holds no Python."""
        raise NotImplementedError

    def tests(self, item: Item) -> str:
        """What stands behind the code, so that it cannot replace it: definitions, the last of them of CHECKED."""
        raise NotImplementedError

    def __call__(self, models: Mapping[str, Backend]) -> list[Score]:
        items = self.items()
        if self.answers:
            answers = self.recorded(items)
        else:
            chats = [self.ask(item) for item in items for _ in range(self.samples)]
            drawn = iter(asked(models[self.model], chats, self.sampling))
            answers = [[next(drawn) for _ in range(self.samples)] for _ in items]
        codes = [
            [None if answer.reason else self.program(item, answer.text) for answer in given]
            for item, given in zip(items, answers, strict=True)
        ]
        programs = (
            Program(f"{code}\n\n{self.tests(item)}", CHECKED, [[]])
            for item, given in zip(items, codes, strict=True)
            for code in given
            if code is not None
        )
        sandbox = replace(self.sandbox, allow=(*self.sandbox.allow, *self.allow))
        # where nobody wrote code, no sandbox is needed
        outcomes = iter(sandbox.run(programs) if any(code for given in codes for code in given) else ())
        return [
            self.judged(item, given, [None if code is None else next(outcomes)[0] for code in written])
            for item, given, written in zip(items, answers, codes, strict=True)
        ]

    def judged(self, item: Item, answers: Sequence[Answer], outcomes: Sequence[Outcome | None]) -> Score:
        there = [(answer, outcome) for answer, outcome in zip(answers, outcomes, strict=True) if not answer.reason]
        if not there:
            return self.missing(item, answers[0])
        fates = [fate(answer, outcome) for answer, outcome in there]
        passed, n = fates.count("passed"), len(fates)
        found = {name: pass_at_k(n, passed, k) if k <= n else None for name, k in zip(self.values, self.k, strict=True)}
        reason = "too_few_answers" if None in found.values() else ""
        details = [outcome.detail for _, outcome in there if outcome and outcome.detail]
        extra = {"passed": passed, "samples": n, "fates": dict(Counter(fates))} | (
            {"why": details[0]} if details else {}
        )
        return scored(item, found, label=fates[0] if self.samples == 1 else None, reason=reason, extra=extra)


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k answers passes, of n answers of which some passed (equation 1)."""
    return 1 - comb(n - passed, k) / comb(n, k)


def fate(answer: Answer, outcome: Outcome | None) -> str:
    if outcome is None:
        return "no_code" if answer.text.strip() else "empty"
    return outcome.reason or "passed"


def blocks(reply: str) -> list[str]:
    """The fenced blocks of a reply, each as it would stand at the margin."""
    return [dedent(block) for block in BLOCK.findall(reply)]


def longest(head: str, forms: Sequence[str]) -> str | None:
    """The head with the first of the forms of a text that is Python with it; else with as many lines of one as are."""
    for text in forms:
        if text.strip() and fault(head + text) is None:
            return head + text
    above = head.count("\n")
    for text in forms:
        lines = text.split("\n")
        while any(line.strip() for line in lines):
            at = fault(head + "\n".join(lines))
            if at is None:
                return head + "\n".join(lines)
            lines = lines[: max(0, min(at - above, len(lines)) - 1)]  # remarks behind the code are no part of it
    return None


def fault(code: str) -> int | None:
    """The line at which code is no Python; None if it is. It is compiled and not run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strange escapes
        try:
            compile(code, "answer", "exec", dont_inherit=True)
        except SyntaxError as error:
            return error.lineno or 0
        except (ValueError, RecursionError, MemoryError):
            return 0
    return None
