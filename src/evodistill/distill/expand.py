"""More instructions like those that are there (DistilQwen2's expansion).

mixed: each new one is written after a few demonstrations that are drawn for it (Self-Instruct, arXiv 2212.10560).
anchored: each given one is the anchor of several rounds of n new ones; topics that came up are fed back, so that later
rounds look elsewhere.

    Expand(model="evolver", mode="mixed")(seeds, {"evolver": backend})

With `labels` demonstrations share the task class of the first, the prompt names it, and what turns out to be of
another class is rejected. A new instruction belongs to the line of its first demonstration, or of its anchor.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.anchored import anchored
from evodistill.distill.label import UNLABELLED, Label
from evodistill.distill.language import checked
from evodistill.distill.near_duplicates import NearDuplicates
from evodistill.distill.written import distinct, unwrapped, written
from evodistill.evolution.eliminate import Eliminator
from evodistill.record import Record, digest, split

MODES = {  # and what their prompts may use
    "mixed": ("demonstrations", "category", "belongs"),
    "anchored": ("instruction", "input", "category", "belongs", "topics", "n"),
}
ANOTHER = re.compile(r"(?im)\n[ \t*_#]*+(?:example|new instruction|示例|新指令)[ \t]*+\d*+[ \t*_]*+[:：]")


class Ask(NamedTuple):
    """One new instruction to write: the record that it descends from, then the other demonstrations."""

    demonstrations: list[Record]
    category: str | None = None

    @property
    def parent(self) -> Record:
        return self.demonstrations[0]


@dataclass(frozen=True)
class Expand:
    """The given records, and new ones a round after them."""

    model: str  # role that writes
    mode: str = "mixed"  # mixed | anchored
    size: int | None = None  # mixed: how many to ask for; null = one for each given
    demonstrations: int = 3  # mixed: shown for each new one
    rounds: int = 3  # anchored
    n: int = 10  # anchored: new ones of an anchor in a round
    retries: int = 2  # anchored: more attempts where a reply holds none
    labels: Label | None = None  # tells task classes; null = no conditioning on them
    language: str = "en"  # of the prompt: en | zh
    prompt: str | None = None  # your own .jinja instead
    dedup: NearDuplicates = field(default_factory=NearDuplicates)
    eliminator: Eliminator = field(default_factory=Eliminator)
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.8, top_p=0.95, max_tokens=512))
    seed: int = 0  # of the draws

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be {' or '.join(MODES)}, got {self.mode!r}")
        for name in ("demonstrations", "rounds", "n"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be ≥ 1, or null for one for each record, got {self.size}")
        checked(self.language)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, *(self.labels.roles if self.labels else ()))

    @property
    def template(self) -> str:
        return self.prompt or f"expand/{self.mode}_{self.language}"

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.template: MODES[self.mode]} | (dict(self.labels.prompts) if self.labels else {})

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply for the dry run: one instruction, or n with their topics."""
        if self.mode == "anchored":
            return "\n".join(f"Topic: {digest(sentence())}\nInstruction: {sentence()}" for _ in range(self.n))
        return self.labels.stand_in(sentence) if self.labels else sentence()

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        records = self.labels(records, models) if self.labels else list(records)
        usable, _ = split(records)
        if self.mode == "anchored":
            new = anchored(self, usable, models)
        else:
            new = self.unlike(records, self.write(self.draw(usable), models))
        return [*records, *distinct(new)]

    def draw(self, records: Sequence[Record]) -> list[Ask]:
        """For the i-th new one the demonstrations: the records take turns as the first, the others are drawn. By ids,
        so that the order of the records changes nothing."""
        turn = sorted(records, key=lambda record: digest([self.seed, record.id]))
        n = (self.size or len(turn)) if turn else 0
        return [self.ask(turn[i % len(turn)], turn, str(i // len(turn))) for i in range(n)]

    def ask(self, first: Record, pool: Sequence[Record], draw: str) -> Ask:
        """The first with others of the pool, of its task class if it has one; `draw` names this drawing of them."""
        category = self.category(first)
        alike = [other for other in pool if other.id != first.id and category in (None, self.category(other))]
        rng = random.Random(f"{self.seed}:{first.id}:demonstrations:{draw}")
        return Ask([first, *rng.sample(alike, min(self.demonstrations - 1, len(alike)))], category)

    def category(self, record: Record) -> str | None:
        return self.labels.of(record) if self.labels else None

    def write(
        self,
        asks: Sequence[Ask],
        models: Mapping[str, Backend],
        operation: str = "mixed",
        attempt: int = 0,
        rounds: int = 1,
    ) -> list[Record]:
        """One record for each, so many rounds after its parent, marked where it is no good. Another `attempt` is
        another draw of the same request."""
        writer = models[self.model]
        chats = [chat(self.render(ask.category, demonstrations=ask.demonstrations)) for ask in asks]
        children = []
        for ask, reply in zip(asks, writer.generate(chats, self.again(attempt)), strict=True):
            text = ANOTHER.split(unwrapped(reply.text), maxsplit=1)[0].strip()  # one was asked for
            extra = {"demonstrations": [record.id for record in ask.demonstrations]}
            facts = {"step": "expand", "operation": operation, "rounds": rounds, "extra": extra}
            child = written(ask.parent, reply, writer.name, text, **facts)
            children.append(self.sound(child, ask.parent, reply))
        return self.of_class([ask.category for ask in asks], distinct(children), models)

    def render(self, category: str | None, **values: object) -> str:
        belongs = self.labels.classes[category] if self.labels and category else ""
        return prompt.render(self.template, category=category or "", belongs=belongs, **values)

    def again(self, attempt: int) -> Sampling:
        return replace(self.sampling, seed=self.sampling.seed + attempt)

    def sound(self, child: Record, parent: Record, reply: Completion) -> Record:
        """The child, rejected where it is a refusal, an answer, a copy of the prompt or the like."""
        if child.fault:
            return child
        empty = {"instruction": "", "input": "", "topics": [], "n": self.n, "demonstrations": []}
        # five characters in a row are no copy in a script without spaces
        asked = self.render(None, **{name: value for name, value in empty.items()}) if self.language == "en" else ""
        code, detail = self.eliminator.reason(
            parent.prompt, child.instruction, prompt=asked, answer=parent.output, breadth=True
        )
        return child.reject(code, detail, reply.text) if code else child

    def of_class(
        self, categories: Sequence[str | None], children: list[Record], models: Mapping[str, Backend]
    ) -> list[Record]:
        """The children with their classes; rejected where one was asked for and another came."""
        if not self.labels or not any(categories):
            return children
        out = []
        for category, child in zip(categories, self.labels(children, models), strict=True):
            if not child.fault and category and (found := self.labels.of(child)) != category:
                child = child.reject("other_task", f"{found or UNLABELLED}, but {category} was asked for")
            out.append(child)
        return out

    def unlike(self, known: Sequence[Record], new: Sequence[Record]) -> list[Record]:
        """The new records; those too near to a known or an earlier one are rejected."""
        fresh = iter(
            self.dedup([record.prompt for record in known], [record.prompt for record in new if not record.fault])
        )
        out = []
        for record in new:
            near = None if record.fault else next(fresh)
            out.append(record if near is None else record.reject("near_duplicate", near[:500]))
        return out
