"""Copies on a local Ray cluster: all results, none twice, whatever dies."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from evodistill import RunError, config
from evodistill.backend import Backend, Completion, Sampling, chat
from evodistill.backend.cache import Cache, Cached
from evodistill.backend.fake import Fake
from evodistill.backend.ray import Portion, Ray

pytestmark = pytest.mark.ray
DRAWN = Sampling(temperature=1.0)


@dataclass(eq=False)
class Noted(Fake):
    """A fake that notes in `notes` which process answered what, and dies of the chats that hold `poison`."""

    notes: str = ""
    poison: str = ""
    script: None = field(default=None, init=False)

    def complete(self, requests):
        for start in range(0, len(requests), self.group):
            part = requests[start : start + self.group]
            if self.poison and any(self.poison in request.chat[-1]["content"] for request in part):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.delay_s)
            with open(self.notes, "a") as file:
                file.writelines(f"{os.getpid()} {request.key}\n" for request in part)
            yield [(start + i, Completion(f"answer to {r.chat[-1]['content']}", "stop")) for i, r in enumerate(part)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One local cluster for all tests here; its workers cannot import this file, so they are sent it."""
    ray = pytest.importorskip("ray") if not os.environ.get("CI") else __import__("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules[Noted.__module__])
    yield
    ray.shutdown()


@pytest.fixture
def noted(tmp_path):
    def make(**settings) -> Noted:
        return Noted("fake", rules=[{"match": ".", "replies": ["?"]}], notes=str(tmp_path / "notes"), **settings)

    return make


def computed(tmp_path: Path) -> list[tuple[int, str]]:
    notes = tmp_path / "notes"
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [(int(pid), key) for pid, key in (line.split() for line in lines)]


def chats(n: int) -> list:
    return [chat(f"question {i}") for i in range(n)]


@pytest.fixture
def spread():
    """Copies of a backend, ended with the test, also with one that fails: the cluster has no room for many."""
    made: list[Ray] = []

    def make(inner: Backend, **settings) -> Ray:
        made.append(Ray(name=inner.name, inner=inner, **{"replicas": 2, "portion": 32, "start_s": 60} | settings))
        return made[-1]

    yield make
    for copies in made:
        copies.close()


def test_every_verb_gives_what_the_inner_backend_gives(spread):
    inner = Fake("fake", rules=[{"match": r"question (?P<n>\d+)", "replies": [r"a \g<n>", r"b \g<n>"]}])
    copies = spread(Fake("fake", rules=inner.rules))
    assert copies.identity == inner.identity
    assert copies.generate(chats(200), DRAWN) == inner.generate(chats(200), DRAWN)
    texts = [f"text number {i}" for i in range(100)]
    for ours, theirs in zip(copies.embed(texts), inner.embed(texts), strict=True):
        assert np.array_equal(ours, theirs)
    parts = [["a question", f" and its answer {i}"] for i in range(50)]
    for ours, theirs in zip(copies.logprobs(parts, 7), inner.logprobs(parts, 7), strict=True):
        assert ours.cut == theirs.cut and all(map(np.array_equal, ours.parts, theirs.parts))
    assert copies.reward(chats(50)) == inner.reward(chats(50))
    assert copies.classify([("tea is hot", text) for text in texts]) == inner.classify(
        [("tea is hot", text) for text in texts]
    )
    assert copies.unread(texts) == [0] * 100
    assert copies.generate([], DRAWN) == []


def test_all_copies_work_and_share_what_there_is(spread, noted, tmp_path):
    copies = spread(noted(group=4, delay_s=0.01), portion=16)
    while len({pid for pid, _ in computed(tmp_path)}) < 2:  # one may be up seconds before the other
        copies.generate(chats(32), DRAWN)
    before = len(computed(tmp_path))
    assert len(copies.generate(chats(400), DRAWN)) == 400
    by_copy = Counter(pid for pid, _ in computed(tmp_path)[before:])
    assert sum(by_copy.values()) == 400 and len(by_copy) == 2 and min(by_copy.values()) > 60


def running(title: str) -> list[int]:
    """Processes whose title begins so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if path.read_bytes().startswith(title.encode()):
                found.append(int(path.parent.name))
    return found


def kill_while(tmp_path: Path, times: int, every: int) -> list[int]:
    """Kill the process that wrote the last note, each time that so many notes have been written."""
    killed: list[int] = []

    def go() -> None:
        while len(killed) < times:
            time.sleep(0.01)
            done = computed(tmp_path)
            if len(done) >= every * (len(killed) + 1) and done[-1][0] not in killed:
                os.kill(done[-1][0], signal.SIGKILL)
                killed.append(done[-1][0])

    threading.Thread(target=go, daemon=True).start()
    return killed


def test_what_a_killed_copy_had_finished_is_not_asked_again_and_the_rest_is(spread, noted, tmp_path, caplog):
    copies = spread(noted(group=4, delay_s=0.03), portion=64)
    killed = kill_while(tmp_path, times=3, every=100)
    with caplog.at_level("WARNING", "evodistill.backend.ray"):
        answers = copies.generate(chats(600), DRAWN)
    assert [answer.text for answer in answers] == [f"answer to question {i}" for i in range(600)]
    assert len(killed) == 3 and caplog.text.count("are asked again") == 3
    times = Counter(key for _, key in computed(tmp_path))
    assert len(times) == 600
    # a group that was noted may not have come back: at most one for each death
    assert sum(times.values()) <= 600 + 3 * 4


def test_a_request_that_kills_its_copy_is_given_up_and_costs_no_other(spread, noted, tmp_path):
    copies = spread(noted(group=2, poison="question 37"), portion=16, deaths=2)
    answers = copies.generate(chats(100), DRAWN)
    bad = [i for i, answer in enumerate(answers) if answer.error]
    assert bad == [37] and "copies died of it" in answers[37].error
    assert all(answer.text for i, answer in enumerate(answers) if i != 37)


def test_copies_that_die_before_they_gave_anything_stop_the_run(spread, noted):
    with pytest.raises(RunError, match="copies died one after the other and gave nothing"):
        spread(noted(poison="question"), deaths=1).generate(chats(100), DRAWN)


def test_an_error_of_the_inner_backend_stops_the_run_as_it_would_without_ray(spread):
    with pytest.raises(RunError, match=r"^model fake: no rule of conf/backend/fake.yaml matches"):
        spread(Fake("fake", rules=[])).generate(chats(3), DRAWN)


def test_finished_groups_are_in_the_cache_when_the_asker_goes_away(spread, noted, tmp_path):
    cached = Cached(spread(noted(group=4, delay_s=0.01), portion=16), Cache(tmp_path / "requests.sqlite"))
    groups = cached.complete(cached.requests(chats(200), DRAWN))
    assert next(groups) == []  # nothing was known
    seen = sum(len(next(groups)) for _ in range(5))
    groups.close()
    assert len(cached.cache.get([request.key for request in cached.requests(chats(200), DRAWN)])) >= seen == 20
    answers = cached.generate(chats(200), DRAWN)
    assert all(answer.text for answer in answers) and cached.usage.cached == 20
    cached.close()


def test_more_than_the_cluster_has_is_refused_at_once(spread):
    copies = spread(Fake("fake"), gpus=1, start_s=600)
    started = time.monotonic()
    with pytest.raises(RunError, match="2 copies need 2 GPU of 0, 0 of them free; lower replicas, gpus or cpus"):
        copies.generate(chats(1), DRAWN)
    assert time.monotonic() - started < 60


def test_the_config_puts_any_backend_inside_and_hands_it_the_model(cfg, smollm2):
    small = "model@teacher=smollm2-135m"
    composed = cfg(
        small, "backend@teacher=ray", "backend@teacher.inner=vllm", "teacher.inner.engine.tensor_parallel_size=4"
    )
    config.check(composed)
    built = config.build(composed.teacher)
    assert type(built.inner).__name__ == "VLLM" and built.inner.path == composed.teacher.path
    assert built.inner.package["kind"] == "gguf" and built.inner.engine["tensor_parallel_size"] == 4
    plain = config.build(cfg(small).teacher)
    assert built.identity == plain.identity, "how a model is run is no part of what it is"


def test_a_trained_role_is_what_its_copies_run(cfg, tmp_path):
    """The path of what was trained takes the place of the model's, also inside."""
    composed = cfg("backend@teacher=ray", f"teacher.path={tmp_path}", "teacher.package=null")
    assert config.build(composed.teacher).inner.path == str(tmp_path)
    node = config.build(composed.teacher)
    assert Ray(name="tuned", path="/elsewhere", inner=node.inner).inner.path == "/elsewhere"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicas": 0}, "replicas must be ≥ 1"),
        ({"portion": 0}, "portion must be ≥ 1"),
        ({"cpus": 0}, "cpus and start_s > 0"),
        ({"inner": Ray(name="x", inner=Fake("x"))}, "inner must be another backend, got Ray"),
    ],
)
def test_a_bad_value_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Ray(**{"name": "fake", "inner": Fake("fake")} | settings)


