"""The languages that the operators' own prompts come in."""

from __future__ import annotations

LANGUAGES = ("en", "zh")


def checked(language: str) -> None:
    if language not in LANGUAGES:
        raise ValueError(
            f"language must be {' or '.join(LANGUAGES)}, got {language!r}; for another give your own prompt"
        )
