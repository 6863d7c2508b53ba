"""The dry run: what an experiment would do, without asking any model.

The steps run on a stand-in that gives each request an acceptable reply of the largest length, so that counts and tokens
are those of a run in which everything goes well. What two jobs of a study would share in the store is planned once.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from omegaconf import DictConfig

from evodistill import config
from evodistill.backend import Backend, Chat, Classified, Completion, Logprobs, Request, Rewarded
from evodistill.estimate import Row, total
from evodistill.hardware import Hardware
from evodistill.record import Made, Record, digest, split

if TYPE_CHECKING:
    import numpy as np

CHARACTERS_PER_TOKEN = 4.0  # English text under the usual tokenizers; an estimate, and called one
# of stand-in replies: each is an instruction of its own, near no other
WORDS = """
    water bread river stone paper music garden winter market doctor number planet bridge window letter island engine
    forest school village summer colour harbour ticket kitchen journey teacher weather machine pattern station history
""".split()  # noqa: SIM905 - a literal would take thirty lines
DIMENSIONS = 64  # of stand-in vectors
SHOWN = 2000  # characters of a prompt
NOT_ASKED = "not asked: this is a dry run"


Sentence = Callable[[], str]  # gives another one each time


@dataclass(eq=False)
class Planner(Backend):
    """Counts what is asked of a model, and keeps the first prompt of each step. A step to which a plain instruction is
    no acceptable reply has a `stand_in(sentence)` that makes one of such sentences."""

    reply: Callable[[Sentence], str] = lambda sentence: sentence()
    weights: tuple[Any, ...] = ()  # what tells it from another model of its name
    elsewhere: bool = False  # a server would compute it

    requests_asked: int = 0
    prompt_tokens: float = 0.0
    completion_tokens: int = 0  # the most that may come
    first: str = ""

    @property
    def identity(self) -> str:
        return f"plan:{digest(self.weights)}"

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        for position, request in enumerate(requests):
            text = "\n".join(message["content"] for message in request.chat)
            self.count(text, request.sampling.max_tokens)
            rng = random.Random(request.key)
            reply = self.reply(lambda rng=rng: f"Explain how {' '.join(rng.choices(WORDS, k=14))}.")
            yield [(position, Completion(reply, "stop"))]

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        import numpy as np

        for position, parts in enumerate(texts):
            self.count("".join(parts), 0)
            # a number where one is needed, so that what is chosen by it is planned for
            yield [(position, Logprobs(tuple(np.full(max(1, len(part.split())), -1.0, np.float32) for part in parts)))]

    def vectors(self, texts: Sequence[str]) -> Iterator[list[tuple[int, np.ndarray]]]:
        import numpy as np

        for position, text in enumerate(texts):
            self.count(text, 0)
            # another for each text: where near ones go, not all but one of them would
            vector = np.random.default_rng(int(digest(text), 16)).standard_normal(DIMENSIONS).astype(np.float32)
            yield [(position, vector / np.linalg.norm(vector))]

    def rewards(self, chats: Sequence[Chat]) -> Iterator[list[tuple[int, Rewarded]]]:
        for position, chat in enumerate(chats):
            self.count("\n".join(message["content"] for message in chat), 0)
            yield [(position, Rewarded(reason=NOT_ASKED))]

    def classes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[int, Classified]]]:
        for position, pair in enumerate(pairs):
            self.count("\n".join(pair), 0)
            yield [(position, Classified({"entailment": 1.0, "neutral": 0.0, "contradiction": 0.0}))]

    def count(self, text: str, most: int) -> None:
        self.requests_asked += 1
        self.first = self.first or text
        self.prompt_tokens += len(text) / CHARACTERS_PER_TOKEN
        self.completion_tokens += most


@dataclass(frozen=True)
class Work:
    """What a step leaves in a plan: records for the next one, lines to print, first prompts, rows to add up."""

    records: list[Record]
    lines: list[str]
    prompts: list[str]
    rows: list[Row]


class Plan:
    """The plan of a job: its steps, each with its metrics, and its benchmarks, done on stand-ins."""

    remembered: ClassVar[dict[str, Work]] = {}  # of the job before: the next one of a study differs in one axis

    def __init__(self, cfg: DictConfig) -> None:
        self.lacking = config.lacking(config.check(cfg))
        self.cfg = cfg = copy.deepcopy(cfg)  # what would be trained becomes a role of it
        self.before, Plan.remembered = Plan.remembered, {}
        self.works: list[Work] = []
        self.planned: set[str] = set()  # keys of works
        self.made_up = False  # the records at hand: replies of a stand-in are among them
        key, records, trained = "", list[Record](), set[str]()
        for name in cfg.steps:
            step = config.build(cfg[name])
            for rival in getattr(step, "rivals", ()):
                self.with_rival(name, step, rival)
            key, records = self.step_of(key, name, step, records)
            trained |= {step.makes} if hasattr(step, "makes") else set()
            for other, node in config.metrics(cfg):
                metric = config.build(node)
                if (metric.records or cfg.steps[-1]) == name:
                    self.add(key, other, metric, records, partial(self.metric, step=name))
        for name, node in config.benchmarks(cfg):
            benchmark = config.build(node)
            # a trained model is known by what it is trained on
            self.add(key if trained & {*benchmark.roles} else "", name, benchmark, [], self.benchmark)

    def with_rival(self, name: str, step: Any, rival: str) -> None:
        """What a step needs of its rival: the steps before it, which the study's other jobs may do too."""
        own, self.cfg = self.cfg, config.with_rival(self.cfg, name, step.role, rival)
        key, records, done = "", list[Record](), len(self.works)
        for before in self.cfg.steps:
            key, records = self.step_of(key, before, config.build(self.cfg[before]), records)
        if self.works[done:]:
            line = f"{name} needs the same steps with {rival} ({self.cfg[rival].name}) as {step.role}:"
            self.works.insert(done, Work([], [line], [], []))
        self.cfg = own

    def step_of(self, given: str, name: str, step: Any, records: list[Record]) -> tuple[str, list[Record]]:
        key, records = self.add(given, name, step, records, self.step)
        if hasattr(step, "makes"):
            config.add_trained(self.cfg, name, step, "")
        return key, records

    def add(
        self, given: str, name: str, object: Any, records: list[Record], do: Callable[..., Work]
    ) -> tuple[str, list[Record]]:
        """Do it, unless the job before has; gives its key and what it leaves."""
        models = [self.weights(role) for role in object.roles]
        key = digest([given, name, config.identity(object), list(getattr(object, "sources", ())), models])
        self.made_up |= bool(models)
        if key not in Plan.remembered:
            with silence() if self.made_up else nullcontext():
                Plan.remembered[key] = self.before.get(key) or do(key, name, object, records)
        if key not in self.planned:  # as of a rival that is this job's own model
            self.planned.add(key)
            self.works.append(Plan.remembered[key])
        return key, Plan.remembered[key].records

    def weights(self, role: str) -> list[Any]:
        """What tells a model from another of its name."""
        model = self.cfg[role]
        return [str(model.name), *(str(model.get(key)) for key in ("path", "package", "source")), self.elsewhere(role)]

    def step(self, key: str, name: str, step: Any, records: list[Record]) -> Work:
        given = len(records)
        if hasattr(step, "makes"):
            records = [with_output(record) for record in records]
            told, tokens = step.plan(records)
            model = self.cfg[step.model]
            row = Row(key, str(model.name), model.get("size"), learned=tokens)
            return Work(records, [f"{name}: {model.name} becomes {step.makes}: {told}"], [], [row])
        models = self.stand_ins(step)
        made = step(records, models)
        records, rejected = split(made.records if isinstance(made, Made) else made)
        lost = f", {len(rejected)} rejected" if not step.roles else ""
        return told_of(key, name, f"{name}: {given} records in, up to {len(records)} out{lost}", records, models)

    def metric(self, key: str, name: str, metric: Any, records: list[Record], step: str) -> Work:
        models = self.stand_ins(metric)
        metric([with_output(record) for record in records], models)
        return told_of(key, f"metric {name}", f"metric {name}: {len(records)} records of {step}", [], models)

    def benchmark(self, key: str, name: str, benchmark: Any, records: list[Record]) -> Work:
        models = self.stand_ins(benchmark)
        n = len(benchmark(models))
        return told_of(key, f"benchmark {name}", f"benchmark {name}: {n} items", [], models)

    def stand_ins(self, step: Any) -> dict[str, Planner]:
        given = {"reply": step.stand_in} if hasattr(step, "stand_in") else {}
        nodes = {role: self.cfg[role] for role in step.roles}
        return {
            role: Planner(
                node.name,
                size=node.get("size"),
                price=node.get("price"),
                weights=tuple(self.weights(role)),
                elsewhere=self.elsewhere(role),
                **given,
            )
            for role, node in nodes.items()
        }

    def elsewhere(self, role: str) -> bool:
        """Whether a server computes what this role is asked."""
        return config.trusted(role, self.cfg[role]).served  # type: ignore[attr-defined]

    @property
    def rows(self) -> list[Row]:
        return [row for work in self.works for row in work.rows]

    @property
    def hardware(self) -> Hardware:
        return config.build(self.cfg.hardware)

    def text(self, prompts: bool = True) -> str:
        """Per step and metric the records, requests and tokens; the sum; the first prompts."""
        metrics = ", ".join(name for name, _ in config.metrics(self.cfg)) or "none"
        lines = [f"plan of {self.cfg.name}: {' -> '.join(self.cfg.steps)}; metrics: {metrics}"]
        lines += [*(f"WARNING, a run would stop: {lack}" for lack in self.lacking), ""]
        lines += [line for work in self.works for line in work.lines]
        lines += ["", *total(self.rows, self.hardware), ""]
        if prompts:
            lines += [line for work in self.works for line in work.prompts]
        return "\n".join([*lines, NOTE])


