"""Auto Evol-Instruct (arXiv 2406.00770): one method for all data, which a model can improve by its failures.

    AutoEvol(model="evolver")(seeds, {"evolver": backend})

The universal method has four steps: list ways to make the instruction harder, plan, rewrite, correct. The instruction
is read from under the last heading, and what step 1 listed, the trajectory, stays with the record that the same reply
made (AE8). arXiv 2412.11231 uses the universal method as it is; `optimizer` first searches for a better one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from evodistill import prompt
from evodistill.backend import Backend, Chat, Completion, Sampling, chat
from evodistill.evolution.evolution import Evolution
from evodistill.evolution.four_steps import parse_final, parse_methods
from evodistill.evolution.method import LABEL, SLOT, Method, slotted
from evodistill.evolution.optimizer.candidate import Candidate
from evodistill.evolution.optimizer.failure_rate import FailureRate
from evodistill.record import Made, Record, to_line

log = logging.getLogger(__name__)

NO_INSTRUCTION = ("no_reply", "truncated", "unparsed")  # reasons of replies that give none

Asks = Callable[[Record], str]  # the prompt of a record


@dataclass(frozen=True)
class AutoEvol(Evolution):
    """Rewrite each instruction by one method, and keep the methods that the reply itself thought of."""

    method: str = "auto_evol/universal"  # a prompt, or your own .jinja file
    optimizer: FailureRate | None = None  # finds a better method first

    step: ClassVar[str] = "auto_evol"

    def __post_init__(self) -> None:
        super().__post_init__()
        if "instruction" not in prompt.variables(self.method):
            raise ValueError(f"method {self.method} shows no instruction: it needs {{{{ instruction }}}} somewhere")
        if not LABEL.search(prompt.source(self.method)):
            raise ValueError(
                f'method {self.method} never asks for "Finally Rewritten Instruction:", which is looked for'
            )
        if self.optimizer:
            slotted(self.method)

    @property
    def roles(self) -> tuple[str, ...]:
        asked = (*super().roles, *(self.optimizer.roles if self.optimizer else ()))
        return tuple(dict.fromkeys(asked))

    @property
    def prompts(self) -> dict[str, Sequence[str]]:
        optimizing = self.optimizer.prompts if self.optimizer else {}
        return {self.method: ("instruction", "input"), **super().prompts, **optimizing}

    @property
    def alone(self) -> bool:
        return self.optimizer is None  # which tries its methods on some of all seeds

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply, for plans: a method where one is asked for, an instruction, and an answer that fails, so that the
        search goes on as long as its patience."""
        method = (
            f"```Optimized Method\n{sentence()} {SLOT}\nFinally Rewritten Instruction:\n```\nPlease provide more.\n"
        )
        return (
            method if self.optimizer else ""
        ) + f"Methods List:\n- {sentence()}\nFinal Rewritten Instruction: {sentence()}"

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record] | Made:
        model = models[self.model]
        seeds = [record for record in records if not record.fault]
        tried = self.optimized(seeds, models) if self.optimizer and seeds else []
        best = [candidate for candidate in tried if candidate.kept][-1:]
        operation = f"candidate_{best[0].id}" if best and best[0].parent else Path(self.method).stem
        asks = best[0].method.fill if best and best[0].method else self.ask

        def rewrite(lines: list[Record], number: int) -> list[Record]:
            return self.rewritten([(asks, line) for line in lines], model, self.sampling, operation, number)

        made = self.evolved(records, models, rewrite)
        tell(model.name, [record for record in made[len(records) :] if record.origin.model])
        if not best:
            return made
        if best[0].method and best[0].parent:
            found = best[0].method.text
            made = [
                replace(record, extra={**record.extra, "method": found})
                if record.origin.operation == operation
                else record
                for record in made
            ]
        files = {
            "method.jinja": [best[0].method.template() if best[0].method else ""],
            "candidates.jsonl": [to_line(candidate.to_dict()) for candidate in tried],
        }
        return Made(made, files)

    def optimized(self, seeds: list[Record], models: Mapping[str, Backend]) -> list[Candidate]:
        assert self.optimizer
        greedy = replace(self.sampling, temperature=0.0, top_p=1.0)  # paper: every candidate is tried without chance

        def evolve(asked: Sequence[tuple[Method, Record]]) -> list[Record]:
            pairs = [(method.fill, record) for method, record in asked]
            return self.rewritten(pairs, models[self.model], greedy, "trial", 1)

        return self.optimizer(slotted(self.method), seeds, evolve, models)

    def ask(self, record: Record) -> str:
        return prompt.render(self.method, instruction=record.instruction, input=record.input)

    def asked(self, parent: Record, child: Record) -> Chat | None:
        """The chat whose reply made the child (RW1)."""
        if found := child.extra.get("method"):  # of the optimizer
            return chat(Method(found).fill(parent))
        ours = (child.origin.step, child.origin.operation) == (self.step, Path(self.method).stem)
        return chat(self.ask(parent)) if ours else None

    def rewritten(
        self, asked: Sequence[tuple[Asks, Record]], model: Backend, sampling: Sampling, operation: str, number: int
    ) -> list[Record]:
        """A child for each record, in order, marked if it is none."""
        replies = model.generate([chat(asks(record)) for asks, record in asked], sampling)
        return [
            self.accept(record, reply, asks, operation, number, model.name)
            for (asks, record), reply in zip(asked, replies, strict=True)
        ]

    def accept(self, parent: Record, reply: Completion, asks: Asks, operation: str, number: int, model: str) -> Record:
        bare = replace(parent, instruction="", input="…" if parent.input else "")
        asked = asks(bare)
        methods = parse_methods(reply.text, asked)
        return self.child(
            parent,
            reply,
            parse_final(reply.text),
            asked=asked,
            operation=operation,
            number=number,
            model=model,
            extra={"trajectory": methods} if methods else {},
        )


def tell(model: str, children: Sequence[Record]) -> None:
    """How many replies hold a final instruction, and why children were rejected (AE3)."""
    reasons = Counter(child.fault.reason for child in children if child.fault)
    read = len(children) - sum(reasons[reason] for reason in NO_INSTRUCTION)
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    log.info(
        "%s: %d of %d replies hold a final instruction, %d are kept; rejected: %s",
        model,
        read,
        len(children),
        len(children) - reasons.total(),
        told or "none",
    )
