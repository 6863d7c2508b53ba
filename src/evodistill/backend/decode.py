"""A batch of prompts continued side by side: the decoding loop of the transformers backend.

It differs from `model.generate` in four ways. Every request draws from its own generator, so that a draw does not
depend on its neighbours. A prefix that the prompts of a batch share is read once. Requests that have ended leave the
batch. And the key-value cache grows in place instead of being copied at every token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import eq
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache, DynamicLayer

from evodistill.backend import Completion, Sampling

ROOM = 128  # positions by which a key-value cache grows
WORTH_SHARING = 64  # tokens that need not be read, from which on a pass of its own over a shared prefix pays
NUCLEUS = 256  # most probable tokens looked at first when top_p < 1; more where they hold less than top_p


@dataclass(eq=False)
class Row:
    """One request while it is decoded."""

    position: int  # in the list of requests
    prompt: list[int]
    limit: int  # most new tokens
    seed: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[list[tuple[str, float]]] = field(default_factory=list)
    done: Completion | None = None


def plan(rows: Sequence[Row], batch_size: int, cache_tokens: int) -> list[list[Row]]:
    """Batches of similar prompt length, longest first. They follow from the requests alone, not from their order."""
    batches: list[list[Row]] = []
    ordered = sorted(rows, key=lambda row: (-len(row.prompt), row.prompt, row.seed))  # equal prompts side by side
    even = -(-len(rows) // max(1, -(-len(rows) // batch_size)))  # 65 rows in batches of 64 are 33 + 32, not 64 + 1
    cells = 0
    for row in ordered:
        cells = max(cells, len(row.prompt) + row.limit)
        if not batches or len(batches[-1]) == even or (len(batches[-1]) + 1) * cells > cache_tokens:
            batches.append([])
            cells = len(row.prompt) + row.limit
        batches[-1].append(row)
    return batches


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    sampling: Sampling,
    ends: Collection[int],
) -> Iterator[list[tuple[int, Completion]]]:
    """Yield the rows of one batch as they end. `ends` are the token ids a model ends its answer with."""
    device = model.device
    uniforms = torch.stack([uniform(row.seed, sampling) for row in rows]).to(device)
    cache = Cache(layer_class_to_replicate=RoomyLayer)
    logits, mask, places = prefill(model, [row.prompt for row in rows], cache)
    for step in range(sampling.max_tokens):
        chosen = pick(logits, sampling, uniforms[:, step, None])
        tops = alternatives(tokenizer, logits, chosen, sampling.logprobs) if sampling.logprobs else [None] * len(rows)
        ended = []
        for row, token, top in zip(rows, chosen.tolist(), tops, strict=True):
            if row.done:
                continue
            row.tokens.append(token)
            if top:
                row.logprobs.append(top)
            row.done = ending(tokenizer, row, sampling, ends)
            if row.done:
                ended.append((row.position, row.done))
        if ended:
            yield ended
        alive = [number for number, row in enumerate(rows) if not row.done]
        if not alive:
            return
        inputs, places = chosen[:, None], places + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], -1)
        # rows that have ended cost as much as the others; moving the cache costs about two steps
        if 2 * len(alive) <= len(rows):
            keep = torch.tensor(alive, device=device)
            rows = [rows[number] for number in alive]
            inputs, places, mask, uniforms = inputs[keep], places[keep], mask[keep], uniforms[keep]
            cache.batch_select_indices(keep)
        answer = model(inputs, attention_mask=mask, position_ids=places, past_key_values=cache, logits_to_keep=1)
        logits = answer.logits[:, -1]


def prefill(
    model: PreTrainedModel, prompts: Sequence[list[int]], cache: Cache
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fill the cache. Returns the logits behind each prompt (rows, vocabulary), the mask of what the cache holds (rows,
    positions) and the place of each prompt's last token (rows, 1).

    Prompts of one template begin alike, and several answers to one question have the same prompt: both are read once.
    """
    device = model.device
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    different = list(numbers)
    shared = min(common_prefix(different), min(map(len, different)) - 1)  # each has a token left to read
    if (len(different) - 1) * shared < WORTH_SHARING:
        shared = 0
    if shared:
        model(torch.tensor([different[0][:shared]], device=device), past_key_values=cache, logits_to_keep=1)
        cache.batch_select_indices(torch.zeros(len(different), dtype=torch.long, device=device))
    width = max(map(len, different))
    # left padding, behind what is shared: the newest token of every row stands in the last column
    gaps = [width - len(prompt) for prompt in different]
    inputs = torch.tensor([[0] * gap + [*prompt[shared:]] for gap, prompt in zip(gaps, different, strict=True)])
    mask = torch.tensor([[1] * shared + [0] * gap + [1] * (width - shared - gap) for gap in gaps], device=device)
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    answer = model(
        inputs.to(device),
        attention_mask=mask,
        position_ids=places[:, shared:],
        past_key_values=cache,
        logits_to_keep=1,
    )
    rows = torch.tensor([numbers[tuple(prompt)] for prompt in prompts], device=device)
    if len(different) < len(prompts):
        cache.batch_select_indices(rows)
    return answer.logits[rows, -1], mask[rows], places[rows, -1:]


