"""AutoIF, stage 8: a judge scores how well a verified reply answers its query (arXiv 2406.13542 §3.2).

A reply can follow the constraint and say nothing: this is the filter against those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from evodistill import prompt
from evodistill.autoif import Reply, given, meets, read_bound, with_extra
from evodistill.autoif.verification import best
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.parse import Parsed, parse_score
from evodistill.record import Record

PROMPT = "autoif/quality"
LOW, HIGH = 0, 10


@dataclass(frozen=True)
class Quality:
    """The replies that passed are judged, and the best of those that reach `score` becomes the output. The others get a
    fault, so that no pair is made of them."""

    model: str  # role that judges
    score: str | float = ">= 8"
    candidates: int = 8  # at most so many replies of a record are judged, by falling pass rate
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=512))

    def __post_init__(self) -> None:
        read_bound(self.score)
        if self.candidates < 1:
            raise ValueError(f"candidates must be ≥ 1, got {self.candidates}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {PROMPT: ("query", "constraint", "reply")}

    def stand_in(self, sentence: Callable[[], str]) -> str:
        """A reply for the dry run."""
        return f"Score: {HIGH}"

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        chosen = {record.id: self.chosen(record) for record in records if not record.fault}
        chats = [
            chat(self.ask(record, number)) for record in records if not record.fault for number in chosen[record.id]
        ]
        verdicts = iter(models[self.model].generate(chats, self.sampling))
        return [
            record if record.fault else self.judged(record, {number: next(verdicts) for number in chosen[record.id]})
            for record in records
        ]

    def ask(self, record: Record, number: int) -> str:
        reply = given(record, "replies")[number]["text"]
        return prompt.render(PROMPT, query=given(record, "query"), constraint=given(record, "constraint"), reply=reply)

    def chosen(self, record: Record) -> list[int]:
        """Which replies are judged: those that passed, the highest pass rates first; `candidates` at most."""
        replies: list[Reply] = given(record, "replies")
        passed = [number for number, reply in enumerate(replies) if reply.get("passed") and "fault" not in reply]
        return sorted(passed, key=lambda number: -replies[number].get("pass_rate", 0.0))[: self.candidates]

    def judged(self, record: Record, verdicts: Mapping[int, Completion]) -> Record:
        replies: list[Reply] = list(given(record, "replies"))
        for number, reply in enumerate(replies):
            if reply.get("passed") and number not in verdicts:
                replies[number] = {**reply, "fault": "not_judged"}
        if not verdicts:
            return record.reject("none_passed", f"none of {len(replies)} replies is verified (step: verification)")
        for number, verdict in verdicts.items():
            score = read_score(verdict)
            if score.value is None:
                replies[number] = {**replies[number], "fault": "unscored"}
            elif meets(score.value, self.score):
                replies[number] = {**replies[number], "score": score.value}
            else:
                replies[number] = {**replies[number], "score": score.value, "fault": "low_quality"}
        done = with_extra(record, replies=replies)
        good = [replies[number] for number in verdicts if "fault" not in replies[number]]
        if good:
            return replace(done, output=best(good)["text"])
        scores = ", ".join(f"{value:g}" for number in verdicts if (value := replies[number].get("score")) is not None)
        first = next(iter(verdicts.values()))
        if not scores:
            return done.reject("unscored", f"{len(verdicts)} verdicts", first.error or first.text)
        return done.reject("low_quality", f"scores {scores}; {self.score} is asked for")


def read_score(verdict: Completion) -> Parsed[float]:
    """The score of a verdict that gives reasons first; a number alone counts on the last line, where AutoIF asks for
    it."""
    if verdict.error or verdict.finish_reason == "length":
        return Parsed(reason="no_verdict")
    score = parse_score(verdict.text, LOW, HIGH)
    last = verdict.text.strip().rpartition("\n")[2]
    return parse_score(last, LOW, HIGH) if score.reason == "no_score" else score
