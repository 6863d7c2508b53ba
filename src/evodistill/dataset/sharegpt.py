"""ShareGPT: what people asked a chat model first. AutoIF pairs its constraints with such queries (arXiv 2406.13542)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, cast

from evodistill import RunError
from evodistill.dataset import Malformed, Seed
from evodistill.dataset.hub import Hub
from evodistill.dataset.jsonl import kind, mapping, shown, text

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

HUMAN = ("human", "user")
MODEL = ("gpt", "assistant", "chatgpt", "bing")


@dataclass(frozen=True, kw_only=True)
class ShareGPT(Hub):
    """The first turn of the person is the instruction, whatever stands before it (AI19); the model's turn right after
    it, if any, is the output. `columns.turns` holds the list of turns, each with a `speaker` and a `content` key.

    Left out, not rejected: first turns that do not have more than `min_chars` and fewer than `max_chars` characters, or
    that are in another language than `language` (ISO 639-1; null: any)."""

    speaker: str
    content: str
    language: str | None
    min_chars: int
    max_chars: int

    keys: ClassVar[tuple[str, ...]] = ("turns",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_chars - self.min_chars < 2:
            raise ValueError(f"max_chars must leave room above min_chars={self.min_chars}, got {self.max_chars}")

    def parse(self, value: object) -> Seed | None:
        row = mapping(value)
        column = cast(str, self.columns["turns"])  # `__post_init__` refuses null
        turns = row.get(column)
        if not isinstance(turns, list):
            raise Malformed(f"{column} is {kind(turns)}, not a list of turns" if column in row else f"no {column}")
        turns = [mapping(turn) for turn in turns]
        at = next((i for i, turn in enumerate(turns) if turn.get(self.speaker) in HUMAN), None)
        if at is None:
            raise Malformed(f"no turn of a person: {self.unspoken(turns)}")
        instruction = text(turns[at], self.content)
        if not instruction.strip():
            raise Malformed(f"the first turn of the person has no {self.content}")
        if not self.min_chars < len(instruction) < self.max_chars:
            return None
        if self.language is not None and spoken(instruction, self.language) != self.language:
            return None
        answered = at + 1 < len(turns) and turns[at + 1].get(self.speaker) in MODEL
        extra = {key: kept for key, kept in row.items() if key != column} if self.keep_extra else {}
        return Seed(instruction, output=text(turns[at + 1], self.content) if answered else "", extra=extra)

    def unspoken(self, turns: Sequence[Mapping[str, object]]) -> str:
        """Why none of these turns is a person's; the keys that are there, where none says who speaks."""
        if not turns or any(self.speaker in turn for turn in turns):
            return f"no {self.speaker} is one of {', '.join(HUMAN)}"
        keys = list(dict.fromkeys(key for turn in turns for key in turn))
        speaker, content = ("role", "content") if {"role", "content"} <= {*keys} else ("KEY", "KEY")
        return (
            f"turns have no {self.speaker}, they have {', '.join(map(shown, keys))}; "
            f"set dataset.speaker={speaker} dataset.content={content}"
        )


def spoken(words: str, wanted: str) -> str:
    """The most likely language of a text, as an ISO 639-1 code."""
    known = identifier()
    if wanted not in known.nb_classes:
        raise RunError(
            f"dataset.language={wanted} is not known; it is null or one of {', '.join(sorted(known.nb_classes))}"
        )
    return known.classify(words)[0]


@cache
def identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
