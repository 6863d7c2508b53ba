"""Preference pairs: the student's own answer is what the teacher's is preferred to (DistilQwen2, second stage).

The student is asked what it was trained on, with the same template (C4), and its answer goes to `extra["rejected"]` of
the record itself: nothing is joined by text, where equal prompts would collapse (C5). The output is the chosen answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evodistill import prompt
from evodistill.backend import Backend, Sampling, chat
from evodistill.parse import Parsed, parse_score
from evodistill.record import Record

LOW, HIGH = 0, 100


@dataclass(frozen=True)
class Prefer:
    """Adds `rejected`, `rejected_model` and `rejected_finish_reason` to the extra of each record; with a judge also
    `margin`, its score (0 to 100) of the output minus that of the rejected answer, None where it gave no score."""

    model: str  # role that answers: the student that is to be trained further
    judge: str | None = None  # role that scores both answers
    prompt: str = "prefer/score"  # what the judge is asked
    sampling: Sampling = field(default_factory=Sampling)  # of the student
    judge_sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=16))

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.judge) if self.judge else (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: ("instruction", "input", "answer")} if self.judge else {}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        student = models[self.model]
        asked = [record for record in records if not record.fault and record.output]
        replies = student.generate([chat(record.prompt) for record in asked], self.sampling)
        made = {}
        for record, reply in zip(asked, replies, strict=True):
            told = {"rejected": reply.text.strip(), "rejected_model": student.name}
            told |= {"rejected_finish_reason": reply.finish_reason}
            pair = replace(record, extra={**record.extra, **told})
            made[record.id] = pair.reject("no_reply", reply.error) if reply.error else pair
        if self.judge:
            pairs = [record for record in made.values() if not record.fault]
            margins = self.margins(pairs, models[self.judge])
            made |= {
                record.id: replace(record, extra={**record.extra, **margin})
                for record, margin in zip(pairs, margins, strict=True)
            }
        return [made.get(record.id, record) for record in records]

    def margins(self, pairs: Sequence[Record], judge: Backend) -> list[dict[str, Any]]:
        """Each answer is judged alone, so that no place in a prompt favours one of them."""
        answers = [answer for record in pairs for answer in (record.output, record.extra["rejected"])]
        asked = [record for record in pairs for _ in range(2)]
        chats = [
            chat(prompt.render(self.prompt, instruction=record.instruction, input=record.input, answer=answer))
            for record, answer in zip(asked, answers, strict=True)
        ]
        scores = [
            Parsed[float](reason="no_reply") if reply.error else parse_score(reply.text, LOW, HIGH)
            for reply in judge.generate(chats, self.judge_sampling)
        ]
        return [margin(*scores[place : place + 2]) for place in range(0, len(scores), 2)]


def margin(chosen: Parsed[float], rejected: Parsed[float]) -> dict[str, Any]:
    if chosen.value is None or rejected.value is None:
        return {"margin": None, "margin_reason": chosen.reason or rejected.reason}
    return {"margin": chosen.value - rejected.value}
