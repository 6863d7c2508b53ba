"""What a command line that Hydra cannot compose may have meant: the options or keys there are, the near ones first.

run.py evolution.round=2    →  evolution.round: evolution has no key 'round'; did you mean rounds?
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

ADDED = ("experiment", "study", "scale", "suite")  # groups without a default, chosen by +GROUP=NAME
LISTED = re.compile(r"(?<![\w/])[\w/]++@[\w.]++")


def explain(error: BaseException | None, conf: Path) -> None:
    """Say it below what Hydra says; nothing where the command line is not at fault."""
    if told := meant(error, conf):
        print(f"\nerror: {told}", file=sys.stderr)


def meant(error: BaseException | None, conf: Path) -> str:
    if isinstance(error, OverrideParseException):
        return of_word(error.override, conf)
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: no such option{among(name, error.options or options(conf / group), f'{group} has')}"
    if not isinstance(error, ConfigCompositionException):
        return ""
    said, cause = str(error), error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        return of_key(str(cause.full_key), cause.parent_node)
    if found := re.search(r"config group '([^']+)' does not exist", said):
        groups = sorted(str(folder.relative_to(conf)) for folder in conf.rglob("*") if folder.is_dir())
        return f"{found[1]}: no such group{among(found[1], groups, 'there are')}"
    if found := re.search(r"Could not override '([^']+)'", said):
        listed = LISTED.findall(said.partition("one of ")[2].partition("?")[0])
        if listed:
            return f"{found[1]}: no such choice{among(found[1], listed, 'there are')}"
        return f"{found[1]} has no default that could be another: choose it by +{found[1]}=NAME"
    return ""


def of_word(word: str, conf: Path) -> str:
    """A word that is no KEY=VALUE."""
    if "=" in word:
        return f"{word} cannot be read as KEY=VALUE; quote what holds brackets, commas or spaces, as in 'metric=[ifd]'"
    groups = [group for group in ADDED if word in options(conf / group)]
    cure = f"did you mean {' or '.join(f'+{group}={word}' for group in groups)}?" if groups else "KEY=VALUE is needed"
    return f"{word} sets nothing; {cure}"


def of_key(path: str, node: DictConfig) -> str:
    """A key that its node does not have. Mappings that go elsewhere as they stand (engine, args) take others too."""
    owner, _, key = path.rpartition(".")
    keys = [str(other) for other in node if not str(other).startswith("_")]
    below = [f"{other}.{key}" for other in keys if isinstance(node[other], DictConfig) and key in node[other]]
    told = f"; did you mean {' or '.join(below)}?" if below else among(key, keys, "it has")
    unlisted = "" if "did you mean" in told else f" (a key that it takes without listing it: +{path}=VALUE)"
    return f"{path}: {owner or 'the config'} has no key {key!r}{told}{unlisted}"


def among(name: str, known: Iterable[str], there: str) -> str:
    """The nearest of what is known, and all of it."""
    known = list(known)
    close = get_close_matches(name, known, n=1)
    asked = f"; did you mean {close[0]}?" if close else ""
    return asked + (f"{'' if close else ';'} {there}: {', '.join(known)}" if known else "")


def options(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))
