"""What evolutions share: rounds of rewrites, in which a line goes on in its parent's form where its child fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.evolution.confidence import confidence
from evodistill.evolution.eliminate import WORD, Eliminator, Pool
from evodistill.parse import Parsed, parse_label
from evodistill.record import Record

KEPT = "keep_parent"  # operation of a record that stands in for a failed child
POOLED = "near_duplicate_pool"  # reason of a child too near to another line
EQUALITY = "evol_instruct/equality"

Rewrite = Callable[[list[Record], int], list[Record]]  # (parents, number of the round) → a child for each, in order


@dataclass(frozen=True)
class Evolution:
    """The settings of any evolution; a subclass says what it asks and how it reads the reply."""

    model: str  # role that rewrites
    rounds: int = 1
    on_failure: str = KEPT  # the line goes on in its parent's form | drop: the line ends
    max_positions: int | None = None  # of which a record keeps log-probabilities, where sampling asks for them
    eliminator: Eliminator = field(default_factory=Eliminator)
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, top_p=0.95, max_tokens=2048))

    step: ClassVar[str]  # name of the subclass in the origin of its records

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be ≥ 1, got {self.rounds}")
        if self.on_failure not in (KEPT, "drop"):
            raise ValueError(f"on_failure must be keep_parent or drop, got {self.on_failure!r}")
        if self.max_positions is not None and self.max_positions < 1:
            raise ValueError(f"max_positions must be ≥ 1, got {self.max_positions}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.eliminator.equality) if self.eliminator.equality else (self.model,)

    @property
    def prompts(self) -> dict[str, Sequence[str]]:
        return {EQUALITY: ("parent", "child")} if self.eliminator.equality else {}

    def evolved(self, records: list[Record], models: Mapping[str, Backend], rewrite: Rewrite) -> list[Record]:
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
            children = self.unequal(lines, rewrite(lines, number), models)
            children = unique(children, pool) if pool else children
            failed = [parent for parent, child in zip(lines, children, strict=True) if child.fault]
            stand_ins = {parent.id: self.kept(parent, number) for parent in failed} if self.on_failure == KEPT else {}
            made += children + list(stand_ins.values())
            lines = [
                stand_ins.get(parent.id) if child.fault else child
                for parent, child in zip(lines, children, strict=True)
            ]
            lines = [line for line in lines if line]
        return made

    @property
    def alone(self) -> bool:
        return True

    @property
    def streams(self) -> bool:
        return self.alone and not self.eliminator.pool_similarity  # the pool is one of all lines

    def verdicts(self, records: Iterable[Record]) -> Iterator[tuple[Record, str]]:
        """What a finished run's pool says of each child that came before it: the near-duplicate, or nothing. The
        records are those that the run was given and the children it made, round by round in the order of the lines."""
        if not self.eliminator.pool_similarity:
            return
        pool = Pool(self.eliminator.pool_similarity)
        for record in records:
            if not record.fault and record.origin.step != self.step:
                pool.add(record.origin.seed, record.prompt)
            elif not record.fault or record.fault.reason == POOLED:
                near = pool.find(record.origin.seed, record.prompt)
                if not near:
                    pool.add(record.origin.seed, record.prompt)
                yield record, near

    def child(
        self,
        parent: Record,
        reply: Completion,
        text: Parsed[str],
        *,
        asked: str,
        operation: str,
        number: int,
        model: str,
        breadth: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> Record:
        """The child that the instruction read from a reply makes, marked if it is none. `asked` is the prompt without
        its data; a `breadth` child has a topic of its own."""
        instruction = text.value or ""
        # a new topic has no use for the old input; neither has a rewrite that took the input in (EV1)
        keeps = not breadth and not contains(instruction, parent.input)
        child = parent.child(
            instruction,
            parent.input if keeps else "",
            extra={**confidence(reply, self.max_positions), **(extra or {})},
            step=self.step,
            operation=operation,
            round=number,
            model=model,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )
        if reply.error:
            return child.reject("no_reply", reply.error)
        if reply.finish_reason == "length":
            return child.reject("truncated", f"cut at {reply.completion_tokens} tokens", reply.text)
        if text.reason:
            return child.reject("unparsed", text.reason, reply.text)
        old = parent.instruction if keeps or breadth else parent.prompt  # what the child's text stands in for
        code, detail = self.eliminator.reason(old, instruction, prompt=asked, answer=parent.output, breadth=breadth)
        return child.reject(code, detail, reply.text) if code else child

    def kept(self, parent: Record, number: int) -> Record:
        """The parent once more, as its line's record of this round. Without its answer: that comes from the one
        teacher."""
        return parent.child(parent.instruction, parent.input, step=self.step, operation=KEPT, round=number, model="")

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
                child = child.reject(POOLED, known[:500], child.instruction)
            else:
                pool.add(child.origin.seed, child.prompt)
        out.append(child)
    return out
