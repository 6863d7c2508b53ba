"""What metrics that ask a judge share: render, ask, parse; a reply that cannot be parsed is a reason, not a value."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from evodistill import RunError, prompt
from evodistill.backend import Backend, Sampling, chat
from evodistill.metric import Score
from evodistill.metric.agreement import agreement
from evodistill.parse import Parsed
from evodistill.record import Record

VARIABLES = ("instruction", "input")  # the input is part of what is judged (CR3)


@dataclass(frozen=True)
class Judged:
    """One value of each record, `VALUE`, from one reply. With a `second` judge also `VALUE_second`, and for each round
    `VALUE_kappa`, how far the two agree."""

    model: str  # role that judges
    second: str | None = None  # role that judges as well
    records: str | None = None  # step whose records are measured; null = the last
    prompt: str = ""
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=16))

    VALUE: ClassVar[str]
    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.second == self.model:
            raise ValueError(
                f"second={self.second} is the role that judges already; name one with another model, or null"
            )

    def parse(self, reply: str) -> Parsed[Any]:
        raise NotImplementedError

    def score(self, record: Record, found: Any) -> Score:
        """`found` is what `parse` gave, None where it gave a reason."""
        raise NotImplementedError

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.second) if self.second else (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: VARIABLES}

    def suits(self, models: Mapping[str, Path] | Mapping[str, str]) -> None:
        """Refuse two roles of one model, known by its folder, at the start, or by its identity, before it is asked."""
        if self.second and models.get(self.model) == models.get(self.second) is not None:
            raise RunError(
                f"{self.VALUE}.second={self.second} has the same model as {self.model}, which agrees with itself; "
                f"choose another one with model@{self.second}=NAME, or second=null"
            )

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        self.suits({role: models[role].identity for role in self.roles})
        scores = self.judge(records, models[self.model])
        return beside(scores, self.judge(records, models[self.second]), self.VALUE) if self.second else scores

    def whole(self, records: Collection[Record], scores: Collection[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        if not self.second:
            return {}
        return {f"{self.VALUE}_kappa": agreement(scores, self.VALUE, f"{self.VALUE}_second")}

    def judge(self, records: Sequence[Record], judge: Backend) -> list[Score]:
        """One score per record, in order; the raw reply is kept where there is no value."""
        texts = [prompt.render(self.prompt, instruction=record.instruction, input=record.input) for record in records]
        out = []
        for record, reply in zip(records, judge.generate([chat(text) for text in texts], self.sampling), strict=True):
            parsed: Parsed[Any] = Parsed(reason="no_reply") if reply.error else self.parse(reply.text)
            made = self.score(record, parsed.value)
            if parsed.reason:
                made = replace(made, label=None, reason=parsed.reason, raw=reply.error or reply.text)
            out.append(made)
        return out


def beside(scores: Sequence[Score], others: Sequence[Score], name: str) -> list[Score]:
    """The scores of one judge, with those of a second one as the value `name`_second; its label, where judges give
    labels, is in `extra["labels"]`."""
    second = f"{name}_second"
    return [
        replace(
            score,
            values={**score.values, second: other.values[name]},
            reason=score.reason or (f"second_{other.reason}" if other.reason else ""),
            raw=score.raw if score.reason else other.raw,
            extra=dict(score.extra) | ({"labels": {second: other.label}} if score.label or other.label else {}),
        )
        for score, other in zip(scores, others, strict=True)
    ]
