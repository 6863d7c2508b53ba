"""Judged reward: a judge rates from 0 to 10 how well a reply does what was asked; it needs no reward model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evodistill import prompt
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.metric import Score
from evodistill.metric.exchange import Evolution, Exchange, check, exchanges
from evodistill.parse import Parsed, parse_score
from evodistill.record import Record

LOW, HIGH = 0, 10


@dataclass(frozen=True)
class JudgedReward:
    """Value `judged_reward` (target `instruction`) or `judged_response_reward`: 0 to 10. What is rewarded is what
    `metric=reward` rewards."""

    model: str  # role that judges
    records: str | None = None  # step whose records are measured; null = the last
    target: str = "instruction"  # instruction | response
    prompt: str = "judged_reward/fulfilment"
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=16))
    evolution: Evolution | None = None  # the step that knows what it asked; target `instruction` needs it

    def __post_init__(self) -> None:
        check(self.target, self.evolution)

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {self.prompt: ("request", "reply")}

    @property
    def parents(self) -> bool:
        """Whether the parents of the records must be among them."""
        return self.target == "instruction"

    @property
    def name(self) -> str:
        return "judged_reward" if self.target == "instruction" else "judged_response_reward"

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        given = exchanges(records, self.target, self.evolution)
        asked = [(record, exchange) for record, exchange in zip(records, given, strict=True) if not exchange.reason]
        chats = [chat(self.render(exchange)) for _, exchange in asked]
        replies = models[self.model].generate(chats, self.sampling)
        verdicts = {record.id: reply for (record, _), reply in zip(asked, replies, strict=True)}
        return [
            self.score(record, exchange, verdicts.get(record.id))
            for record, exchange in zip(records, given, strict=True)
        ]

    def render(self, exchange: Exchange) -> str:
        request = "\n\n".join(message["content"] for message in exchange.request)
        return prompt.render(self.prompt, request=request, reply=exchange.reply)

    def score(self, record: Record, exchange: Exchange, verdict: Completion | None) -> Score:
        if exchange.reason == "seed":
            return Score.of(record, {}, reason="seed")  # was never to be rewarded: no value that is missing
        if verdict is None:
            return Score.of(record, {self.name: None}, reason=exchange.reason)
        parsed: Parsed[float] = Parsed(reason="no_reply") if verdict.error else parse_score(verdict.text, LOW, HIGH)
        raw = (verdict.error or verdict.text) if parsed.reason else ""
        return Score.of(record, {self.name: parsed.value}, reason=parsed.reason, raw=raw)