def common_prefix(prompts: Collection[tuple[int, ...]]) -> int:
    """The length of the prefix that all prompts share: that of the first and the last in order."""
    return sum(1 for _ in takewhile(bool, map(eq, min(prompts), max(prompts))))


def uniform(seed: int, sampling: Sampling) -> torch.Tensor:
    """The random numbers of one request in [0, 1), one per output position; drawn on the CPU, equal on any device."""
    return torch.rand(sampling.max_tokens, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pick(logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor) -> torch.Tensor:
    """The next token of every row: (rows, vocabulary) and (rows, 1) → (rows,)."""
    if sampling.temperature == 0:
        return logits.max(-1).indices  # argmax is four times slower on a CPU
    chances = torch.softmax(logits.float() / sampling.temperature, -1)
    if sampling.top_p < 1:
        # ties at the edge stay in: which of them is sorted first must not decide
        chances = chances.where(chances >= edge(chances, sampling.top_p), 0.0)
    mass = chances.cumsum(-1, dtype=torch.float64)
    # right: the first token whose cumulated mass passes the number; one of mass 0 never does
    return torch.searchsorted(mass, uniforms * mass[:, -1:], right=True).clamp(max=chances.shape[1] - 1)[:, 0]


def edge(chances: torch.Tensor, top_p: float) -> torch.Tensor:
    """Per row the probability of the last token that is needed to reach `top_p`: (rows, 1)."""
    size = min(NUCLEUS, chances.shape[1])
    while True:
        best = chances.topk(size).values
        mass = best.cumsum(-1, dtype=torch.float64)
        if size == chances.shape[1] or bool((mass[:, -1] >= top_p).all()):
            last = (mass < top_p).sum(-1, keepdim=True).clamp(max=size - 1)
            return best.gather(-1, last)
        size = min(16 * size, chances.shape[1])


def alternatives(
    tokenizer: PreTrainedTokenizerBase, logits: torch.Tensor, chosen: torch.Tensor, n: int
) -> list[list[tuple[str, float]]]:
    """Per row the chosen token, then the others of the `n` most probable ones: raw log-probabilities, before
    temperature and top_p."""
    raw = torch.log_softmax(logits.float(), -1)
    best = raw.topk(min(n, raw.shape[1]))
    rows = zip(
        chosen.tolist(),
        raw.gather(-1, chosen[:, None])[:, 0].tolist(),
        best.indices.tolist(),
        best.values.tolist(),
        strict=True,
    )

    def word(token: int) -> str:
        return cast("str", tokenizer.decode([token]))

    return [
        [(word(token), value), *((word(t), v) for t, v in zip(others, values, strict=True) if t != token)]
        for token, value, others, values in rows
    ]


def ending(
    tokenizer: PreTrainedTokenizerBase, row: Row, sampling: Sampling, ends: Collection[int]
) -> Completion | None:
    """The completion, where the newest token of the row ends it."""

    def text(tokens: list[int]) -> str:
        return cast("str", tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def completion(text: str, reason: str) -> Completion:
        return Completion(text, reason, len(row.prompt), len(row.tokens), tuple(row.logprobs))

    if row.tokens[-1] in ends:
        return completion(text(row.tokens[:-1]), "stop")
    if sampling.stop:
        # a token holds at least one byte, so that a stop string cannot reach further back
        tail = text(row.tokens[-max(len(stop.encode()) for stop in sampling.stop) - 1 :])
        if any(stop in tail for stop in sampling.stop):
            whole = text(row.tokens)
            cut = min((place for stop in sampling.stop if (place := whole.find(stop)) >= 0), default=len(whole))
            return completion(whole[:cut], "stop")
    if len(row.tokens) == row.limit:
        return completion(text(row.tokens), "length")
    return None


class RoomyLayer(DynamicLayer):
    """Keys and values in buffers with room at their end. `DynamicLayer` copies all it holds at every token, which is
    most of the time of a large batch on a CPU."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.room = [key_states.new_empty(0), value_states.new_empty(0)]
        old = self.get_seq_length()
        new = old + key_states.shape[-2]
        if self.room[0].ndim < 4 or new > self.room[0].shape[-2]:
            self.room = [
                grown(held, states, new)
                for held, states in zip((self.keys, self.values), (key_states, value_states), strict=True)
            ]
        for buffer, states in zip(self.room, (key_states, value_states), strict=True):
            buffer[:, :, old:new] = states
        self.keys, self.values = (buffer[:, :, :new] for buffer in self.room)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        length = self.get_seq_length()
        self.room = [buffer[indices] for buffer in self.room]
        self.keys, self.values = (buffer[:, :, :length] for buffer in self.room)


def grown(held: torch.Tensor | None, states: torch.Tensor, length: int) -> torch.Tensor:
    """A buffer for `length` positions and some more that begins with what is held."""
    batch, heads, _, size = states.shape
    buffer = states.new_empty(batch, heads, length + ROOM, size)
    if held is not None and held.numel():
        buffer[:, :, : held.shape[-2]] = held
    return buffer
