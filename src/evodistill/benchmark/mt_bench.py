"""MT-Bench: 80 questions of two turns; a judge grades each answer from 1 to 10 (Zheng et al., arXiv 2306.05685)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from evodistill import RunError, prompt
from evodistill.backend import Backend, Chat, Sampling, chat
from evodistill.benchmark import Benchmark, asked, scored
from evodistill.benchmark.items import Answer, Item, Texts, check_file, paired, read
from evodistill.metric import Score
from evodistill.parse import Parsed, parse_score
from evodistill.record import Record
from evodistill.results import summary

LOW, HIGH = 1, 10
TURNS = ("mt_bench_turn_1", "mt_bench_turn_2")
RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*\]\]")
Turns: TypeAlias = Sequence[Answer]  # two
Verdict: TypeAlias = tuple[Parsed[float], str]  # and what it was read from
SHAPE = "'turns' as a list of the two answers (FastChat's 'choices' are read too)"


@dataclass(frozen=True, kw_only=True)
class MTBench(Benchmark):
    """Values `mt_bench_turn_1`, `mt_bench_turn_2` and `mt_bench`, their mean, where both are there. An empty answer has
    the lowest mark, unasked. Means by category are numbers of the whole set."""

    judge: str  # role that grades
    references: str | None = None  # a file of reference answers, where the items bring none (FastChat's form)
    first_prompt: str = "mt_bench/first"
    second_prompt: str = "mt_bench/second"
    judge_sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=512))

    ids = ("question_id", "prompt_id", "id")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_file(self.references, "references")

    @property
    def values(self) -> tuple[str, ...]:
        return ("mt_bench", *TURNS)

    @property
    def roles(self) -> tuple[str, ...]:
        return (*super().roles, self.judge)

    @property
    def files(self) -> list[str]:
        return [*super().files, *([self.references] if self.references else [])]

    @property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        first = ("question", "reference", "answer")
        return {
            self.first_prompt: first,
            self.second_prompt: (*first, "first_question", "first_reference", "first_answer"),
        }

    def parse(self, row: Mapping[str, Any]) -> Item:
        turns = row.get("turns") or row["prompt"]  # FastChat's form, or the hub's
        if not isinstance(turns, list) or len(turns) != 2 or not all(isinstance(turn, str) for turn in turns):
            raise ValueError("turns are no list of two texts")
        reference = row.get("reference") or []
        if (
            not isinstance(reference, list)
            or len(reference) > 2
            or any(isinstance(turn, dict | list) for turn in reference)
        ):
            raise ValueError(f"reference is no list of two texts: {reference!r}")
        given = {
            "turns": turns,
            "category": row.get("category") or "",
            "reference": [said(turn).text for turn in reference],
        }
        return Item(self.id(row, turns[0]), turns[0], given)

    def texts(self) -> Iterator[Texts]:
        referred = self.referred()
        for texts in super().texts():
            yield texts._replace(solutions=[*texts.solutions, *filter(None, referred.get(texts.id, ()))])

    def known(self, item: Item) -> Texts:
        return Texts(item.id, item.row["turns"], [*filter(None, item.row["reference"])])

    def ready(self) -> None:
        items = self.items()
        if self.references and not self.referred().keys() & {item.id for item in replace(self, limit=None).items()}:
            raise RunError(
                f"{self.references}: none of its reference answers names an item; "
                f"give each row the item's id ({' or '.join(self.ids)})"
            )
        if self.answers:
            self.conversations(items, {})

    def __call__(self, models: Mapping[str, Backend]) -> list[Score]:
        items = self.items()
        conversations = self.conversations(items, models)
        known = self.referred()
        chats: list[Chat] = []
        places: list[tuple[str, int]] = []  # item and turn of each chat
        verdicts: dict[tuple[str, int], Verdict] = {}
        for item, turns in zip(items, conversations, strict=True):
            reference = [*(known.get(item.id) or item.row["reference"]), "", ""][:2]
            for turn, answer in enumerate(turns):
                if answer.reason:
                    verdicts[item.id, turn] = Parsed(reason=answer.reason), answer.text
                elif not answer.text.strip():
                    verdicts[item.id, turn] = Parsed(float(LOW)), ""
                else:
                    places.append((item.id, turn))
                    chats.append(self.grading(item, turns, reference, turn))
        replies = asked(models[self.judge], chats, self.judge_sampling)
        verdicts |= {place: parse_rating(reply) for place, reply in zip(places, replies, strict=True)}
        by = {"judge": models[self.judge].name, "judge_identity": models[self.judge].identity}
        return [graded(item, [verdicts[item.id, turn] for turn in (0, 1)], by) for item in items]

    def conversations(self, items: Sequence[Item], models: Mapping[str, Backend]) -> list[Turns]:
        """The two answers of each item; the second question is asked with the first answer before it."""
        if self.answers:
            found = paired(self.answers, items, self.ids, recorded_turns, SHAPE)
            return [[given[0], given[0]] if isinstance(given[0], Answer) else given[0] for given in found]
        model = models[self.model]
        first = asked(model, [chat(item.row["turns"][0]) for item in items], self.sampling)
        going = [i for i, answer in enumerate(first) if not answer.reason]
        second = asked(model, [dialogue(items[i], first[i]) for i in going], self.sampling)
        by_place = dict(zip(going, second, strict=True))
        return [[answer, by_place.get(i, Answer(reason="no_first_answer"))] for i, answer in enumerate(first)]

    def referred(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for row in read(self.references) if self.references else ():
            turns = listed(row.value) if isinstance(row.value, dict) else None
            if row.fault or turns is None:
                raise RunError(f"{row.place}: no reference answers ({row.fault or f'this row needs {SHAPE}'})")
            found[self.id(row.value, "")] = [said(turn).text for turn in turns]  # type: ignore[arg-type]
        return found

    def grading(self, item: Item, turns: Turns, reference: Sequence[str], turn: int) -> Chat:
        given = {"question": item.row["turns"][turn], "reference": reference[turn], "answer": turns[turn].text}
        if turn == 0:
            return chat(prompt.render(self.first_prompt, **given))
        before = {"first_question": item.prompt, "first_reference": reference[0], "first_answer": turns[0].text}
        return chat(prompt.render(self.second_prompt, **given, **before))

    def whole(self, records: Sequence[Record], scores: Sequence[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        """The mean of each category."""
        groups: dict[str, list[float | None]] = {}
        for score in scores:
            if score.extra.get("category"):
                groups.setdefault(score.extra["category"], []).append(score.values["mt_bench"])
        return {
            f"mt_bench_{category}": {0: summary(values, f"{self.seed}:{category}")}
            for category, values in sorted(groups.items())
        }


def graded(item: Item, verdicts: Sequence[Verdict], by: Mapping[str, str]) -> Score:
    (first, _), (second, _) = verdicts
    mean = None if first.value is None or second.value is None else (first.value + second.value) / 2
    reason, raw = next(((parsed.reason, raw) for parsed, raw in verdicts if parsed.reason), ("", ""))
    values = {"mt_bench": mean, TURNS[0]: first.value, TURNS[1]: second.value}
    return scored(item, values, reason=reason, raw=raw, extra={"category": item.row["category"], **by})


def dialogue(item: Item, first: Answer) -> Chat:
    return [
        {"role": "user", "content": item.row["turns"][0]},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": item.row["turns"][1]},
    ]


def recorded_turns(row: Mapping[str, Any], item: Item) -> list[Answer] | None:
    turns = listed(row)
    return None if turns is None else [said(turn) for turn in turns]


def listed(row: Mapping[str, Any]) -> list[Any] | None:
    """The two turns of a row: `turns`, `response` or `answer` is a list of two, or FastChat's first choice has it."""
    choices = row.get("choices")
    given = choices[0] if isinstance(choices, list) and choices else row
    if not isinstance(given, Mapping):
        return None
    turns = next((given[key] for key in ("turns", "response", "answer") if key in given), None)
    return turns if isinstance(turns, list) and len(turns) == 2 else None


def said(turn: object) -> Answer:
    """A turn of null is none, and not the text None."""
    return Answer(str(turn)) if isinstance(turn, str | int | float) else Answer(reason="no_answer")


def parse_rating(reply: Answer) -> Verdict:
    """The last [[n]] of a judge's reply, or else what is plainly its score; and what it said."""
    if reply.reason:
        return Parsed(reason=reply.reason), reply.text
    marked = RATING.findall(reply.text)
    if not marked:
        return parse_score(reply.text, LOW, HIGH), reply.text
    value = float(marked[-1])
    return Parsed(value) if LOW <= value <= HIGH else Parsed(reason="out_of_range"), reply.text
