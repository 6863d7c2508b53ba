"""Items of a test, and what files of others tell of them: recorded answers, reference answers, verdicts."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from evodistill import RunError
from evodistill.dataset import Row, rows

log = logging.getLogger(__name__)
T = TypeVar("T")

PROMPTS = ("prompt", "instruction", "question")  # columns that recorded answers may be joined by, after the id
ANSWERS = ("response", "answer", "output", "completion", "text")  # columns that may hold a recorded answer
SHAPE = f"an answer, in a column called {', '.join(ANSWERS[:-1])} or {ANSWERS[-1]}"


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a test. `row` is what its source says of it."""

    id: str
    prompt: str
    row: Mapping[str, Any] = field(default_factory=dict)


class Texts(NamedTuple):
    """What training data must not hold of an item: all that a model is asked, and reference solutions."""

    id: str
    prompts: Sequence[str]
    solutions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to an item, or the reason why there is nothing. Only `text` can be recorded."""

    text: str = ""
    reason: str = ""
    cut: bool = False  # at max_tokens


def words(row: Mapping[str, Any], key: str) -> str:
    """The text of a column that an item cannot do without; KeyError or ValueError where it has none."""
    value = row[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text: {value!r}")
    if not value.strip():
        raise ValueError(f"{key} is empty")
    return value


def check_file(path: str | None, key: str) -> None:
    if path is not None and not Path(path).expanduser().is_file():
        raise ValueError(f"{key}: no such file: {path} (looked from {Path.cwd()})")


def read(path: str) -> Iterator[Row]:
    file = Path(path).expanduser()
    if file.suffix != ".gz":
        yield from rows.read(file)
        return
    place = f"{file}:1"
    try:
        with gzip.open(file, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
            for row in rows.parsed(file, lines):
                place = row.place
                yield row
    except (OSError, EOFError, zlib.error) as error:  # no gzip, cut off, damaged
        raise RunError(f"{place}: damaged .gz file, or none from here on ({error})") from None


def text(row: Mapping[str, Any], item: Item) -> str | None:
    """The answer that a recorded row holds. Of several columns one that repeats the item's own (its gold answer, its
    task) is none; ValueError where more are left that differ."""
    there = [key for key in ANSWERS if key in row]
    if len(there) > 1:
        there = [key for key in there if row[key] != item.row.get(key)]
    there = [key for key in there if isinstance(row[key], str)]
    if len({row[key] for key in there}) > 1:
        raise ValueError(f"any of the columns {', '.join(there)} may be the answer; leave one")
    return row[there[0]] if there else None


def prompted(row: Mapping[str, Any]) -> str:
    """The text of the prompt that a recorded row names; empty where it names none."""
    return next((row[key] for key in PROMPTS if isinstance(row.get(key), str)), "")


def paired(
    path: str,
    items: Sequence[Item],
    ids: Sequence[str],
    told: Callable[[Mapping[str, Any], Item], T | None],
    shape: str,
    draws: int = 1,
    prompted: Callable[[Mapping[str, Any]], str] = prompted,
) -> list[list[T | Answer]]:
    """What the rows of a file tell of the items, joined by id where a row has one, else by the text of the prompt,
    never by place (JD4). An item of which nothing is told has an Answer with the reason, `no_answer`, or `other_prompt`
    where the id is the item's and the prompt is not; rows of other items are counted in the log."""
    found: dict[str, list[T | Answer]] = {item.id: [] for item in items}
    by_id = {item.id: item for item in items}
    prompts = {item.id: item.prompt.strip() for item in items}
    by_prompt = {prompt: id for id, prompt in prompts.items()}
    others = 0
    for row in read(path):
        if row.fault or not isinstance(row.value, dict):
            raise RunError(f"{row.place}: no recorded answer ({row.fault or 'no object with columns'})")
        id = next((str(row.value[key]) for key in ids if row.value.get(key) is not None), "")
        prompt = prompted(row.value).strip()
        id = id if id in found else by_prompt.get(prompt, "")
        if not id:
            others += 1
            continue
        try:
            value = told(row.value, by_id[id])
        except ValueError as error:
            raise RunError(f"{row.place}: {error}") from None
        if value is None:
            raise RunError(f"{row.place}: this row needs {shape}")
        if len(found[id]) == draws:
            raise RunError(f"{row.place}: item {id} has more than {draws} answer{'s' * (draws > 1)}")
        same = not prompt or prompt == prompts[id]
        found[id].append(value if same else Answer(prompt, "other_prompt"))
    lacking = sum(not given for given in found.values())
    if lacking == len(found):
        raise RunError(
            f"{path}: none of its {others} answers names one of the {len(items)} items; "
            f"give each row the item's id ({' or '.join(ids)}) or its prompt ({' or '.join(PROMPTS)})"
        )
    if others or lacking:
        log.warning("%s: %d answers of no item that is asked, %d items without an answer", path, others, lacking)
    return [given or [Answer(reason="no_answer")] for given in found.values()]
