"""AutoIF, stage 4: what the functions check must not contradict the constraint (arXiv 2406.13542 §3.1).

The functions are put into words. Natural language inference takes the constraint as premise and each back-translation
as hypothesis: one contradiction drops the constraint. AutoIF loses about 15 % here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evodistill import RunError, prompt
from evodistill.autoif import given, told, with_extra
from evodistill.backend import Backend, Classified, Completion, Sampling, chat
from evodistill.evolution.items import bare, items
from evodistill.record import Record

PROMPT = "autoif/back_translation"
CONTRADICTION = "contradiction"


@dataclass(frozen=True)
class BackTranslation:
    """Back-translations of up to `functions` functions, in `extra["back_translations"]`. Without an `nli` role they are
    written down and drop nothing."""

    model: str  # role that reads the functions
    nli: str | None = None  # role: a classifier of text pairs with a label "contradiction"
    functions: int = 3
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=128))

    def __post_init__(self) -> None:
        if self.functions < 1:
            raise ValueError(f"functions must be ≥ 1, got {self.functions}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.nli) if self.nli else (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {PROMPT: ("code",)}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        asked = [
            (record, function["code"])
            for record in records
            if not record.fault
            for function in given(record, "functions")[: self.functions]
        ]
        chats = [chat(prompt.render(PROMPT, code=code)) for _, code in asked]
        replies = models[self.model].generate(chats, self.sampling)
        found: dict[str, list[dict[str, object]]] = {}
        for (record, _), reply in zip(asked, replies, strict=True):
            found.setdefault(record.id, []).append(sentence(reply))
        if self.nli:
            pairs = [
                (record.instruction, entry)
                for record in records
                for entry in found.get(record.id, ())
                if "text" in entry
            ]
            verdicts = models[self.nli].classify([(premise, str(entry["text"])) for premise, entry in pairs])
            for (_, entry), verdict in zip(pairs, verdicts, strict=True):
                entry |= inferred(verdict, self.nli)
        return [self.judged(record, found.get(record.id, [])) if not record.fault else record for record in records]

    def judged(self, record: Record, entries: list[dict[str, object]]) -> Record:
        done = with_extra(record, back_translations=entries)
        if not self.nli:
            return done
        for entry in entries:
            if entry.get("label") == CONTRADICTION:
                return done.reject(CONTRADICTION, f"{entry['text']} ({entry['probability']:.2f})")
        if not any("label" in entry for entry in entries):
            faults = told(str(entry.get("fault", "")) for entry in entries)
            return done.reject("not_back_translated", faults)
        return done


def sentence(reply: Completion) -> dict[str, object]:
    """{text}: the first sentence-like line of a reply; or {fault}."""
    if reply.error:
        return {"fault": "no_reply"}
    if reply.finish_reason == "length":
        return {"fault": "truncated"}
    lines = [bare(text) for text, is_item in items(reply.text) if is_item]
    return {"text": lines[0]} if lines else {"fault": "empty"}


def inferred(verdict: Classified, role: str) -> dict[str, object]:
    """{label, probability} of the most likely relation; or {fault}. Labels are known by the whole word, in any case:
    `not_contradiction` is none."""
    if verdict.reason:
        return {"fault": verdict.reason}
    names = {label: label.strip().lower() for label in verdict.labels}
    if CONTRADICTION not in names.values():
        raise RunError(f"{role} has no label {CONTRADICTION!r} but {', '.join(names)}; choose a model for inference")
    label = max(verdict.labels, key=lambda name: verdict.labels[name])
    return {"label": names[label], "probability": verdict.labels[label]}
