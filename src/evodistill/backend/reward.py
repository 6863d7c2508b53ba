"""Reward models: a sequence classifier with one logit, or a model with InternLM's `get_scores` (trust_remote_code).

The chat becomes token ids by the tokenizer's own template, so that no BOS is doubled (RW6). The value is the raw
logit: its scale is the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evodistill import RunError
from evodistill.backend import Chat, Rewarded
from evodistill.backend.sequence_classifier import SequenceClassifier
from evodistill.backend.tokens import encode, repaired


@dataclass(eq=False)
class Reward(SequenceClassifier):
    """`reward` of a backend: one value per chat."""

    def check(self, model: Any) -> None:
        labels = model.config.num_labels
        if labels != 1 and not hasattr(model, "get_scores"):
            raise RunError(
                f"model {self.name}: it has {labels} logits ({', '.join(map(str, model.config.id2label.values()))}), "
                "a reward model has one; choose another model, or backend classifier for its labels"
            )

    def rewards(self, chats: Sequence[Chat]) -> Iterator[list[tuple[int, Rewarded]]]:
        if not chats:
            return
        rows = [{"input_ids": encode(self.tokenizer, chat, ask=False)} for chat in chats]
        scored = hasattr(self.model, "get_scores")
        fit, reasons = self.fitting(rows, extra=1 if scored else 0)  # get_scores adds a token of its own
        yield [(position, Rewarded(reason=reason)) for position, reason in reasons.items()]
        for batch in self.batches(rows, fit):
            if scored:
                values = self.model.get_scores(self.tokenizer, [plain(chats[position]) for position in batch])
            else:
                values = self.logits([rows[position] for position in batch], self.pad(rows)).squeeze(-1).tolist()
            yield [(position, rewarded(value)) for position, value in zip(batch, values, strict=True)]

    @cached_property
    def own_pad(self) -> int | None:
        return self.model.config.get_text_config().pad_token_id

    def pad(self, rows: Sequence[Mapping[str, list[int]]]) -> int:
        """The token to pad with. The head reads the last token that is not padding, as transformers finds it by its
        id: a model that names no padding gets a token that none of the chats ends with."""
        if self.own_pad is not None:
            return self.own_pad
        last = {row["input_ids"][-1] for row in rows if row["input_ids"]}
        free = next(token for token in range(len(last) + 1) if token not in last)
        self.model.config.get_text_config().pad_token_id = free
        return free

    def close(self) -> None:
        super().close()
        self.__dict__.pop("own_pad", None)


def plain(chat: Chat) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": repaired(message["content"])} for message in chat]


def rewarded(value: float) -> Rewarded:
    return Rewarded(value) if math.isfinite(value) else Rewarded(reason=f"the reward is {value}")