def test_portions_shrink_and_halves_cover_what_is_missing():
    rng = random.Random(0)
    ray = Ray(name="fake", inner=Fake("fake"), replicas=4, portion=256)
    sizes = [ray.next_size(left) for left in (100_000, 1000, 100, 1)]
    assert sizes == [256, 125, 32, 32]
    portion = Portion(rng.sample(range(1000), 33))
    portion.take([(n, None) for n in range(0, 33, 2)])
    parts = portion.parts()
    assert sorted(position for part in parts for position in part.positions) == sorted(portion.missing)
    assert [part.deaths for part in parts] == [1, 1]


@pytest.mark.slow
def test_two_copies_of_a_real_model_one_of_them_killed(cfg, smollm2):
    """The answers are those of one process, and the killed copy's unfinished requests are asked again."""
    settings = ["model@evolver=smollm2-135m", "backend@evolver=ray", "evolver.inner.engine.dtype=float32"]
    copies = config.build(cfg(*settings, "evolver.inner.engine.batch_size=2", "evolver.portion=4").evolver)
    questions = [chat(f"Write one sentence about the number {n}.") for n in range(16)]
    sampling = Sampling(max_tokens=12)
    killed: list[int] = []

    found: dict[int, Completion] = {}
    requests = copies.requests(questions, sampling)
    for group in copies.complete(requests):
        if not killed and not found:
            killed.append(running("ray::Copy")[0])
            os.kill(killed[0], signal.SIGKILL)
        for position, completion in group:
            assert position not in found, "finished requests are not asked again"
            found[position] = completion
    copies.close()
    assert killed and len(found) == 16 and not any(completion.error for completion in found.values())
    alone = config.build(cfg("model@evolver=smollm2-135m", "evolver.engine.dtype=float32").evolver)
    expected = alone.generate(questions, sampling)
    same = sum(found[n].text == completion.text for n, completion in enumerate(expected))
    assert same >= 14  # batches differ, and with them the last bits
