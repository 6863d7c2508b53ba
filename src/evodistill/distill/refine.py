"""Rewrite instructions so that they say more clearly and in more detail what they ask for (DistilQwen2's refinement).

    Refine(model="evolver", labels=Label(…))(records, {"evolver": backend, "judge": judge})

The rewritten instruction is a record a round after its original, which stands beside it in `extra["original"]` and, set
aside under the reason `refined`, among the rejects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.label import Label
from evodistill.distill.language import checked
from evodistill.distill.written import kept, stand_in, unwrapped, written
from evodistill.evolution.eliminate import Eliminator
from evodistill.evolution.evolution import contains
from evodistill.record import Record
from evodistill.results import REFINED


@dataclass(frozen=True)
class Refine:
    """One rewritten record for each. Where a rewrite fails (it answers, drifts to another task class, is too short or
    too long …) the original stands in for it, so that the records of the round are still one a line."""

    model: str  # role that rewrites
    labels: Label | None = None  # tells task classes: a rewrite must keep its original's; null = not checked
    keep_original: bool = False  # true: originals stay usable records too
    language: str = "en"  # of the prompt: en | zh
    prompt: str | None = None  # your own .jinja instead
    eliminator: Eliminator = field(default_factory=Eliminator)
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, top_p=0.95, max_tokens=512))

    def __post_init__(self) -> None:
        checked(self.language)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, *(self.labels.roles if self.labels else ()))

    @property
    def template(self) -> str:
        return self.prompt or f"refine/{self.language}"

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.template: ("instruction", "input")} | (dict(self.labels.prompts) if self.labels else {})

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        records = self.labels(records, models) if self.labels else list(records)
        open_ = [record for record in records if not record.fault]
        writer = models[self.model]
        chats = [chat(self.render(record.instruction, record.input)) for record in open_]
        replies = writer.generate(chats, self.sampling)
        children = [self.accept(record, reply, writer.name) for record, reply in zip(open_, replies, strict=True)]
        children = self.same_class(open_, children, models)
        made = []
        for parent, child in zip(open_, children, strict=True):
            made += [child, stand_in(parent, "refine")] if child.fault else [child]
        aside = {record.id: record if self.keep_original else record.reject(REFINED) for record in open_}
        return [*(aside.get(record.id, record) for record in records), *made]

    def render(self, instruction: str, input: str) -> str:
        return prompt.render(self.template, instruction=instruction, input=input)

    def accept(self, parent: Record, reply: Completion, model: str) -> Record:
        text = unwrapped(reply.text)
        took_in = contains(text, parent.input)  # such a rewrite has no use for the input beside it
        extra = kept(parent) | {"original": {"instruction": parent.instruction, "input": parent.input}}
        child = written(
            parent,
            reply,
            model,
            text,
            input="" if took_in else parent.input,
            step="refine",
            operation="refine",
            extra=extra,
        )
        if child.fault:
            return child
        # five characters in a row are no copy in a script without spaces
        asked = self.render("", "…" if parent.input else "") if self.language == "en" else ""
        old = parent.prompt if took_in else parent.instruction
        code, detail = self.eliminator.reason(old, text, prompt=asked, answer=parent.output)
        return child.reject(code, detail, reply.text) if code else child

    def same_class(self, parents: list[Record], children: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        """Reject children of another task class than their parent's. What has no class is not compared."""
        if not self.labels:
            return children
        again = replace(self.labels, overwrite=True)  # the class that came along is the parent's
        out = []
        for parent, child in zip(parents, again([*children], models), strict=True):
            old, new = self.labels.of(parent), self.labels.of(child)
            if not child.fault and old and new and old != new:
                child = child.reject("changed_task", f"{old} to {new}", child.instruction)
            out.append(child)
        return out