@contextmanager
def silence() -> Iterator[None]:
    """Nothing is logged: what a step counts among the replies of a stand-in would read as a result."""
    ours = logging.getLogger("evodistill")
    before = ours.level
    ours.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ours.setLevel(before)


NOTE = "No model was asked. Token counts are estimates from text length; completions are the most that may come."


def describe(cfg: DictConfig) -> str:
    return Plan(cfg).text()


def told_of(key: str, name: str, line: str, records: list[Record], models: Mapping[str, Planner]) -> Work:
    """What was asked of the models."""
    lines, prompts, rows = [line], [], []
    for role, model in models.items():
        price: Any = model.price or {}
        usd = (
            model.prompt_tokens * price.get("prompt", 0.0) + model.completion_tokens * price.get("completion", 0.0)
        ) / 1e6
        asked = (model.requests_asked, model.prompt_tokens, model.completion_tokens)
        rows.append(Row(f"{key}:{role}", model.name, model.size, *asked, usd=usd, elsewhere=model.elsewhere))
        lines.append(
            f"  {role} = {model.name}: {model.requests_asked} requests, "
            f"about {model.prompt_tokens:,.0f} prompt tokens, "
            f"at most {model.completion_tokens:,} completion tokens" + (f", at most {usd:.2f} USD" if usd else "")
        )
        if model.first:
            prompts += [f"--- first prompt of {name} ({role}) ---", model.first[:SHOWN], ""]
    return Work(records, lines, prompts, rows)


def with_output(record: Record) -> Record:
    return replace(record, output=record.output or "An answer. " * 20)
