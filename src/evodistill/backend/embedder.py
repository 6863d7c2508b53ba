"""Texts to unit vectors with sentence-transformers. Pooling, prefix and length limit come with the model's folder."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from evodistill import RunError
from evodistill.backend import Backend

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Embedder(Backend):
    """`engine` knows `batch_size` and `device` (null: the GPU where there is one)."""

    def __post_init__(self) -> None:
        if unknown := set(self.engine) - {"batch_size", "device"}:
            raise ValueError(f"engine of an embedder knows batch_size and device, got {', '.join(sorted(unknown))}")
        if self.batch_size < 1:
            raise ValueError(f"engine.batch_size must be ≥ 1, got {self.batch_size}")

    @property
    def batch_size(self) -> int:
        return int(str(self.engine.get("batch_size", 64)))

    @cached_property
    def model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        folder, device = self.weights.folder, self.engine.get("device")
        if not (folder / "modules.json").exists():
            raise RunError(
                f"model {self.name}: {folder} is no sentence-transformers model (no modules.json); choose an embedder"
            )
        return SentenceTransformer(str(folder), device=str(device) if device else None, local_files_only=True)

    def vectors(self, texts: Sequence[str]) -> Iterator[list[tuple[int, np.ndarray]]]:
        import numpy as np

        if not texts:
            return
        lengths = self.lengths(texts)
        limit = self.model.max_seq_length or max(lengths)
        if cut := sum(length > limit for length in lengths):  # DV7
            log.warning(
                "model %s: %d of %d texts are longer than %d tokens, their ends are not seen",
                self.name,
                cut,
                len(texts),
                limit,
            )
        # longest first: little padding, and too large a batch fails at once rather than at the end
        order = sorted(range(len(texts)), key=lambda i: -lengths[i])
        for start in range(0, len(order), self.batch_size):
            group = order[start : start + self.batch_size]
            made = self.model.encode([texts[i] for i in group], batch_size=self.batch_size, show_progress_bar=False)
            made = np.asarray(made, dtype=np.float32)
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            yield list(zip(group, made, strict=True))

    def unread(self, texts: Sequence[str]) -> list[int]:
        limit = self.model.max_seq_length
        return [max(0, length - limit) for length in self.lengths(texts)] if limit and texts else [0] * len(texts)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with the prefix and the special tokens the model sees, before anything is cut."""
        prefix = self.model.prompts.get(self.model.default_prompt_name or "") or ""
        ids = self.model.tokenizer([prefix + text for text in texts], truncation=False, padding=False, verbose=False)[
            "input_ids"
        ]
        return [len(row) for row in ids]

    def close(self) -> None:
        if self.__dict__.pop("model", None):
            import torch

            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
