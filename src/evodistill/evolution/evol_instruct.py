"""Evol-Instruct (WizardLM, arXiv 2304.12244) as run by arXiv 2412.11231 §3: a round rewrites the last one's survivors.

    EvolInstruct(model="evolver", rounds=3, breadth=True)(seeds, {"evolver": backend})

Operation of a record in round r: (r + index of its seed) mod number of operations. The index is that of the seed in its
source, so that a record that drops out does not shift the operations of the others (EV6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evodistill import prompt
from evodistill.backend import Backend, Chat, Completion, chat
from evodistill.evolution.clean import clean
from evodistill.evolution.evolution import Evolution
from evodistill.parse import Parsed
from evodistill.record import Record

DEPTH = ("constraints", "deepening", "concretizing", "reasoning")
BREADTH = "breadth"


@dataclass(frozen=True)
class EvolInstruct(Evolution):
    """Rewrite each instruction once per round, turning through the depth operations and, if wanted, breadth."""

    rounds: int = 3
    breadth: bool = True  # brand-new instructions beside deeper ones
    operations: Sequence[str] = DEPTH  # prompts under evol_instruct/, in order; or your own .jinja files

    step: ClassVar[str] = "evol_instruct"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.operations:
            raise ValueError(f"operations is empty; give at least one of {', '.join(DEPTH)}")

    @property
    def prompts(self) -> dict[str, Sequence[str]]:
        asked: dict[str, Sequence[str]] = {template(operation): ("instruction", "input") for operation in self.turn}
        return asked | super().prompts

    @property
    def turn(self) -> tuple[str, ...]:
        return (*self.operations, BREADTH) if self.breadth else tuple(self.operations)

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        model = models[self.model]

        def rewrite(lines: list[Record], number: int) -> list[Record]:
            replies = model.generate([self.ask(line, number) for line in lines], self.sampling)
            return [self.accept(line, reply, number, model.name) for line, reply in zip(lines, replies, strict=True)]

        return self.evolved(records, models, rewrite)

    def operation(self, record: Record, number: int) -> str:
        return self.turn[(number + record.origin.index) % len(self.turn)]

    def ask(self, record: Record, number: int) -> Chat:
        return asking(record, self.operation(record, number))

    def asked(self, parent: Record, child: Record) -> Chat | None:
        """The chat whose reply made the child, with the operation that it says was used (RW1)."""
        return asking(parent, child.origin.operation) if child.origin.step == self.step else None

    def accept(self, parent: Record, reply: Completion, number: int, model: str) -> Record:
        """The child that the reply makes, marked if it is none."""
        operation = self.operation(parent, number)
        return self.child(
            parent,
            reply,
            Parsed(clean(reply.text)),
            asked=prompt.render(template(operation), instruction="", input="…" if parent.input else ""),
            operation=operation,
            number=number,
            model=model,
            breadth=operation == BREADTH,
        )


def asking(record: Record, operation: str) -> Chat:
    # the input is shown: an instruction rewritten without it drifts away from it (EV1)
    return chat(prompt.render(template(operation), instruction=record.instruction, input=record.input))


def template(operation: str) -> str:
    return operation if operation.endswith(prompt.SUFFIX) else f"evol_instruct/{operation}"
