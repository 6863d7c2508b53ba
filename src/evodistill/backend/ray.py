"""Many copies of a model on a Ray cluster, or on this machine: each is an actor that runs any other backend.

    python run.py +experiment=… backend@teacher=ray backend@teacher.inner=vllm teacher.replicas=8 teacher.gpus=1

Requests are handed out in portions, a new one to a copy that has finished its last, so that fast copies do more and no
more than a portion for each is under way. What a copy finishes comes back at once, group by group, and is durable
before the next is taken. Of a copy that dies, what is not yet back is asked again, in smaller portions, and a new copy
takes its place; a request that kills one copy after the other is given up, and costs no other.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from evodistill import RunError
from evodistill.backend import Backend, Chat, Classified, Completion, Logprobs, Request, Rewarded

if TYPE_CHECKING:
    import numpy as np

    from evodistill.weights import Weights

T = TypeVar("T")

log = logging.getLogger(__name__)

SHARED = ("name", "path", "package", "source", "size", "price")  # what a copy has from the role
OBJECTS = 256 << 20  # bytes of the object store of a local cluster: results are small
SHARE = 8  # the smallest portion is this part of the largest


@dataclass(eq=False, kw_only=True)
class Ray(Backend):
    """`inner` is the backend of each copy; it is what the model is, and Ray only a matter of how fast."""

    inner: Backend
    replicas: int = 2
    gpus: float | None = None  # of each copy; a part of one is shared; None = what its engine asks for
    cpus: float = 0.5
    portion: int = 256  # most requests that a copy has at a time
    deaths: int = 3  # of copies, over one request, until it is given up
    address: str | None = None
    start_s: float = 600

    def __post_init__(self) -> None:
        for name in ("replicas", "portion", "deaths"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")
        if (self.gpus or 0) < 0 or self.cpus <= 0 or self.start_s <= 0:
            raise ValueError(f"gpus must be ≥ 0, cpus and start_s > 0, got {self.gpus}, {self.cpus}, {self.start_s}")
        if not isinstance(self.inner, Backend) or isinstance(self.inner, Ray):
            raise ValueError(f"inner must be another backend, got {type(self.inner).__name__}")
        for name in SHARED:
            setattr(self.inner, name, getattr(self, name))
        self.inner.engine = {**self.inner.engine, **self.engine}  # a large model says how many GPUs it takes
        self.copies: list[Any] = []
        self.resources: dict[str, float] = {}

    @property
    def identity(self) -> str:
        return self.inner.identity

    @property
    def weights(self) -> Weights:  # type: ignore[override]
        return self.inner.weights

    @property
    def engine_facts(self) -> dict[str, str | None]:
        told = self.inner.engine_facts
        return told | {"backend": f"Ray of {told['backend']}"}

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        return self.spread("complete", requests, lambda why: Completion("", "error", error=why))

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        return self.spread("score", texts, lambda why: Logprobs((), why), limit)

    def vectors(self, texts: Sequence[str]) -> Iterator[list[tuple[int, np.ndarray]]]:
        def refuse(why: str) -> np.ndarray:
            raise RunError(f"model {self.name}: a text cannot be embedded: {why}")

        return self.spread("vectors", texts, refuse)

    def rewards(self, chats: Sequence[Chat]) -> Iterator[list[tuple[int, Rewarded]]]:
        return self.spread("rewards", chats, lambda why: Rewarded(reason=why))

    def classes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[int, Classified]]]:
        return self.spread("classes", pairs, lambda why: Classified(reason=why))

    def unread(self, texts: Sequence[str]) -> list[int]:
        return self.inner.unread(texts)

    def spread(
        self, verb: str, items: Sequence[Any], given_up: Callable[[str], T], *settings: Any
    ) -> Iterator[list[tuple[int, T]]]:
        """The results of a verb of `inner` over the items, in groups, from all copies."""
        if not items:
            return
        import ray
        from ray.exceptions import RayError, RayTaskError

        self.open()
        rest = range(len(items))  # not yet handed out
        again: deque[Portion] = deque()  # to be asked once more
        under_way: dict[Any, tuple[int, Portion]] = {}  # stream of results → copy, portion
        idle = list(range(self.replicas))
        lost = 0  # copies in a row that died before they gave anything
        try:
            while rest or again or under_way:
                while idle and (rest or again):
                    if again:
                        portion = again.popleft()
                    else:
                        size = self.next_size(len(rest))
                        portion, rest = Portion(list(rest[:size])), rest[size:]
                    number = idle.pop()
                    asked = [items[position] for position in portion.positions]
                    under_way[self.copies[number].ask.remote(verb, asked, self.identity, *settings)] = number, portion
                ready, _ = ray.wait(list(under_way), num_returns=1)
                stream: Any = ready[0]
                number, portion = under_way[stream]
                try:
                    group = ray.get(next(stream))
                except StopIteration:
                    del under_way[stream]
                    idle.append(number)
                    if missing := portion.missing:
                        raise RuntimeError(f"{len(missing)} requests came back without a result") from None
                except RayTaskError as error:
                    if isinstance(error.cause, RunError):
                        raise RunError(str(error.cause)) from None
                    raise
                except RayError as error:
                    del under_way[stream]
                    lost += 1
                    if lost > self.deaths * self.replicas:
                        raise RunError(
                            f"model {self.name}: {lost} copies died one after the other and gave nothing; the last: "
                            f"{first_line(error)}. What had finished is kept: mend that and run the same command again"
                        ) from None
                    missing = portion.missing
                    log.warning(
                        "%s: copy %d died (%s); %d of its %d requests are asked again",
                        *(self.name, number, first_line(error), len(missing), len(portion.positions)),
                    )
                    self.copies[number] = self.start()
                    idle.append(number)
                    if len(missing) == 1 and portion.deaths + 1 >= self.deaths:
                        yield [
                            (missing[0], given_up(f"{self.deaths} copies died of it, the last: {first_line(error)}"))
                        ]
                    else:
                        again.extend(portion.parts())
                else:
                    lost = 0
                    yield portion.take(group)
        finally:
            for stream in under_way:  # whoever asked has gone away
                ray.cancel(stream)

    def next_size(self, left: int) -> int:
        """Of the next portion: half of what would be fair, so that all copies end at about the same time."""
        return max(1, self.portion // SHARE, min(self.portion, math.ceil(left / (2 * self.replicas))))

    def open(self) -> None:
        """Connect to the cluster, or start one here, and start the copies, unless they are there."""
        if self.copies:
            return
        connect(self.address)
        self.resources = {"CPU": self.cpus, "GPU": self.gpus_of_each()}
        self.wait_for_room()
        self.copies = [self.start() for _ in range(self.replicas)]

    def start(self) -> Any:
        import ray

        bare = copy.copy(self.inner)
        bare.__dict__.pop("weights", None)  # each machine finds its own
        strategy = "SPREAD" if self.replicas > 1 else "DEFAULT"
        resources = {"num_cpus": self.resources["CPU"], "num_gpus": self.resources["GPU"]}
        return ray.remote(Copy).options(**resources, scheduling_strategy=strategy).remote(bare)

    def gpus_of_each(self) -> float:
        import ray

        if self.gpus is not None:
            return self.gpus
        parallel = [self.inner.engine.get(f"{kind}_parallel_size") or 1 for kind in ("tensor", "pipeline")]
        return math.prod(parallel) if ray.cluster_resources().get("GPU") else 0  # type: ignore[arg-type]

    def wait_for_room(self) -> None:
        """Wait for what others may be about to free; RunError where it does not come, as Ray would wait for ever."""
        import ray

        needed = {what: self.replicas * number for what, number in self.resources.items()}
        total = ray.cluster_resources()
        deadline = time.monotonic() + self.start_s
        while True:
            free = ray.available_resources()
            short = [what for what, number in needed.items() if number > free.get(what, 0) + 1e-6]
            if not short:
                return
            never = [what for what in short if needed[what] > total.get(what, 0)]
            if never or time.monotonic() > deadline:
                told = ", ".join(
                    f"{needed[what]:g} {what} of {total.get(what, 0):g}, {free.get(what, 0):g} of them free"
                    for what in never or short
                )
                raise RunError(
                    f"model {self.name}: {self.replicas} copies need {told}; lower replicas, gpus or cpus, "
                    "or add nodes to the Ray cluster"
                )
            time.sleep(0.2)

    def close(self) -> None:
        if not self.copies:
            return
        import ray

        for each in self.copies:
            ray.kill(each)
        self.copies = []


@dataclass
class Portion:
    """Requests that a copy is asked at one time, by position. What is back is done, whatever becomes of the copy."""

    positions: list[int]
    deaths: int = 0  # of copies that had them
    back: set[int] = field(default_factory=set)

    @property
    def missing(self) -> list[int]:
        return [position for position in self.positions if position not in self.back]

    def take(self, group: list[tuple[int, T]]) -> list[tuple[int, T]]:
        """The group, numbered as in the whole."""
        found = [(self.positions[number], value) for number, value in group]
        self.back.update(position for position, _ in found)
        return found

    def parts(self) -> list[Portion]:
        """What is missing, in halves: one bad request shall not take the others with it again and again."""
        missing = self.missing
        half = (len(missing) + 1) // 2
        return [Portion(part, self.deaths + 1) for part in (missing[:half], missing[half:]) if part]


class Copy:
    """The actor: a backend in a process of its own, somewhere."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    def ask(self, verb: str, items: Sequence[Any], identity: str, *settings: Any) -> Iterator[list[tuple[int, Any]]]:
        if self.inner.identity != identity:
            raise RunError(
                f"model {self.inner.name}: node {os.uname().nodename} has other weights than the one that started "
                f"the run ({self.inner.identity}, not {identity})"
            )
        for group in getattr(self.inner, verb)(items, *settings):
            if group:
                yield group


def connect(address: str | None) -> None:
    """Join a cluster: that of the address or of RAY_ADDRESS, or one that `ray start` began here; else start one."""
    try:
        import ray
    except ImportError:
        raise RunError("backend ray: Ray is not installed; pip install -e '.[ray]'") from None
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to ray.io
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address != "local":
        try:
            ray.init(address=address or "auto", **quiet)
            return
        except ConnectionError as error:
            if address or os.environ.get("RAY_ADDRESS"):
                where = address or os.environ["RAY_ADDRESS"]
                raise RunError(f"backend ray: no cluster at {where} ({first_line(error)}); ray start --head") from None
    log.info("no Ray cluster is here: starting one for this run")
    ray.init(address="local", include_dashboard=False, object_store_memory=OBJECTS, **quiet)


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
