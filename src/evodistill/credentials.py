"""Keys and passwords that stand where they would be written down: refused before anything is.

A command line and a config are kept in every run's folder, in reports and in dashboards. Keys belong into the
environment, where `key_env` names the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from evodistill import RunError

# how keys of model hubs, servers, clouds and trackers begin; a name and a password before the host of an address
SHAPES = re.compile(
    r"\b(?:sk-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|gh[opsu]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{10,}"
    r"|AIza[\w-]{30,}|glpat-[\w-]{16,}|wandb_v\d_\w{20,})\b|://[^/\s:@'\"]+:[^/\s@'\"]+@"
)
SECRET = re.compile(r"(?i)(?:key|token|secret|password|passwd)$")  # names of variables that hold one
HIDDEN = "[hidden]"
SHORTEST = 8  # characters of a value that could not stand in a text by chance


def check(values: Any, place: str = "") -> None:
    """RunError where a text, or a key of a mapping, is or holds a credential. It is not repeated."""
    for where, text in texts(values, place):
        if redacted(text) != text:
            raise RunError(
                f"{where} holds a key or a password, which would be kept with the results: put it into an environment "
                "variable, and name that (key_env)"
            )


def redacted(text: str) -> str:
    """The text, what is a credential in it replaced: of an error, which may repeat what a server was sent."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    return SHAPES.sub(HIDDEN, text)


def texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """(dotted place, text) of all texts in nested lists and mappings."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield place or "a key of the config", str(key)
            yield from texts(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from texts(item, f"{place}[{number}]")
    elif isinstance(value, str):
        yield place, value
