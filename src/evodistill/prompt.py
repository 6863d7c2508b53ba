"""Prompts are Jinja files beside this module, one a prompt, rendered with StrictUndefined.

    render("evol_instruct/deepen", instruction="Name a tea.", input="")

A name ending in `.jinja` is a file of the user's. Data is passed as variables and never evaluated as a template.
Templates are laid out static text first and data last, so that engines with a prefix cache share the static part.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import (
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    UndefinedError,
)
from jinja2.meta import find_referenced_templates, find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from evodistill import RunError

SUFFIX = ".jinja"

# sandboxed: a template may come from a model (Auto Evol-Instruct) or from a stranger's config
LOADER = FileSystemLoader([Path(__file__).parent / "prompts", ".", "/"])  # packaged, relative to here, absolute
environment = ImmutableSandboxedEnvironment(
    loader=LOADER,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=False,
    autoescape=False,  # plain text for a model, not HTML
)


@lru_cache(maxsize=256)
def template(name: str) -> Template:
    """The template of that name, parsed once."""
    try:
        return environment.get_template(file(name))
    except TemplateNotFound:
        raise RunError(
            f"prompt {name}: no such file; a packaged prompt has no suffix, your own file ends in {SUFFIX}"
        ) from None
    except TemplateSyntaxError as error:
        raise RunError(f"prompt {name}, line {error.lineno}: {error.message}") from None


def file(name: str) -> str:
    return name if name.endswith(SUFFIX) else name + SUFFIX


def render(name: str, **values: Any) -> str:
    """The prompt's text. A variable the template names and `values` lacks is an error that says which."""
    try:
        return template(name).render(**values)
    except UndefinedError as error:
        raise RunError(f"prompt {name}: {error.message}; it may use: {', '.join(sorted(values))}") from None
    except TemplateError as error:
        raise RunError(f"prompt {name}: {error.message}") from None


def sources(name: str) -> list[str]:
    """The text of the template, then of every template it extends or includes."""
    template(name)  # a missing file or a syntax error is reported in one way
    text = LOADER.get_source(environment, file(name))[0]
    parents = sorted(str(parent) for parent in find_referenced_templates(environment.parse(text)))
    return [text, *(part for parent in parents for part in sources(parent))]


def source(name: str) -> str:
    """All text that makes the prompt: its identity."""
    return "\n".join(sources(name))


def variables(name: str) -> set[str]:
    """The variables that the prompt uses."""
    return set().union(*(find_undeclared_variables(environment.parse(text)) for text in sources(name)))
