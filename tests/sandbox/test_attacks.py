"""Hostile functions change nothing outside, forge nothing, and cost nobody but themselves (AI7, AI8)."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from attacks import ATTACKS, running
from repository import ROOT

from evodistill.sandbox import Outcome, Program, Sandbox
from evodistill.sandbox.bubblewrap import Bubblewrap
from evodistill.sandbox.process import Process

LANES = 4  # sandboxes of one worker each, so that the good program after an attack has the same worker
LIMITS = {"call_seconds": 1.0, "program_seconds": 1.0, "workers": 1}
SECRET = "the key of something dear"
GOOD = Program(
    "import re\nimport json\nWORDS = 2\ndef words(text):\n    return re.findall(r'\\w+', text)\n"
    "def good(text):\n    return len(words(json.loads(json.dumps(text)))) == WORDS",
    "good",
    [["two words"], ["one"]],
)


class World:
    """What attacks are after: a folder of files, a listener; and what became of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "dear.txt"
        self.file.write_text("untouched")
        self.late = folder / "late.txt"
        self.called = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(self.listener.getsockname())
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        while True:
            try:
                self.listener.accept()
            except OSError:
                return
            self.called += 1

    @property
    def wanted(self) -> dict:
        return {
            "file": str(self.file),
            "late": str(self.late),
            "folder": str(self.folder),
            "repository": str(ROOT),
            "home": str(Path.home()),
            "port": self.listener.getsockname()[1],
            "secret": SECRET,
        }

    def assert_untouched(self) -> None:
        assert self.file.read_text() == "untouched"
        assert sorted(path.name for path in self.folder.iterdir()) == ["dear.txt"]
        assert self.called == 0
        self.datagrams.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.datagrams.recv(1)

    def close(self) -> None:
        self.listener.close()
        self.datagrams.close()


class Fought(NamedTuple):
    outcomes: dict[str, Outcome]
    after: dict[str, list[Outcome]]  # of the good program behind each
    world: World
    left: list[str]  # processes


def fight(sandbox: Sandbox, names: list[str], folder: Path) -> Fought:
    """Each attack, and a good program behind it on the same worker."""
    world = World(folder)

    def lane(names: list[str]) -> list[tuple[str, list[Outcome], list[Outcome]]]:
        programs = (
            program for name in names for program in (Program(ATTACKS[name].code, name, [[world.wanted]]), GOOD)
        )
        results = list(sandbox.run(programs))
        return list(zip(names, results[::2], results[1::2], strict=True))

    before = os.environ.get("EVODISTILL_DEAR")
    os.environ["EVODISTILL_DEAR"] = SECRET
    try:
        with ThreadPoolExecutor(LANES) as pool:
            done = [row for rows in pool.map(lane, [names[start::LANES] for start in range(LANES)]) for row in rows]
    finally:
        del os.environ["EVODISTILL_DEAR"]
        if before:
            os.environ["EVODISTILL_DEAR"] = before
    time.sleep(0.2)
    return Fought(
        {name: outcome for name, (outcome,), _ in done},
        {name: good for name, _, good in done},
        world,
        running(sandbox),
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Fought:
    """Any import is allowed: the namespace and the limits have to hold by themselves."""
    fought = fight(Bubblewrap(allow=["*"], memory_mb=201, **LIMITS), list(ATTACKS), tmp_path_factory.mktemp("opened"))
    yield fought
    fought.world.close()


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Fought:
    """As it is by default: harmless modules only."""
    fought = fight(Bubblewrap(memory_mb=202, **LIMITS), list(ATTACKS), tmp_path_factory.mktemp("listed"))
    yield fought
    fought.world.close()


BARE = [name for name, attack in ATTACKS.items() if attack.bare]


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Fought:
    """Without namespaces: what reaches for nothing outside."""
    fought = fight(Process(allow=["*"], memory_mb=203, **LIMITS), BARE, tmp_path_factory.mktemp("bare"))
    yield fought
    fought.world.close()


def test_there_are_enough_attacks():
    assert len(ATTACKS) >= 100


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_nothing_though_it_may_import_anything(opened, name):
    outcome = opened.outcomes[name]
    assert outcome.value is not True
    assert outcome.reason in ATTACKS[name].reasons, outcome
    assert opened.after[name] == [Outcome(True), Outcome(False)]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_nothing_where_imports_are_listed(listed, name):
    outcome = listed.outcomes[name]
    assert outcome.value is not True
    assert outcome.reason in ATTACKS[name].reasons | {"import"}, outcome
    assert listed.after[name] == [Outcome(True), Outcome(False)]


@pytest.mark.parametrize("name", BARE)
def test_a_fault_costs_its_own_result_without_namespaces_too(bare, name):
    outcome = bare.outcomes[name]
    assert outcome.value is not True
    assert outcome.reason in ATTACKS[name].reasons, outcome
    assert bare.after[name] == [Outcome(True), Outcome(False)]


@pytest.mark.parametrize("kind", ["opened", "listed", "bare"])
def test_nothing_outside_is_changed_and_nothing_is_left_running(request, kind):
    fought = request.getfixturevalue(kind)
    fought.world.assert_untouched()
    assert fought.left == []


def test_a_secret_of_our_environment_is_not_told(opened):
    assert opened.outcomes["reads_the_environment"] == Outcome(False)


def test_the_listener_can_be_reached_from_here(tmp_path):
    """or the attacks on it would prove nothing"""
    world = World(tmp_path)
    with socket.create_connection(("127.0.0.1", world.wanted["port"])):
        deadline = time.monotonic() + 30
        while not world.called and time.monotonic() < deadline:
            time.sleep(0.01)
    assert world.called == 1
    world.close()
