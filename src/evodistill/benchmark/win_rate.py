"""Win rate: a judge compares a model's answers with a rival's, in both orders (arXiv 2412.11231, figures 6 and 7; the
prompts are AlpacaEval's, arXiv 2305.14387, or any).

A win or a loss is one that both orders agree on; all else is a tie (JD1). A verdict stands alone on a last line (JD2);
without one there is no value, and no tie (JD3). Answers are joined to the prompts by id or by text (JD4).
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evodistill import RunError, prompt
from evodistill.backend import Backend, Chat, Sampling, chat
from evodistill.benchmark import Benchmark, asked, resampled, scored
from evodistill.benchmark.items import SHAPE, Answer, Item, check_file, paired, text
from evodistill.benchmark.length_control import controlled
from evodistill.metric import Score
from evodistill.parse import Parsed, plain
from evodistill.record import Record

log = logging.getLogger(__name__)

VERDICT = re.compile(r"(?:better ?:? ?)?(?:answer )?(1|2|neither)")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of a pair: the chance that the model's answer is the better one, or why there is none."""

    value: float | None = None
    reason: str = ""
    raw: str = ""
    flip: bool | None = None  # whether the two orders name different winners; None where no judge was asked


@dataclass(frozen=True, kw_only=True)
class WinRate(Benchmark):
    """Value `win_rate`: 1, 0.5 or 0, with the label win, tie or lose. Numbers of the whole set: `win_rate_flips`, the
    share of judged pairs whose winner changes with the order, and `length_controlled_win_rate`.

    The rival's answers are those of a role, of a file, or the `output` of the items. An empty answer loses, unasked."""

    judge: str  # role that compares
    rival: str | None = None  # role that answers too
    rival_answers: str | None = None  # a file with the rival's answers
    preferences: str | None = None  # recorded verdicts {id | prompt, preference}: P(the model wins); nobody is asked
    prompt: str = "respond/plain"  # what a student was trained on (JD6)
    judge_prompt: str = "win_rate/compare"
    judge_sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=512))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rival and (self.rival_answers or self.preferences):
            raise ValueError("rival goes without rival_answers and preferences; null all but one")
        for key in ("rival_answers", "preferences"):
            check_file(getattr(self, key), key)

    @property
    def values(self) -> tuple[str, ...]:
        return ("win_rate",)

    @property
    def roles(self) -> tuple[str, ...]:
        return () if self.preferences else (*super().roles, *([self.rival] if self.rival else []), self.judge)

    @property
    def files(self) -> list[str]:
        return [*super().files, *(path for path in (self.rival_answers, self.preferences) if path)]

    @property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        return {self.prompt: ("instruction", "input"), self.judge_prompt: ("request", "first", "second")}

    def parse(self, row: Mapping[str, Any]) -> Item:
        if not (told := instruction(row)):
            raise ValueError("no instruction, prompt or question")
        whole = self.prompted(row)
        given = {**row, "instruction": told, "input": row.get("input") or ""}
        if "difficulty" in row:
            given["difficulty"] = number(row["difficulty"])
        return Item(self.id(row, whole), whole, given)

    def prompted(self, row: Mapping[str, Any]) -> str:
        """The instruction with its input below it, of an item and of a recorded row alike."""
        told, input = instruction(row), row.get("input")
        return f"{told}\n{input}" if told and input else told

    def ask(self, item: Item) -> Chat:
        return chat(prompt.render(self.prompt, instruction=item.row["instruction"], input=item.row["input"]))

    def ready(self) -> None:
        super().ready()
        items = self.items()
        if not self.rival:
            self.theirs(items, {})
        if self.preferences:
            self.preferred(items)
        lacking = sum(item.row.get("difficulty") is None for item in items)
        if lacking and any("difficulty" in item.row for item in items):
            told = "win_rate: difficulty is no number in %d of %d items; length_controlled_win_rate goes without it"
            log.warning(told, lacking, len(items))

    def __call__(self, models: Mapping[str, Backend]) -> list[Score]:
        items = self.items()
        ours, theirs = self.ours(items, models), self.theirs(items, models)
        by = {"model": named(self.model, self.answers, models), "rival": named(self.rival, self.rival_answers, models)}
        if self.preferences:
            found = self.preferred(items)
            by |= {"judge": self.preferences}
        else:
            found = self.judged(items, ours, theirs, models[self.judge])
            by |= {"judge": models[self.judge].name, "judge_identity": models[self.judge].identity}  # JD5
        return [
            compared(item, pair, comparison, by)
            for item, comparison, *pair in zip(items, found, ours, theirs, strict=True)
        ]

    def ours(self, items: Sequence[Item], models: Mapping[str, Backend]) -> list[Answer]:
        unasked = self.preferences and not self.answers
        return [Answer(reason="not_asked")] * len(items) if unasked else self.replies(items, models)

    def theirs(self, items: Sequence[Item], models: Mapping[str, Backend]) -> list[Answer]:
        if self.rival:
            return asked(models[self.rival], [self.ask(item) for item in items], self.sampling)
        if self.rival_answers:
            given = paired(self.rival_answers, items, self.ids, text, SHAPE, prompted=self.prompted)
            return [Answer(each[0]) if isinstance(each[0], str) else each[0] for each in given]
        outputs = [item.row.get("output") for item in items]
        if not self.preferences and not any(outputs):
            raise RunError("benchmark.win_rate: the items have no output to compare with; set rival or rival_answers")
        return [Answer(said) if isinstance(said, str) else Answer(reason="no_rival_answer") for said in outputs]

    def preferred(self, items: Sequence[Item]) -> list[Comparison]:
        """The recorded verdicts."""
        assert self.preferences
        shape = "a preference, a number from 0 to 1"
        given = paired(self.preferences, items, self.ids, preference, shape, prompted=self.prompted)
        return [recorded(each[0]) for each in given]

    def judged(
        self, items: Sequence[Item], ours: Sequence[Answer], theirs: Sequence[Answer], judge: Backend
    ) -> list[Comparison]:
        """Each pair that has to be judged is, once in each order."""
        found = [unasked(mine, other) for mine, other in zip(ours, theirs, strict=True)]
        todo = [i for i, comparison in enumerate(found) if comparison is None]
        texts = [(items[i].prompt, ours[i].text, theirs[i].text) for i in todo]
        chats = [self.comparing(*each) for each in texts]
        swapped = [self.comparing(request, other, mine) for request, mine, other in texts]
        replies = asked(judge, [*chats, *swapped], self.judge_sampling)
        verdicts = zip(replies[: len(todo)], replies[len(todo) :], strict=True)
        both = dict(zip(todo, (agreed(*pair) for pair in verdicts), strict=True))
        return [comparison or both[i] for i, comparison in enumerate(found)]

    def comparing(self, request: str, first: str, second: str) -> Chat:
        return chat(prompt.render(self.judge_prompt, request=request, first=first, second=second))

    def whole(self, records: Sequence[Record], scores: Sequence[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        """The share of flips; the win rate at equal lengths, where lengths are known."""
        import numpy as np

        there = [score for score in scores if score.values["win_rate"] is not None]
        lacking = {"unparsed": len(scores) - len(there)}
        told = {}
        if flips := [float(score.extra["flip"]) for score in there if "flip" in score.extra]:
            told["win_rate_flips"] = {0: resampled(np.mean, [flips], f"{self.seed}:flips") | lacking}
        if there and all("lengths" in score.extra for score in there):
            hard = all("difficulty" in score.extra for score in scores)
            columns: list[Any] = [
                [score.values["win_rate"] for score in there],
                [mine - other for mine, other in (score.extra["lengths"] for score in there)],
                *([[score.extra["difficulty"] for score in there]] if hard else []),
            ]
            found = resampled(controlled, columns, f"{self.seed}:length", resamples=500)
            told["length_controlled_win_rate"] = {0: found | lacking}
        return told


def instruction(row: Mapping[str, Any]) -> str:
    found = next((row[key] for key in ("instruction", "prompt", "question") if row.get(key)), "")
    return found if isinstance(found, str) else ""


def named(role: str | None, path: str | None, models: Mapping[str, Backend]) -> str:
    return path or (models[role].name if role in models else "")  # type: ignore[index]


def preference(row: Mapping[str, Any], item: Item) -> float | Answer | None:
    """A cell that is empty or no number is a judge that gave none."""
    if "preference" not in row:
        return None
    try:
        value = float(row["preference"])
    except (TypeError, ValueError):
        value = math.nan
    if math.isnan(value):
        return Answer(str(row["preference"] or ""), "no_preference")
    return value if 0 <= value <= 1 else None


def number(given: object) -> float | None:
    """A finite number, also one that is written as text; None where there is none."""
    try:
        value = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def recorded(value: float | Answer) -> Comparison:
    return Comparison(reason=value.reason, raw=value.text) if isinstance(value, Answer) else Comparison(value)


def unasked(mine: Answer, other: Answer) -> Comparison | None:
    """What needs no judge: an answer that is not there, an empty one, two equal ones. None where one is needed."""
    for answer in (mine, other):
        if answer.reason:
            return Comparison(reason=answer.reason, raw=answer.text)
    ours, theirs = mine.text.strip(), other.text.strip()
    if ours == theirs:
        return Comparison(0.5)
    return Comparison(float(bool(ours))) if not (ours and theirs) else None


def agreed(first: Answer, swapped: Answer) -> Comparison:
    """The verdict of two replies, the second of which saw the rival's answer as the first one."""
    one, two = (
        Parsed(reason=reply.reason) if reply.reason else parse_verdict(reply.text) for reply in (first, swapped)
    )
    if one.value is None or two.value is None:
        return Comparison(reason=one.reason or two.reason, raw=f"{first.text}\n--- swapped ---\n{swapped.text}")
    wins = (one.value == "1") + (two.value == "2")
    losses = (one.value == "2") + (two.value == "1")
    value = 1.0 if wins == 2 else 0.0 if losses == 2 else 0.5
    return Comparison(value, flip=wins == losses == 1)


def parse_verdict(reply: str) -> Parsed[str]:
    """1, 2 or neither, of a last line that says this and nothing else (JD2)."""
    lines = [line for line in reply.splitlines() if plain(line)]
    if not lines:
        return Parsed(reason="empty")
    found = VERDICT.fullmatch(plain(lines[-1]))
    return Parsed(found[1]) if found else Parsed(reason="no_verdict")


def compared(item: Item, pair: Sequence[Answer], comparison: Comparison, by: Mapping[str, str]) -> Score:
    value = comparison.value
    label = None if value is None else "win" if value > 0.5 else "lose" if value < 0.5 else "tie"
    extra: dict[str, Any] = dict(by)
    if not any(answer.reason for answer in pair):
        extra["lengths"] = [len(answer.text) for answer in pair]
    known = {"difficulty": item.row.get("difficulty"), "flip": comparison.flip}
    extra |= {key: value for key, value in known.items() if value is not None}
    return scored(item, {"win_rate": value}, label=label, reason=comparison.reason, raw=comparison.raw, extra=extra)
