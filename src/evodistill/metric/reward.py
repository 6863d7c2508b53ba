"""Reward: how well a reward model likes an evolved instruction as the reply to its evolution prompt (arXiv 2412.11231
§4, table 14), or an output as the reply to its instruction.

Rewards have no common scale: compare them within one reward model only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evodistill.backend import Backend, Rewarded
from evodistill.metric import Score
from evodistill.metric.exchange import Evolution, Exchange, check, exchanges
from evodistill.record import Record

ADJUSTED = {"multiply": "times_length", "divide": "by_length"}


@dataclass(frozen=True)
class Reward:
    """Value `reward` (target `instruction`) or `response_reward`: the model's raw logit, whatever else is wanted (RW2).

    `length` adds `…_times_length` (raw × characters / their mean) and `…_by_length` (raw ÷ the same). The mean is that
    of the rewarded replies of the round. The paper's script did the one or the other, depending on the reward model;
    with negative rewards either turns the order of long and short replies around."""

    model: str  # role that rewards
    records: str | None = None  # step whose records are measured; null = the last
    target: str = "instruction"  # instruction | response
    length: Sequence[str] = ()  # adjustments that stand beside the raw value: multiply, divide
    evolution: Evolution | None = None  # the step that knows what it asked; target `instruction` needs it

    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        check(self.target, self.evolution)
        if unknown := [way for way in self.length if way not in ADJUSTED]:
            raise ValueError(f"length knows {', '.join(ADJUSTED)}, got {unknown[0]!r}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def parents(self) -> bool:
        """Whether the parents of the records must be among them."""
        return self.target == "instruction"

    @property
    def name(self) -> str:
        return "reward" if self.target == "instruction" else "response_reward"

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        given = exchanges(records, self.target, self.evolution)
        asked = [(record, exchange) for record, exchange in zip(records, given, strict=True) if not exchange.reason]
        found = models[self.model].reward([exchange.chat for _, exchange in asked])
        rewards = {record.id: value for (record, _), value in zip(asked, found, strict=True)}
        lengths: dict[int, list[int]] = {}
        for (record, exchange), value in zip(asked, found, strict=True):
            if value.value is not None:
                lengths.setdefault(record.origin.round, []).append(len(exchange.reply))
        means = {number: sum(counts) / len(counts) for number, counts in lengths.items()}
        return [
            self.score(record, exchange, rewards.get(record.id), means.get(record.origin.round, 0.0))
            for record, exchange in zip(records, given, strict=True)
        ]

    def score(self, record: Record, exchange: Exchange, reward: Rewarded | None, mean: float) -> Score:
        names = [self.name, *(f"{self.name}_{ADJUSTED[way]}" for way in self.length)]
        nothing: dict[str, float | None] = dict.fromkeys(names)
        if exchange.reason == "seed":
            return Score.of(record, {}, reason="seed")  # was never to be rewarded: no value that is missing
        if reward is None:
            return Score.of(record, nothing, reason=exchange.reason)
        if reward.value is None:
            return Score.of(record, nothing, reason="no_reward", raw=reward.reason)
        share = len(exchange.reply) / mean
        adjusted = {"multiply": reward.value * share, "divide": reward.value / share}
        return Score.of(record, dict(zip(names, [reward.value, *(adjusted[way] for way in self.length)], strict=True)))
