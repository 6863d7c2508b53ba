"""Hugging Face transformers in this process: the backend that runs anywhere, and the reference for the others.

    engine: {dtype: auto, device: auto, batch_size: 64}

Log-probabilities are raw: of the model's distribution before temperature and top_p (LP3). A request's draw follows from
its seed alone; neighbours and batches change it by rounding at most. Code that comes with weights is not run.
"""

from __future__ import annotations

import logging
import os
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evodistill import RunError
from evodistill.backend import Completion, Logprobs, Request, Sampling
from evodistill.backend.local import Local, Placement
from evodistill.backend.tokens import encode, encode_parts, shortened

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from evodistill.backend.likelihood import Scorer

log = logging.getLogger(__name__)
WORTH_COMPILING = 1e13  # scored tokens × parameters: some 20 s on two CPU cores, of which compiling takes 6 and saves 6


@dataclass(frozen=True)
class Engine(Placement):
    """What a model that writes and scores can be told beside that."""

    attention: str = "auto"
    batch_size: int = 64
    cache_tokens: int = 65536
    compile: bool | str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile not in (True, False, "auto"):
            raise ValueError(f"engine.compile must be auto, true or false, got {self.compile!r}")


@dataclass(eq=False)
class Transformers(Local):
    """Any causal language model that transformers can load. `engine`: the fields of `Engine`."""

    Engine = Engine
    settings: Engine = field(init=False)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The open engine: weights on the device, in evaluation mode."""
        from transformers import AutoModelForCausalLM

        from evodistill.backend import attention

        self.prepare()
        kind = self.settings.attention
        if kind == "auto":
            kind = attention.register() if self.device.type == "cpu" else "sdpa"
        with self.loading():
            model = AutoModelForCausalLM.from_pretrained(
                self.weights.folder, dtype=self.dtype, attn_implementation=kind
            )
        log.info("model %s: %s on %s, attention %s", self.name, self.dtype, self.device, kind)
        return cast("Any", model).to(self.device).eval()

    @cached_property
    def context(self) -> int:
        """Tokens of prompt and completion together."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30

    @property
    def ends(self) -> set[int]:
        """The tokens an answer ends with: those of the generation config, and the tokenizer's own."""
        ends: Any = self.model.generation_config.eos_token_id
        own: Any = self.tokenizer.eos_token_id
        return {token for token in (*(ends if isinstance(ends, list) else [ends]), own) if token is not None}

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        from evodistill.backend.decode import Row, decode, plan

        styles: dict[Sampling, list[Row]] = {}
        too_long = []
        for position, request in enumerate(requests):
            ids = encode(self.tokenizer, request.chat)
            if error := self.overflow(len(ids) + 1, f"prompt of {len(ids)} tokens"):
                too_long.append((position, Completion("", "error", len(ids), error=error)))
                continue
            limit = min(request.sampling.max_tokens, self.context - len(ids))
            styles.setdefault(request.sampling, []).append(Row(position, ids, limit, request.seed))
        yield too_long
        for sampling, rows in styles.items():
            for batch in plan(rows, self.settings.batch_size, self.settings.cache_tokens):
                with self.memory("engine.batch_size or engine.cache_tokens"):
                    yield from decode(self.model, self.tokenizer, batch, sampling, self.ends)

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        import numpy as np

        from evodistill.backend.likelihood import plan

        most = 1 << 62 if limit is None else min(limit, self.context)
        encoded = [shortened(*encode_parts(self.tokenizer, parts), most) for parts in texts]
        errors = [self.overflow(len(ids), f"text of {len(ids)} tokens") for ids, _, _ in encoded]
        yield [(position, Logprobs((), error)) for position, error in enumerate(errors) if error]
        # a text without a single token needs no model
        empty = [position for position, (ids, _, _) in enumerate(encoded) if len(ids) == 1]
        yield [(position, Logprobs(tuple(np.zeros(0, np.float32) for _ in texts[position]))) for position in empty]
        todo = [position for position, (ids, _, _) in enumerate(encoded) if len(ids) > 1 and not errors[position]]
        if not todo:
            return
        pool = [encoded[position][0] for position in todo]
        scorer = self.scorer(sum(map(len, pool)))
        for batch in plan(pool, self.batch_tokens):
            with self.memory("engine.batch_tokens"):
                found = scorer.score([pool[number] for number in batch])
            group = []
            for number, values in zip(batch, found, strict=True):
                (_, spans, cut), array = encoded[todo[number]], values.numpy()
                # the first value belongs to the second token, the one behind the BOS
                parts = tuple(array[start - 1 : end - 1] for start, end in spans)
                group.append((todo[number], Logprobs(parts, cut=cut)))
            yield group

    @cached_property
    def scorers(self) -> dict[bool, Scorer]:
        return {}

    def scorer(self, tokens: int) -> Scorer:
        """The scoring loop for that much work, compiled or not."""
        from evodistill.backend.likelihood import Scorer

        layers = hasattr(self.model.base_model, "layers")
        compiled = self.settings.compile is True
        if compiled and not layers:
            raise RunError(
                f"model {self.name}: engine.compile=true needs a model with a list of layers; set it to false"
            )
        if self.settings.compile == "auto":
            worth = self.device.type == "cpu" and tokens * self.model.num_parameters() >= WORTH_COMPILING
            compiled = worth and layers and can_compile()
            log.info("model %s: %d tokens to score, %s", self.name, tokens, "compiled" if compiled else "not compiled")
        if compiled not in self.scorers:
            scorer = Scorer(self.model, compiled)
            if not scorer.exact():
                raise RunError(f"model {self.name}: it changes its logits behind the head; score it with backend vllm")
            self.scorers[compiled] = scorer
        return self.scorers[compiled]

    def overflow(self, needed: int, what: str) -> str:
        """What is wrong with a text that does not fit; empty where nothing is."""
        return f"{what} does not fit the context of {self.context}" if needed > self.context else ""


def can_compile() -> bool:
    """Whether torch.compile finds a C++ compiler and Python's headers, as it needs them on a CPU."""
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    return headers.exists() and any(name and shutil.which(name) for name in compilers)
