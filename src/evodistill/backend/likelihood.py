"""Log-probabilities of given texts, as fast as the matrix products allow: the scoring loop of the transformers backend.

All texts are one pool, sorted by length, so that batches need hardly any padding. They are padded on the right and take
no mask: causal attention never looks there. The logits exist for a block of positions and of the vocabulary at a time,
and for no padding. `benchmarks/ifd.py` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

PADDING = 0.08  # largest share of a batch that may be padding
# (rows, vocabulary entries) of the logits that exist at a time: a CPU core keeps them in its second-level cache
BLOCK = {"cpu": (1024, 1024), "cuda": (4096, 32768)}


def plan(texts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Batches of positions in `texts`, longest first: similar lengths, at most `tokens` in a batch with its padding. A
    longer text is a batch of its own. The batches follow from the texts, not from their order."""
    batches: list[list[int]] = []
    width = held = 0
    for position in sorted(range(len(texts)), key=lambda position: (-len(texts[position]), texts[position])):
        length = len(texts[position])
        cells = (len(batches[-1]) + 1) * width if batches else 0
        if not batches or cells > tokens or held + length < (1 - PADDING) * cells:
            batches.append([])
            width, held = length, 0
        batches[-1].append(position)
        held += length
    return batches


class Scorer:
    """The body of a causal model and its head, one after the other. `compiled`: the layers and the sum over the
    vocabulary go through torch.compile."""

    def __init__(self, model: PreTrainedModel, compiled: bool) -> None:
        self.model = model
        # any causal model: transformers types neither the parts of a body nor what kind of module a head is
        self.body, self.head = cast("Any", model.base_model), cast("Any", model.get_output_embeddings())
        self.layers, self.fold = None, fold
        if compiled:
            # dynamic: one compilation for all shapes of batches; the layers share it
            self.layers = self.body.layers
            self.compiled = nn.ModuleList(cast("Any", torch.compile(layer, dynamic=True)) for layer in self.layers)
            self.fold = torch.compile(fold, dynamic=True)

    @torch.inference_mode()
    def score(self, texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Per text the log-probability of every token after the first: float32, on the CPU."""
        width = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=self.model.device)
        hidden = self.hidden(ids)
        states = torch.cat([hidden[row, : len(text) - 1] for row, text in enumerate(texts)])
        targets = torch.cat([ids[row, 1 : len(text)] for row, text in enumerate(texts)])
        rows, columns = BLOCK.get(states.device.type, BLOCK["cuda"])
        blocks = zip(states.split(rows), targets.split(rows), strict=True)
        values = torch.cat([self.logprobs(*block, columns) for block in blocks]).cpu()
        return list(values.split([len(text) - 1 for text in texts]))

    def exact(self) -> bool:
        """Whether head(body) is the whole model: some scale or cap their logits behind the head."""
        ids = torch.arange(1, 9, device=self.model.device)[None]
        with torch.inference_mode():
            return torch.equal(
                self.model(ids, use_cache=False).logits, self.head(self.body(ids, use_cache=False).last_hidden_state)
            )

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """The last layer's output. Generation keeps the layers as they are: its shapes would be compiled anew."""
        if self.layers is None:
            return self.body(ids, use_cache=False).last_hidden_state
        self.body.layers = self.compiled
        try:
            return self.body(ids, use_cache=False).last_hidden_state
        finally:
            self.body.layers = self.layers

    def logprobs(self, states: torch.Tensor, targets: torch.Tensor, columns: int) -> torch.Tensor:
        """log softmax(head(states))[targets] in float32, over `columns` entries of the vocabulary at a time."""
        weights: torch.Tensor = self.head.weight
        biases: torch.Tensor = weights.new_zeros(len(weights)) if self.head.bias is None else self.head.bias
        own = (states.float() * weights[targets].float()).sum(-1, keepdim=True) + biases[targets, None].float()
        own = own.to(states.dtype).float()  # as exact as the other logits are, no more
        top = torch.full_like(own, -torch.inf)
        mass = torch.zeros_like(own)
        for start in range(0, len(weights), columns):
            part = slice(start, start + columns)
            top, mass = self.fold(states, weights[part], biases[part], top, mass)
        # the target's own logit is part of the mass: only rounding can lift the result above 0
        return (own - top - mass.log()).clamp_(max=0)[:, 0]


def fold(
    states: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor, top: torch.Tensor, mass: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(largest logit, sum of exp(logit - largest)) of each row so far, and of a part of the vocabulary more."""
    logits = nn.functional.linear(states, weights, biases).float()
    higher = torch.maximum(top, logits.amax(-1, keepdim=True))
    return higher, mass * (top - higher).exp() + (logits - higher).exp().sum(-1, keepdim=True)
