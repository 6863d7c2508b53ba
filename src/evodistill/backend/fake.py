"""A model that is none: scripted or rule-based replies, in microseconds. Every test and every smoke run uses it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evodistill import RunError
from evodistill.backend import Backend, Chat, Classified, Completion, Logprobs, Request, Rewarded
from evodistill.record import digest

if TYPE_CHECKING:
    import numpy as np

GROUP = 512  # requests that finish together


@dataclass(eq=False)
class Fake(Backend):
    """Replies by `rules`: the first whose `match` is found in the chat's last message gives one of its `replies`,
    chosen by the request's seed. In a reply `\\g<name>` stands for a named group of the match; a reply may be a mapping
    with `text` and `finish_reason`. `Fake.scripted` gives the n-th request the n-th reply instead.

    `logprobs`, `embed` and `reward` are deterministic functions of the text, with no meaning; an empty last turn has no
    reward. `classify` infers by words: a text follows from one that holds most of its words, and contradicts it where
    only one of the two says "not"."""

    rules: Sequence[Mapping[str, Any]] = ()
    delay_s: float = 0.0  # before each group, to have something to interrupt
    group: int = GROUP
    script: Iterator[str | Completion] | None = field(default=None, init=False)
    asked: list[Request] = field(
        default_factory=list, init=False
    )  # what a scripted model was asked, for tests of prompts

    @classmethod
    def scripted(cls, *replies: str | Completion) -> Fake:
        fake = cls("fake")
        fake.script = iter(replies)
        return fake

    def __post_init__(self) -> None:
        self.compiled = [
            (re.compile(rule["match"], re.S), [as_mapping(reply) for reply in rule["replies"]]) for rule in self.rules
        ]

    @property
    def identity(self) -> str:
        return "fake:" + digest([self.name, [dict(rule) for rule in self.rules]])

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        if self.script is not None:
            self.asked += requests
        for start in range(0, len(requests), self.group):
            if self.delay_s:
                time.sleep(self.delay_s)
            yield [(start + i, self.reply(request)) for i, request in enumerate(requests[start : start + self.group])]

    def reply(self, request: Request) -> Completion:
        text = request.chat[-1]["content"]
        if self.script is not None:
            given = next(self.script, None)
            if given is None:
                raise RunError(f"the script of model {self.name} has ended, yet it is asked: {text[:200]!r}")
            if isinstance(given, Completion):
                return given
            return Completion(given, "stop", len(text.split()), len(given.split()))
        for pattern, replies in self.compiled:
            if match := pattern.search(text):
                chosen = replies[request.seed % len(replies)]
                words = re.sub(r"\\g<(\w+)>", lambda found: match[found[1]] or "", chosen["text"])
                return Completion(words, chosen["finish_reason"], len(text.split()), len(words.split()))
        raise RunError(
            f"model {self.name}: no rule of conf/backend/fake.yaml matches this prompt, add one: {text[:200]!r}"
        )

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        import numpy as np

        for start in range(0, len(texts), self.group):
            group = []
            for i, parts in enumerate(texts[start : start + self.group]):
                arrays, cut = [], 0
                room = sys.maxsize if limit is None else limit - 1  # the first token is the BOS
                for number, part in enumerate(parts):
                    ease = 1 + number / 8  # a later part is easier, as text is in its context
                    words = part.split()
                    values = [-((hash_of(word) % 997) / 199 + 0.01) / ease for word in words[:room]]
                    arrays.append(np.array(values, np.float32))
                    cut += len(words) - len(values)
                    room -= len(values)
                group.append((start + i, Logprobs(tuple(arrays), cut=cut)))
            yield group

    def vectors(self, texts: Sequence[str]) -> Iterator[list[tuple[int, np.ndarray]]]:
        import numpy as np

        for start in range(0, len(texts), self.group):
            group = []
            for i, text in enumerate(texts[start : start + self.group]):
                vector = np.random.default_rng(hash_of(text)).standard_normal(16).astype(np.float32)
                group.append((start + i, vector / np.linalg.norm(vector)))
            yield group

    def rewards(self, chats: Sequence[Chat]) -> Iterator[list[tuple[int, Rewarded]]]:
        for start in range(0, len(chats), self.group):
            group = []
            for i, chat in enumerate(chats[start : start + self.group]):
                text = "\n".join(message["content"] for message in chat)
                value = Rewarded(hash_of(text) % 2001 / 100 - 10)
                empty = not chat[-1]["content"].strip()
                group.append((start + i, Rewarded(reason="nothing to reward") if empty else value))
            yield group

    def classes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[int, Classified]]]:
        for start in range(0, len(pairs), self.group):
            yield [(start + i, inferred(*pair)) for i, pair in enumerate(pairs[start : start + self.group])]


def inferred(premise: str, hypothesis: str) -> Classified:
    known, told = (set(re.findall(r"\w+", text.lower())) for text in (premise, hypothesis))
    if not told:
        return Classified(reason="nothing to infer")
    share = len(known & told) / len(told)
    label = "entailment" if share >= 0.5 else "neutral"
    if ("not" in known) != ("not" in told):
        label = "contradiction"
    return Classified({name: 0.9 if name == label else 0.05 for name in ("entailment", "neutral", "contradiction")})


def as_mapping(reply: str | Mapping[str, str]) -> Mapping[str, str]:
    return {"text": reply, "finish_reason": "stop"} if isinstance(reply, str) else {"finish_reason": "stop", **reply}


def hash_of(text: str) -> int:
    return int(digest(text), 16)
