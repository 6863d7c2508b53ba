"""Arguments that another library takes: what it would refuse when a training starts is refused before a run begins."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from typing import Any

from evodistill import RunError

NUMBER = int | float


def check(group: str, kind: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """RunError where `kind` does not take what is given under `group`, such as `args` or `lora`."""
    known(group, kind, given)
    accepted(group, kind, given)


def known(group: str, kind: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """RunError for a key that is no argument of `kind`, for a text in place of a number, and for a value that is none
    of those that its field names. Nothing is made."""
    package = kind.__module__.partition(".")[0]
    name = f"{kind.__name__} of {package} {version(package)}"
    takes = inspect.signature(kind).parameters
    choices = {item.name: item.metadata.get("choices") for item in fields(kind)} if is_dataclass(kind) else {}
    for key, value in given.items():
        if key not in takes:
            near = ", ".join(difflib.get_close_matches(key, takes, 3)) or "see its documentation"
            raise RunError(f"{group}.{key}: {name} has no such argument; near: {near}")
        default = takes[key].default
        number = isinstance(default, NUMBER) and not isinstance(default, bool)
        if number and not isinstance(value, NUMBER | None):
            raise RunError(f"{group}.{key}={value}: {name} takes a number here, such as {default}")
        of = [*(choices.get(key) or ())]
        if of and value is not None and value not in of:
            raise RunError(f"{group}.{key}={value}: {name} takes one of {', '.join(of)}")


def accepted(group: str, kind: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """RunError where `kind` cannot be made of what is given. It names the key without which it could, or would fail for
    another reason."""
    if error := refusal(kind, given):
        without = {key: {name: value for name, value in given.items() if name != key} for key in given}
        causes = [f".{key}={given[key]}" for key, rest in without.items() if str(refusal(kind, rest)) != str(error)]
        raise RunError(f"{group}{causes[0] if causes else ''}: {error}")


def refusal(kind: Callable[..., Any], given: Mapping[str, Any]) -> Exception | None:
    try:
        kind(**given)
    except (ValueError, TypeError, AttributeError) as error:
        return error
    return None
