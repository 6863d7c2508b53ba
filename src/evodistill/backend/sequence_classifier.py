"""A model with a head that reads a whole text and gives its logits: what `reward` and `classifier` share.

Texts are one pool sorted by length, padded on the right under a mask. What is longer than the model reads is refused
with a reason, never cut.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evodistill import RunError, hub
from evodistill.backend.local import Local
from evodistill.record import digest

if TYPE_CHECKING:
    import torch

    from evodistill.weights import Weights

log = logging.getLogger(__name__)


@dataclass(eq=False)
class SequenceClassifier(Local):
    """`trust_remote_code` lets transformers run the Python that comes with the weights, for models that need it."""

    trust_remote_code: bool = False  # type: ignore[misc]

    @cached_property
    def weights(self) -> Weights:
        found = super().weights
        if self.trust_remote_code and found.origin.startswith("hub "):
            hub.fetch_code(self.name, *found.origin.removeprefix("hub ").split("@"))
        return found

    @property
    def identity(self) -> str:
        """The code is part of what such a model is."""
        if not self.trust_remote_code:
            return self.weights.identity
        code = {path.name: path.read_text(encoding="utf-8") for path in sorted(self.weights.folder.glob("*.py"))}
        return f"{self.weights.identity}+code:{digest(code)}"

    @cached_property
    def model(self) -> Any:
        """The open engine: weights on the device, in evaluation mode. A head that the folder does not hold would be
        random numbers: it is refused."""
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

        self.prepare()
        folder, trusted = self.weights.folder, self.trust_remote_code
        if trusted:
            log.warning("model %s: running the code in %s, as trust_remote_code=true asks", self.name, folder)
        with self.loading():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
            own = getattr(config, "auto_map", None) or {}
            plain = trusted and "AutoModel" in own and AutoModelForSequenceClassification.__name__ not in own
            kind = AutoModel if plain else AutoModelForSequenceClassification
            model, found = kind.from_pretrained(
                folder,
                config=config,
                dtype=self.dtype,
                trust_remote_code=trusted,
                output_loading_info=True,
            )
        if missing := sorted(found["missing_keys"]):
            raise RunError(
                f"model {self.name}: {folder} lacks {missing[0]}, so its head would be random; "
                "choose a model that was trained to give rewards or labels"
            )
        self.check(model)
        log.info("model %s: %s on %s", self.name, self.dtype, self.device)
        return model.to(self.device).eval()

    def check(self, model: Any) -> None:
        """RunError where the model's head is not of the kind that is asked for."""

    @cached_property
    def context(self) -> int:
        """Tokens that the model reads; the tokenizer knows best where positions do not start at 0 (RoBERTa)."""
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        return min(positions, self.tokenizer.model_max_length)

    def close(self) -> None:
        super().close()
        self.__dict__.pop("context", None)

    def fitting(self, rows: Sequence[Mapping[str, list[int]]], extra: int = 0) -> tuple[list[int], dict[int, str]]:
        """(positions of the rows that fit, position → reason of those that do not)."""
        limit = self.context - extra
        reasons = {
            position: f"text of {len(row['input_ids'])} tokens does not fit the context of {limit}"
            for position, row in enumerate(rows)
            if len(row["input_ids"]) > limit
        }
        if reasons:
            log.warning("model %s: %d of %d texts are too long to be read", self.name, len(reasons), len(rows))
        return [position for position in range(len(rows)) if position not in reasons], reasons

    def batches(self, rows: Sequence[Mapping[str, list[int]]], fit: Sequence[int]) -> Iterator[list[int]]:
        """Positions of texts of similar length, longest first."""
        from evodistill.backend.likelihood import plan

        for batch in plan([rows[position]["input_ids"] for position in fit], self.batch_tokens):
            with self.memory("engine.batch_tokens"):
                yield [fit[number] for number in batch]

    def logits(self, rows: Sequence[Mapping[str, list[int]]], pad: int) -> torch.Tensor:
        """(texts, labels) in float32, on the CPU."""
        import torch

        with torch.inference_mode():
            return self.model(**padded(rows, pad, self.device)).logits.float().cpu()


def padded(rows: Sequence[Mapping[str, list[int]]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    """The rows as tensors, padded on the right, with the mask that says where they end."""
    import torch

    lengths = [len(row["input_ids"]) for row in rows]
    width = max(lengths)
    columns = {
        key: [[*row[key], *[pad if key == "input_ids" else 0] * (width - len(row[key]))] for row in rows]
        for key in rows[0]
    }
    columns["attention_mask"] = [[1] * length + [0] * (width - length) for length in lengths]
    return {key: torch.tensor(values, device=device) for key, values in columns.items()}
