"""Keep the records that a judge finds good (EasyDistill's data evaluation): each criterion is a question of its own.

    JudgeFilter("judge", least={"helpfulness": 6, "correctness": 1}, top=0.7)(answered, {"judge": backend})

Scores stand in `extra["judged"]`. A reply that cannot be read is no score: its record is rejected as `unscored`, with
the reply. Correctness is 0 or 1 and only a threshold: it enters no mean with scores from 0 to 9 (C8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.distill.language import checked
from evodistill.parse import Parsed, parse_score, parse_tag
from evodistill.record import Record, digest

VARIABLES = ("instruction", "input", "output")
CORRECTNESS = "correctness"
HIGHEST = 9  # of every other criterion


@dataclass(frozen=True)
class JudgeFilter:
    """The records with their scores; those below a threshold or outside the top share are rejected."""

    model: str  # role that judges
    least: Mapping[str, float]  # criterion → what a record must reach; a criterion is a prompt, or your .jinja
    top: float = 1.0  # share that is kept of those that reach all thresholds, best mean first; 1 = all
    language: str = "en"  # of the prompts: en | zh
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=16))
    seed: int = 0  # of ties

    def __post_init__(self) -> None:
        if not self.least:
            raise ValueError("least is empty; give at least one criterion, such as helpfulness: 0")
        for name, value in self.least.items():
            if not 0 <= value <= highest(name):
                raise ValueError(f"least.{name} must be from 0 to {highest(name)}, got {value}")
        if not 0 < self.top <= 1:
            raise ValueError(f"top must be in (0, 1], got {self.top}")
        if self.top < 1 and set(self.least) == {CORRECTNESS}:
            raise ValueError("top needs a criterion to rank by beside correctness, or must be 1")
        checked(self.language)

    @property
    def alone(self) -> bool:
        return self.top == 1  # a share is one of all records

    @property
    def streams(self) -> bool:
        return self.alone

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.template(name): VARIABLES for name in self.least}

    def template(self, name: str) -> str:
        return name if name.endswith(prompt.SUFFIX) else f"judge_filter/{name}_{self.language}"

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        answered = [record for record in records if not record.fault and record.output]
        asks = [
            chat(prompt.render(self.template(name), **{key: getattr(record, key) for key in VARIABLES}))
            for record in answered
            for name in self.least
        ]
        replies = iter(models[self.model].generate(asks, self.sampling))
        done = {record.id: self.scored(record, {name: next(replies) for name in self.least}) for record in answered}
        passed = sorted(
            (record for record in done.values() if not record.fault),
            key=lambda record: (-self.rank(record), digest([self.seed, record.id])),
        )
        n = max(1, round(self.top * len(passed)))
        done |= {
            record.id: record.reject("not_in_top", f"rank {rank} of {len(passed)}, mean {self.rank(record):.3f}")
            for rank, record in enumerate(passed[n:], n + 1)
        }
        return [done.get(record.id, record if record.output else record.reject("no_answer")) for record in records]

    def scored(self, record: Record, replies: Mapping[str, Completion]) -> Record:
        """The record with the scores that could be read, rejected for the first that could not or is too low."""
        parsed: dict[str, Parsed[float]] = {
            name: Parsed(reason="no_reply") if reply.error else parse(reply.text, highest(name))
            for name, reply in replies.items()
        }
        scores = {name: score.value for name, score in parsed.items() if score.value is not None}
        out = replace(record, extra={**record.extra, "judged": scores})
        for name, score in parsed.items():
            if score.value is None:
                raw = replies[name].error or replies[name].text
                return out.reject("unscored", f"{name}: {score.reason}", raw)
        for name, value in scores.items():
            if value < (least := self.least[name]):
                return out.reject("below_threshold", f"{name} {value:g}, at least {least:g} is wanted")
        return out

    def rank(self, record: Record) -> float:
        """Mean of the scores from 0 to 9."""
        scores = [score for name, score in record.extra["judged"].items() if name != CORRECTNESS]
        return sum(scores) / len(scores) if scores else 0.0


def highest(name: str) -> int:
    return 1 if name == CORRECTNESS else HIGHEST


def parse(text: str, high: int) -> Parsed[float]:
    """The number of a reply, in `<score>` tags or as `parse_score` finds it. Nothing lies between right and wrong."""
    score = parse_score(parse_tag(text, "score").value or text, 0, high)
    if score.value is not None and high == 1 and score.value not in (0, 1):
        return Parsed(reason="neither_0_nor_1")
    return score
