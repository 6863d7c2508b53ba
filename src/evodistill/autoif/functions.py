"""AutoIF, stage 2: verification functions, and cases to test them with, for each constraint (arXiv 2406.13542 §3.1).

    Functions(model="teacher", samples=8)(constraints, {"teacher": backend})

A constraint is asked for several times; its replies judge one another in the cross-validation. A reply without a
function is a reject of its own: it can never shift what belongs to another constraint (AI5).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.autoif import Case, Function, told, with_extra
from evodistill.autoif.function_reply import Written, read
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.parse import Parsed
from evodistill.record import Record, digest

STAND_IN = """```python
def evaluate(response):
    return response != ""

assert evaluate("A reply.") == True
assert evaluate("") == False
```"""


@dataclass(frozen=True)
class Functions:
    """`samples` replies for each constraint, each with a function `evaluate(response)` and its test cases."""

    model: str  # role that writes the functions; one for all evolvers, so that only the constraints differ
    samples: int = 8
    prompt: str = "autoif/functions"
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, top_p=0.95, max_tokens=1024))

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be ≥ 1, got {self.samples}")
        if self.samples > 1 and self.sampling.temperature == 0:
            raise ValueError(f"samples={self.samples} greedy replies are all the same; set sampling.temperature")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: ("constraint",)}

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply for the dry run: a function that its cases and those of every other reply confirm."""
        return STAND_IN

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        model = models[self.model]
        chats = {
            record.id: chat(prompt.render(self.prompt, constraint=record.instruction))
            for record in records
            if not record.fault
        }
        # equal chats in one call are successive draws
        replies = iter(model.generate([one for one in chats.values() for _ in range(self.samples)], self.sampling))
        out = []
        for record in records:
            if record.fault:
                out.append(record)
            else:
                out += self.accept(record, [next(replies) for _ in range(self.samples)], model)
        return out

    def accept(self, record: Record, replies: Sequence[Completion], model: Backend) -> list[Record]:
        """The constraint with what was written for it, and a reject for each reply, or its cases, that is no use."""
        functions: dict[str, Function] = {}  # by their code in one layout: the same twice is one function
        cases: dict[tuple[str, bool], Case] = {}
        rejects = []
        for number, reply in enumerate(replies):
            written = understood(reply)
            if written.value is None:
                rejects.append(failed(record, number, reply, model, written.reason, reply.error))
                continue
            code, found, bad = written.value
            same = functions.setdefault(laid_out(code), Function(code=code, replies=[]))
            same["replies"].append(number)
            for text, follows in found:
                case = cases.setdefault((text, follows), Case(text=text, follows=follows, replies=[]))
                case["replies"].append(number)
            if bad:
                rejects.append(failed(record, number, reply, model, "bad_case", "; ".join(bad)))
        done = with_extra(record, functions=list(functions.values()), cases=list(cases.values()))
        if not functions:
            reasons = told(reject.fault.reason for reject in rejects if reject.fault)
            done = done.reject("no_function", f"none of {len(replies)} replies has one: {reasons}")
        return [done, *rejects]


def laid_out(code: str) -> str:
    """The code in one layout, so that comments and spaces make no difference."""
    try:
        return ast.unparse(ast.parse(code))
    except RecursionError:  # sums of hundreds of terms
        return code


def understood(reply: Completion) -> Parsed[Written]:
    if reply.error:
        return Parsed(reason="no_reply")
    if reply.finish_reason != "length":
        return read(reply.text)
    # small models never stop giving cases: what stands before the line that was cut is whole if a case follows it
    whole = read(reply.text.rpartition("\n")[0])
    return whole if whole.value and whole.value.cases else Parsed(reason="truncated")


def failed(record: Record, number: int, reply: Completion, model: Backend, reason: str, detail: str) -> Record:
    """The reject of one reply."""
    child = record.child(
        record.instruction,
        step="functions",
        operation="function",
        round=record.origin.round,
        model=model.name,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )
    return replace(child, id=digest([child.id, number])).reject(reason, detail, reply.text)
