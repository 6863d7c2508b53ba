"""The order of the rows in an epoch, given by the seed and the number of the epoch alone: what goes on after a kill
learns the rows of its epoch that are left, and in several processes all agree.

transformers sees to this for rows in random order. Its batches of like length draw from whatever the random numbers
are when an epoch begins, and TRL's batches of prompts start again with the order of the first epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import RandomSampler, Sampler, SequentialSampler

if TYPE_CHECKING:
    from transformers import Trainer as HFTrainer


class Ordered(Sampler[int]):
    """The rows of `inner`, in the same order whenever an epoch is begun."""

    def __init__(self, inner: Any, trainer: HFTrainer) -> None:
        self.inner, self.trainer = inner, trainer

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[int]:
        seed = self.trainer.args.seed + int(self.trainer.state.epoch or 0)
        own = getattr(self.inner, "generator", None)
        with torch.random.fork_rng(devices=[]):
            (own or torch.default_generator).manual_seed(seed)
            return iter(list(self.inner))


def order(made: HFTrainer) -> None:
    """Have the trainer's rows in an order that can be begun again."""
    inner = made._get_train_sampler

    def sampler(*given: Any) -> Any:
        found = inner(*given)
        return found if found is None or isinstance(found, RandomSampler | SequentialSampler) else Ordered(found, made)

    made._get_train_sampler = sampler  # type: ignore[method-assign]
