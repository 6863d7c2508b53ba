"""AutoIF, stage 1: constraints on the form of a reply, self-instructed from seeds (arXiv 2406.13542 §3.1).

    AutoIF(model="evolver", calls=100, per_call=50)(seeds, {"evolver": backend})

Each line of each reply is a record, kept or rejected with its reason. What follows, from verification functions to
preference pairs, are the steps of `evodistill.autoif`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evodistill import prompt
from evodistill.backend import Backend, Chat, Completion, Sampling, chat
from evodistill.evolution.constraint_rules import Known, unfit
from evodistill.evolution.items import items
from evodistill.record import Origin, Record, digest

PROMPT = "autoif/self_instruct"


@dataclass(frozen=True)
class AutoIF:
    """New constraints beside the seeds: `calls` requests with the seeds as examples, `per_call` constraints in each."""

    model: str  # role that writes the constraints
    calls: int = 100
    per_call: int = 50
    examples: int | None = None  # seeds shown in a call, drawn for each; null = all of them, in order
    seeds: bool = True  # the seeds are constraints of the set too
    max_similarity: float = (
        0.9  # to a seed or an earlier constraint: 1 − normalised insert/delete distance of characters
    )
    min_words: int = 3
    max_words: int = 40
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, top_p=0.95, max_tokens=2048))

    def __post_init__(self) -> None:
        for name in ("calls", "per_call", "examples", "min_words"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be ≥ 1, got {value}")
        if not 0 < self.max_similarity <= 1:
            raise ValueError(f"max_similarity must be in (0, 1], got {self.max_similarity}")
        if self.max_words < self.min_words:
            raise ValueError(f"max_words must be ≥ min_words={self.min_words}, got {self.max_words}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {PROMPT: ("examples", "count")}

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply for the dry run: constraints that are no duplicates of one another."""
        return "\n".join(f"- Use the word {digest(sentence())} exactly once." for _ in range(self.per_call))

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        model = models[self.model]
        seeds = [record for record in records if not record.fault]
        # the same chat again is the next draw of it
        replies = model.generate([self.ask(seeds, call) for call in range(self.calls)], self.sampling)
        known = Known(self.max_similarity)
        for seed in seeds:
            known.add(seed.instruction, "of_seed")
        made = []
        for call, reply in enumerate(replies):
            for line in self.lines(call, reply, model.name):
                made.append(line if line.fault else self.checked(line, known))
        if not self.seeds:
            records = [record.reject("seed", "seeds: false, only new constraints go on") for record in records]
        return [*records, *made]

    def ask(self, seeds: list[Record], call: int) -> Chat:
        shown = seeds
        if self.examples is not None and self.examples < len(seeds):
            rng = random.Random(f"{self.sampling.seed}:{call}:examples")
            shown = rng.sample(seeds, self.examples)
        return chat(prompt.render(PROMPT, examples=[seed.instruction for seed in shown], count=self.per_call))

    def lines(self, call: int, reply: Completion, model: str) -> list[Record]:
        """A record for each line of a reply; one, rejected, for a reply without any."""

        def line(number: int, text: str) -> Record:
            # paired between evolvers by the place: the n-th line of the same call
            place = digest(["autoif", call, number])
            origin = Origin(place, call * self.per_call + number, "", "autoif", "self_instruct", 1, model)
            return Record(digest([place, model, text]), text, origin=origin)

        if reply.error:
            return [line(0, "").reject("no_reply", reply.error)]
        found = items(reply.text)
        if not found:
            return [line(0, "").reject("empty", raw=reply.text)]
        out = [
            line(number, text) if is_item else line(number, text).reject("not_an_item", raw=text)
            for number, (text, is_item) in enumerate(found)
        ]
        if reply.finish_reason == "length":  # the last line was cut
            out[-1] = out[-1].reject("truncated", f"cut at {reply.completion_tokens} tokens", out[-1].instruction)
        return out

    def checked(self, record: Record, known: Known) -> Record:
        """The constraint, rejected by the first rule it breaks; what passes is known from now on."""
        text = record.instruction
        asked = prompt.render(PROMPT, examples=[], count="")
        code, detail = unfit(text, self.min_words, self.max_words, asked)
        if not code and (found := known.find(text)):
            code, detail = f"duplicate_{found[0]}", found[1]
        if code:
            return record.reject(code, detail, text)
        known.add(text, "of_earlier")
        return record
