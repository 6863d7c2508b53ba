"""Model-fitting difficulty (TAPIR, arXiv 2405.13448): how much better than the student's is the teacher's answer?

    MFD(delta=2)(answered, {"student": student, "judge": judge})

A judge scores both answers side by side, once in each order, so that a liking for the first or the second place falls
out; the difficulty is the mean of teacher's minus student's score. A record of at least `delta` is hard for this
student.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.language import checked
from evodistill.parse import NUMBER, Parsed
from evodistill.record import Record

log = logging.getLogger(__name__)

VARIABLES = ("instruction", "input", "first", "second", "low", "high")
KEY = "mfd"  # of a record's extra


@dataclass(frozen=True)
class MFD:
    """The records with `extra["mfd"]`: value, scores in both orders, hard or not, or the reason why there is no value.

    What the student answers stands in `extra["student_answer"]`."""

    student: str = "student"  # role that answers
    model: str = "judge"  # role that scores
    delta: float = 2.0
    low: int = 1  # of the judge's scale
    high: int = 10
    recorded: str | None = None  # key of `extra` with answers of the student that are there already; null = it is asked
    language: str = "en"  # of the judge's prompt: en | zh
    prompt: str | None = None  # your own .jinja instead
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=24))  # of the judge
    student_sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        checked(self.language)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,) if self.recorded else (self.student, self.model)

    @property
    def template(self) -> str:
        return self.prompt or f"mfd/{self.language}"

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.template: VARIABLES}

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply for the dry run: one of two verdicts, so that a quarter of the records is hard."""
        said = sentence()
        first, second = (self.high, self.low) if len(said) % 2 else (self.low, self.high)
        return f"{said}\nFirst: {first}\nSecond: {second}"

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        answered = [record for record in records if not record.fault and record.output]
        answers = self.answers(answered, models)
        both = [(record, answer) for record, answer in zip(answered, answers, strict=True) if not answer.error]
        asks = [
            chat(self.render(record, *pair))
            for record, answer in both
            for pair in ((record.output, answer.text), (answer.text, record.output))
        ]
        replies = models[self.model].generate(asks, self.sampling)
        done = {
            record.id: self.fitted(record, reason=answer.error or "no_answer")
            for record, answer in zip(answered, answers, strict=True)
        }
        for (record, answer), first, second in zip(both, replies[::2], replies[1::2], strict=True):
            done[record.id] = self.scored(record, answer.text, first, second)
        out = [done.get(record.id, record) for record in records]
        scored = [record for record in out if value(record) is not None]
        log.info(
            "model-fitting difficulty: %d of %d records have one, %d of them are hard (%g or more)",
            *(len(scored), len(answered), sum(map(hard, scored)), self.delta),
        )
        return out

    def answers(self, records: Sequence[Record], models: Mapping[str, Backend]) -> list[Completion]:
        """What the student says, cut off or not: one that does not stop is one to be taught."""
        if self.recorded:
            texts = [record.extra.get(self.recorded) for record in records]
            return [
                Completion(text, "stop") if isinstance(text, str) else Completion("", "error", error="not_recorded")
                for text in texts
            ]
        return models[self.student].generate([chat(record.prompt) for record in records], self.student_sampling)

    def render(self, record: Record, first: str, second: str) -> str:
        values = {"instruction": record.instruction, "input": record.input, "first": first, "second": second}
        return prompt.render(self.template, **values, low=self.low, high=self.high)

    def scored(self, record: Record, answer: str, first: Completion, second: Completion) -> Record:
        """The record with its difficulty: the teacher stood first in one reply, second in the other."""
        record = replace(record, extra={**record.extra, "student_answer": answer})
        pairs = [parse_pair(reply.text, self.low, self.high) for reply in (first, second)]
        if reason := next((pair.reason for pair in pairs if pair.reason), ""):
            return self.fitted(record, reason=reason, raw=[first.error or first.text, second.error or second.text])
        (teacher, student), (student_again, teacher_again) = (pair.value or (0.0, 0.0) for pair in pairs)
        difficulty = (teacher - student + teacher_again - student_again) / 2
        told = {"teacher": [teacher, teacher_again], "student": [student, student_again]}
        return self.fitted(record, value=difficulty, hard=difficulty >= self.delta, **told)

    def fitted(self, record: Record, **told: object) -> Record:
        return replace(record, extra={**record.extra, KEY: {"value": None, "hard": False, **told}})


def value(record: Record) -> float | None:
    return record.extra.get(KEY, {}).get("value")


def hard(record: Record) -> bool:
    return bool(record.extra.get(KEY, {}).get("hard"))


def parse_pair(text: str, low: float, high: float) -> Parsed[tuple[float, float]]:
    """The scores of the first and the second answer: labelled, or two numbers and nothing else."""
    flat = re.sub(r"[*_`#]", "", text).strip()
    of_scale = rf"(?:\s*(?:/|out of)\s*{high:g}\b)?"
    alone = re.fullmatch(rf"\W*({NUMBER}){of_scale}[\s,;]+({NUMBER}){of_scale}\W*", flat)
    score = rf"[^\d\n]{{0,20}}?[:：=]\s*({NUMBER})"
    labels = [re.findall(rf"(?:{name}){score}", flat, re.I) for name in ("first|第一个", "second|第二个")]
    if alone:
        numbers = [float(alone[1].replace(",", ".")), float(alone[2].replace(",", "."))]
    elif all(len(set(found)) == 1 for found in labels):
        numbers = [float(found[0].replace(",", ".")) for found in labels]
    else:
        return Parsed(reason="no_pair_of_scores")
    if not all(low <= number <= high for number in numbers):
        return Parsed(reason="out_of_range")
    return Parsed((numbers[0], numbers[1]))
