"""Evol-Instruct (WizardLM, arXiv 2304.12244) as run by arXiv 2412.11231 §3: a round rewrites the last one's survivors.

    EvolInstruct(model="evolver", rounds=3, breadth=True)(seeds, {"evolver": backend})

Operation of a record in round r: (r + index of its seed) mod number of operations. The index is that of the seed in its
source, so that a record that drops out does not shift the operations of the others (EV6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evodistill import prompt
from evodistill.backend import Backend, Chat, Completion, Sampling, chat
from evodistill.evolution.clean import clean
from evodistill.evolution.confidence import confidence
from evodistill.evolution.eliminate import WORD, Eliminator, Pool
from evodistill.parse import parse_label
from evodistill.record import Record

DEPTH = ("constraints", "deepening", "concretizing", "reasoning")
BREADTH = "breadth"
KEPT = "keep_parent"  # operation of a record that stands in for a failed child
EQUALITY = "evol_instruct/equality"


@dataclass(frozen=True)
class EvolInstruct:
    """Rewrite each instruction once per round, turning through the depth operations and, if wanted, breadth."""

    model: str  # role that rewrites
    rounds: int = 3
    breadth: bool = True  # brand-new instructions beside deeper ones
    operations: Sequence[str] = DEPTH  # prompts under evol_instruct/, in order; or your own .jinja files
    on_failure: str = KEPT  # the line goes on in its parent's form | drop: the line ends
    max_positions: int | None = None  # of which a record keeps log-probabilities, where sampling asks for them
    eliminator: Eliminator = field(default_factory=Eliminator)
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, top_p=0.95, max_tokens=2048))

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be ≥ 1, got {self.rounds}")
        if not self.operations:
            raise ValueError(f"operations is empty; give at least one of {', '.join(DEPTH)}")
        if self.on_failure not in (KEPT, "drop"):
            raise ValueError(f"on_failure must be keep_parent or drop, got {self.on_failure!r}")
        if self.max_positions is not None and self.max_positions < 1:
            raise ValueError(f"max_positions must be ≥ 1, got {self.max_positions}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.eliminator.equality) if self.eliminator.equality else (self.model,)

    @property
    def prompts(self) -> dict[str, Sequence[str]]:
        asked: dict[str, Sequence[str]] = {template(operation): ("instruction", "input") for operation in self.turn}
        return asked | ({EQUALITY: ("parent", "child")} if self.eliminator.equality else {})

    @property
    def turn(self) -> tuple[str, ...]:
        return (*self.operations, BREADTH) if self.breadth else tuple(self.operations)

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        """Every round is kept, with its number in the origin; what failed is kept too, with its reason.

        With `keep_parent` the usable records of a round are a whole data set, one record a line: two evolvers are
        compared on the same seeds, and one that fails often does not win by the easy cases that it survived."""
        made = list(records)
        lines = [record for record in records if not record.fault]
        pool = Pool(self.eliminator.pool_similarity) if self.eliminator.pool_similarity else None
        if pool:
            for record in lines:
                pool.add(record.origin.seed, record.prompt)
        for number in range(1, self.rounds + 1):
            replies = models[self.model].generate([self.ask(record, number) for record in lines], self.sampling)
            children = [
                self.accept(record, reply, number, models) for record, reply in zip(lines, replies, strict=True)
            ]
            children = self.unequal(lines, children, models)
            children = unique(children, pool) if pool else children
            failed = [parent for parent, child in zip(lines, children, strict=True) if child.fault]
            stand_ins = {parent.id: kept(parent, number) for parent in failed} if self.on_failure == KEPT else {}
            made += children + list(stand_ins.values())
            lines = [
                stand_ins.get(parent.id) if child.fault else child
                for parent, child in zip(lines, children, strict=True)
            ]
            lines = [line for line in lines if line]
        return made

    def operation(self, record: Record, number: int) -> str:
        return self.turn[(number + record.origin.index) % len(self.turn)]

    def ask(self, record: Record, number: int) -> Chat:
        return asking(record, self.operation(record, number))

    def asked(self, parent: Record, child: Record) -> Chat | None:
        """The chat whose reply made the child, with the operation that it says was used (RW1)."""
        return asking(parent, child.origin.operation) if child.origin.step == "evol_instruct" else None

    def accept(self, parent: Record, reply: Completion, number: int, models: Mapping[str, Backend]) -> Record:
        """The child that the reply makes, marked if it is none."""
        operation = self.operation(parent, number)
        text = clean(reply.text)
        # a new topic has no use for the old input; neither has a rewrite that took the input in (EV1)
        keeps = operation != BREADTH and not contains(text, parent.input)
        child = parent.child(
            text,
            parent.input if keeps else "",
            extra=confidence(reply, self.max_positions),
            step="evol_instruct",
            operation=operation,
            round=number,
            model=models[self.model].name,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )
        if reply.error:
            return child.reject("no_reply", reply.error)
        if reply.finish_reason == "length":
            return child.reject("truncated", f"cut at {reply.completion_tokens} tokens", reply.text)
        breadth = operation == BREADTH
        old = parent.instruction if keeps or breadth else parent.prompt  # what the child's text stands in for
        asked = prompt.render(template(operation), instruction="", input="…" if parent.input else "")
        code, detail = self.eliminator.reason(old, text, prompt=asked, answer=parent.output, breadth=breadth)
        return child.reject(code, detail, reply.text) if code else child

    def unequal(self, parents: list[Record], children: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        """WizardLM's first rule: reject children that add nothing, as the `equality` role sees it. A verdict that
        cannot be parsed rejects nothing."""
        if not self.eliminator.equality:
            return children
        asked = [i for i, child in enumerate(children) if not child.fault]
        chats = [chat(prompt.render(EQUALITY, parent=parents[i].prompt, child=children[i].prompt)) for i in asked]
        verdicts = models[self.eliminator.equality].generate(chats, Sampling(max_tokens=16))
        out = list(children)
        for i, verdict in zip(asked, verdicts, strict=True):
            if parse_label(verdict.text, ("Equal", "Not Equal")).value == "Equal":
                out[i] = children[i].reject("no_gain", verdict.text, children[i].instruction)
        return out


def asking(record: Record, operation: str) -> Chat:
    # the input is shown: an instruction rewritten without it drifts away from it (EV1)
    return chat(prompt.render(template(operation), instruction=record.instruction, input=record.input))


def kept(parent: Record, number: int) -> Record:
    """The parent once more, as its line's record of this round. Without its answer: that comes from the one teacher."""
    return parent.child(parent.instruction, parent.input, step="evol_instruct", operation=KEPT, round=number, model="")


def template(operation: str) -> str:
    return operation if operation.endswith(prompt.SUFFIX) else f"evol_instruct/{operation}"


def contains(text: str, part: str) -> bool:
    """Whether all words of the part stand in the text, in one piece."""
    return (
        bool(part.strip())
        and f" {' '.join(WORD.findall(part.lower()))} " in f" {' '.join(WORD.findall(text.lower()))} "
    )


def unique(children: list[Record], pool: Pool) -> list[Record]:
    """Reject near-duplicates of other lines, in order; what is accepted joins the pool."""
    out = []
    for child in children:
        if not child.fault:
            if known := pool.find(child.origin.seed, child.prompt):
                child = child.reject("near_duplicate_pool", known[:500], child.instruction)
            else:
                pool.add(child.origin.seed, child.prompt)
        out.append(child)
    return out
