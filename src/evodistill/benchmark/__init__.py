"""Benchmarks: a model is asked the items of a test and gives one score for each; its seed is the item's id, so that two
models are compared item by item.

The items come from a local file (`data`) or the hub, the answers from a model or from a file of recorded ones
(`answers`), for which no model is asked. A file is JSON, JSONL (.gz too), CSV or Parquet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from evodistill import RunError
from evodistill.backend import Backend, Chat, Completion, Sampling, chat
from evodistill.benchmark.items import SHAPE, Answer, Item, Texts, check_file, paired, prompted, read, text
from evodistill.dataset import Row, rows
from evodistill.dataset.hub import download
from evodistill.metric import Score
from evodistill.record import digest
from evodistill.results import RESAMPLES


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What every benchmark shares: items, recorded answers, subsampling.

    `limit` keeps the items whose hash of (seed, id) is smallest: the same ones for every model."""

    model: str  # role that is asked
    data: str | None = None  # a local file with the items; null = from the hub
    hub: Mapping[str, str | None] = field(default_factory=dict)  # id, subset, split, revision
    answers: str | None = None  # a file of recorded answers {id | prompt, response}; no model is asked then
    limit: int | None = None
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    ids: ClassVar[tuple[str, ...]] = ("id",)  # columns that may hold an item's id; without one it is the prompt's hash

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be ≥ 1, or null for all items, got {self.limit}")
        if self.data is None and not {"id", "split"} <= set(self.hub):
            raise ValueError("set data=FILE, or hub.id and hub.split")
        for key in ("data", "answers"):
            check_file(getattr(self, key), key)

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @property
    def roles(self) -> tuple[str, ...]:
        return () if self.answers else (self.model,)

    @property
    def values(self) -> tuple[str, ...]:
        """The names of a score's values."""
        raise NotImplementedError

    @property
    def draws(self) -> int:
        """Answers an item, at most."""
        return 1

    @property
    def prompts(self) -> Mapping[str, Sequence[str]]:
        return {}

    @property
    def sources(self) -> tuple[str, ...]:
        """What is read, by content, or by name and revision on the hub."""
        hub = [] if self.data else [f"hub:{self.hub['id']}@{self.hub.get('revision') or 'main'}"]
        return (*hub, *(rows.sha256(Path(path).expanduser()) for path in self.files))

    @property
    def files(self) -> list[str]:
        """The local files that are read."""
        return [path for path in (self.data, self.answers) if path]

    def ready(self) -> None:
        """Refuse at the start what would stop the benchmark after all other work: no items, answers of another test."""
        items = self.items()
        if self.answers:
            self.replies(items, {})

    def ask(self, item: Item) -> Chat:
        """What the model is asked."""
        return chat(item.prompt)

    def parse(self, row: Mapping[str, Any]) -> Item:
        """The item of a row. KeyError or TypeError where it is none."""
        raise NotImplementedError

    def score(self, item: Item, answer: Answer) -> Score:
        """The score of an answer that is there."""
        raise NotImplementedError

    def __call__(self, models: Mapping[str, Backend]) -> list[Score]:
        items = self.items()
        answers = self.replies(items, models)
        return [
            self.missing(item, answer) if answer.reason else self.score(item, answer)
            for item, answer in zip(items, answers, strict=True)
        ]

    def missing(self, item: Item, answer: Answer) -> Score:
        return scored(item, dict.fromkeys(self.values), reason=answer.reason, raw=answer.text)

    def items(self) -> list[Item]:
        """All items within `limit`, in the order of their source. Each has an id of its own."""
        found: dict[str, Item] = {}
        for row in self.source():
            try:
                if row.fault or not isinstance(row.value, dict):
                    raise TypeError(row.fault or "no object with columns")
                item = self.parse(row.value)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                why = f"no {error}" if isinstance(error, KeyError) else error
                raise RunError(f"{row.place}: no item of {self.name} ({why}); benchmark.{self.name}.data") from None
            if item.id in found:
                raise RunError(f"{row.place}: item {item.id} is there twice; each needs an id of its own")
            found[item.id] = item
        if not found:
            raise RunError(f"benchmark.{self.name}: {self.data or self.hub['id']} holds no item")
        kept = sorted(found, key=lambda id: digest([self.seed, id]))[: self.limit]
        return [item for id, item in found.items() if id in set(kept)]

    def texts(self) -> Iterator[Texts]:
        """Of every item, also outside `limit`: a student that has seen one is measured by none of the test."""
        return map(self.known, replace(self, limit=None).items())

    def known(self, item: Item) -> Texts:
        """The texts of an item by which it is recognised in training data."""
        return Texts(item.id, [item.prompt])

    def source(self) -> Iterator[Row]:
        if self.data is not None:
            return read(self.data)
        hub, key = self.hub, f"benchmark.{self.name}.data"
        made = download(str(hub["id"]), hub.get("subset"), hub.get("file"), str(hub["split"]), hub.get("revision"), key)
        return (Row(f"{hub['id']}:{number}", rows.plain(row)) for number, row in enumerate(made, 1))

    def id(self, row: Mapping[str, Any], prompt: str) -> str:
        return next((str(row[key]) for key in self.ids if row.get(key) is not None), "") or digest(prompt)

    def prompted(self, row: Mapping[str, Any]) -> str:
        """The text of an item's prompt, as a row of recorded answers tells it."""
        return prompted(row)

    def replies(self, items: Sequence[Item], models: Mapping[str, Backend]) -> list[Answer]:
        """One answer an item, in order; recorded or asked."""
        if self.answers:
            return [given[0] for given in self.recorded(items)]
        return asked(models[self.model], [self.ask(item) for item in items], self.sampling)

    def recorded(self, items: Sequence[Item]) -> list[list[Answer]]:
        """The recorded answers of each item, `draws` at most; at least one, which may be none."""
        assert self.answers
        return [
            [Answer(told) if isinstance(told, str) else told for told in found]
            for found in paired(self.answers, items, self.ids, text, SHAPE, self.draws, self.prompted)
        ]


def scored(item: Item, values: Mapping[str, float | None], **more: Any) -> Score:
    return Score(item.id, item.id, 0, "", values, **more)


def resampled(
    statistic: Callable[..., float], columns: Sequence[Any], seed: str, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """A number of all items and its 95 % interval, percentile bootstrap over items. `columns` hold a value an item."""
    import numpy as np

    given = [np.asarray(column, float) for column in columns]
    n = len(given[0])
    found: dict[str, Any] = {"mean": float(statistic(*given)), "ci95": None, "n": n, "unparsed": 0}
    if n > 1:
        rng = np.random.default_rng(random.Random(seed).getrandbits(64))
        drawn = (rng.integers(n, size=n) for _ in range(resamples))
        values = [statistic(*(column[rows] for column in given)) for rows in drawn]
        found["ci95"] = np.quantile(values, [0.025, 0.975]).tolist()
    return found


def asked(model: Backend, chats: Sequence[Chat], sampling: Sampling) -> list[Answer]:
    return [answer(reply) for reply in model.generate(chats, sampling)]


def answer(reply: Completion) -> Answer:
    if reply.error:
        return Answer(reply.error, "no_reply")
    return Answer(reply.text, cut=reply.finish_reason == "length")
