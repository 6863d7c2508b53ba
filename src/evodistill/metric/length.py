"""Length in words, of the instruction with its input and of the output: a baseline of selection (2412.11231 §5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evodistill.backend import Backend
from evodistill.metric import Score
from evodistill.record import Record

# a character of a script without spaces counts as a word
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class Length:
    """Values `instruction_words` and, where the record is answered, `output_words`."""

    records: str | None = None  # step whose records are measured; null = the last

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    streams: ClassVar[bool] = True

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        return [
            Score.of(
                record,
                {
                    "instruction_words": float(words(record.prompt)),
                    "output_words": float(words(record.output)) if record.output else None,
                },
            )
            for record in records
        ]


def words(text: str) -> int:
    return len(WORD.findall(text))
