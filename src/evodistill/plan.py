"""The dry run: what an experiment would do, without asking any model.

The steps run on a stand-in that gives each request an acceptable reply of the largest length, so that counts and tokens
are those of a run in which everything goes well.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from evodistill import config
from evodistill.backend import Backend, Chat, Classified, Completion, Logprobs, Request, Rewarded
from evodistill.record import Made, Record, split

if TYPE_CHECKING:
    import numpy as np

CHARACTERS_PER_TOKEN = 4.0  # English text under the usual tokenizers; an estimate, and called one
# of stand-in replies: each is an instruction of its own, near no other
WORDS = """
    water bread river stone paper music garden winter market doctor number planet bridge window letter island engine
    forest school village summer colour harbour ticket kitchen journey teacher weather machine pattern station history
""".split()  # noqa: SIM905 - a literal would take thirty lines
SHOWN = 2000  # characters of a prompt
NOT_ASKED = "not asked: this is a dry run"


Sentence = Callable[[], str]  # gives another one each time


@dataclass(eq=False)
class Planner(Backend):
    """Counts what is asked of a model, and keeps the first prompt of each step. A step to which a plain instruction is
    no acceptable reply has a `stand_in(sentence)` that makes one of such sentences."""

    reply: Callable[[Sentence], str] = lambda sentence: sentence()

    requests_asked: int = 0
    prompt_tokens: float = 0.0
    completion_tokens: int = 0  # the most that may come
    first: str = ""

    @property
    def identity(self) -> str:
        return f"plan:{self.name}"

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        for position, request in enumerate(requests):
            text = "\n".join(message["content"] for message in request.chat)
            self.count(text, request.sampling.max_tokens)
            rng = random.Random(request.key)
            reply = self.reply(lambda rng=rng: f"Explain how {' '.join(rng.choices(WORDS, k=14))}.")
            yield [(position, Completion(reply, "stop"))]

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        for position, parts in enumerate(texts):
            self.count("".join(parts), 0)
            yield [(position, Logprobs((), NOT_ASKED))]

    def vectors(self, texts: Sequence[str]) -> Iterator[list[tuple[int, np.ndarray]]]:
        import numpy as np

        for position, text in enumerate(texts):
            self.count(text, 0)
            yield [(position, np.ones(1, np.float32))]

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


def describe(cfg: DictConfig) -> str:
    """The plan as text: per step and metric the records, requests, tokens, cost and the first prompt."""
    config.check(cfg)
    cfg = copy.deepcopy(cfg)  # what would be trained becomes a role of it
    metrics = ", ".join(name for name, _ in config.metrics(cfg)) or "none"
    lines = [
        f"plan of {cfg.name}: {' -> '.join(cfg.steps)}; metrics: {metrics}",
        "",
    ]
    records: list[Record] = []
    prompts: list[str] = []
    cost = 0.0
    for name in cfg.steps:
        step = config.build(cfg[name])
        models = stand_ins(cfg, step)
        given = len(records)
        if hasattr(step, "makes"):
            records = [with_output(record) for record in records]
            lines.append(f"{name}: {cfg[step.model].name} becomes {step.makes}: {step.plan(records)}")
            config.add_trained(cfg, name, step, "")
            continue
        made = step(records, models)
        records, rejected = split(made.records if isinstance(made, Made) else made)
        lines.append(
            f"{name}: {given} records in, up to {len(records)} out"
            + (f", {len(rejected)} rejected" if not step.roles else "")
        )
        cost += told(lines, prompts, name, models)
        for other, node in config.metrics(cfg):
            metric = config.build(node)
            if (metric.records or cfg.steps[-1]) == name:
                models = stand_ins(cfg, metric)
                metric([with_output(record) for record in records], models)
                lines.append(f"metric {other}: {len(records)} records of {name}")
                cost += told(lines, prompts, f"metric {other}", models)
    for name, node in config.benchmarks(cfg):
        benchmark = config.build(node)
        models = stand_ins(cfg, benchmark)
        lines.append(f"benchmark {name}: {len(benchmark(models))} items")
        cost += told(lines, prompts, f"benchmark {name}", models)
    lines += [
        "",
        f"at most {cost:.2f} USD by the prices of the models" if cost else "no model has a price: nothing to pay",
        "",
    ]
    return (
        "\n".join(lines + prompts)
        + "\nNo model was asked. Token counts are estimates from text length; completions are the most that may come."
    )


def stand_ins(cfg: DictConfig, step: Any) -> dict[str, Planner]:
    given = {"reply": step.stand_in} if hasattr(step, "stand_in") else {}
    return {role: Planner(cfg[role].name, price=cfg[role].get("price"), **given) for role in step.roles}


def told(lines: list[str], prompts: list[str], name: str, models: dict[str, Planner]) -> float:
    """Add what a step asks of its models; gives the cost in USD."""
    cost = 0.0
    for role, model in models.items():
        price: Any = model.price or {}
        paid = (
            model.prompt_tokens * price.get("prompt", 0.0) + model.completion_tokens * price.get("completion", 0.0)
        ) / 1e6
        cost += paid
        lines.append(
            f"  {role} = {model.name}: {model.requests_asked} requests, "
            f"about {model.prompt_tokens:,.0f} prompt tokens, "
            f"at most {model.completion_tokens:,} completion tokens" + (f", at most {paid:.2f} USD" if paid else "")
        )
        if model.first:
            prompts += [f"--- first prompt of {name} ({role}) ---", model.first[:SHOWN], ""]
    return cost


def with_output(record: Record) -> Record:
    return replace(record, output=record.output or "An answer. " * 20)
