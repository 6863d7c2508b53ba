"""Classifiers of text pairs, for example natural language inference: the probability of each of the model's labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evodistill import RunError
from evodistill.backend import Classified
from evodistill.backend.sequence_classifier import SequenceClassifier
from evodistill.backend.tokens import repaired


@dataclass(eq=False)
class Classifier(SequenceClassifier):
    """`classify` of a backend: the labels have the names that the model's config gives them."""

    def check(self, model: Any) -> None:
        if model.config.num_labels < 2:
            raise RunError(
                f"model {self.name}: it has one logit and so no labels to choose from; "
                "choose a classifier, or backend reward for this model"
            )

    def classes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[int, Classified]]]:
        if not pairs:
            return
        encoded = self.tokenizer(
            [repaired(first) for first, _ in pairs],
            [repaired(second) for _, second in pairs],
            return_attention_mask=False,
            verbose=False,
        )
        rows: list[dict[str, Any]] = [
            dict(zip(encoded.keys(), values, strict=True)) for values in zip(*encoded.values(), strict=True)
        ]
        fit, reasons = self.fitting(rows)
        yield [(position, Classified(reason=reason)) for position, reason in reasons.items()]
        config = self.model.config
        names = [str(config.id2label[number]) for number in range(config.num_labels)]
        for batch in self.batches(rows, fit):
            logits = self.logits([rows[position] for position in batch], config.get_text_config().pad_token_id or 0)
            several = config.problem_type == "multi_label_classification"
            chances = logits.sigmoid() if several else logits.softmax(-1)
            yield [
                (position, Classified(dict(zip(names, values, strict=True))))
                for position, values in zip(batch, chances.tolist(), strict=True)
            ]
