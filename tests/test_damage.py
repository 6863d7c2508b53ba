"""What can happen to a disk, its files and the clock: a clear error or a repair, and nothing finished is lost."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from evodistill import RunError
from evodistill.backend.cache import Cache
from evodistill.pipeline import run
from evodistill.record import read_jsonl


@pytest.fixture
def go(cfg, tmp_path) -> Callable[..., Path]:
    """Run the smoke experiment on a few seeds; gives the run's folder."""
    numbers = count()

    def go(*overrides: str, artifacts: Path = tmp_path / "artifacts") -> Path:
        out = tmp_path / f"run-{next(numbers)}"
        run(cfg("+experiment=smoke", f"artifacts={artifacts}", "dataset.limit=6", "metric=[]", *overrides), out)
        return out

    return go


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def rows(out: Path) -> dict[str, dict]:
    return {row["step"]: row for row in read_jsonl(out / "steps.jsonl")}


def content(artifacts: Path) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in artifacts.glob("*/re*.jsonl")}


def test_a_read_only_disk_is_one_line_and_what_was_finished_is_found_again(go, small):
    go(artifacts=small / "artifacts")
    before = content(small / "artifacts")
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(RunError, match=r"small/artifacts.*fix the folder's rights"):
        go("respond.prompt=respond/brief", artifacts=small / "artifacts")
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    assert content(small / "artifacts") == before
    made = rows(go("respond.prompt=respond/brief", artifacts=small / "artifacts"))
    assert made["evolution"]["reused"] and not made["respond"]["reused"]


def test_a_cache_damaged_inside_is_one_line_and_finished_steps_do_without_it(go, tmp_path):
    go()
    file = tmp_path / "artifacts" / "requests.sqlite"
    data = file.read_bytes()
    file.write_bytes(data[:100] + b"\xa5" * (len(data) - 100))  # the header is whole
    with pytest.raises(RunError, match=r"requests.sqlite.* is damaged .*move it away"):
        go("respond.prompt=respond/brief")
    for part in tmp_path.glob("artifacts/requests.sqlite*"):
        part.rename(tmp_path / part.name)
    made = rows(go("respond.prompt=respond/brief"))
    assert made["evolution"]["reused"] and made["respond"]["requests"] > 0


def test_a_torn_log_of_the_cache_costs_what_was_not_yet_whole(tmp_path):
    cache = Cache(tmp_path / "requests.sqlite")
    for number in range(3):
        cache.put([(f"{number:032x}", b"value" * 50)])
    for part in tmp_path.glob("requests.sqlite*"):  # as a power cut leaves them: the log is not yet in the database
        shutil.copy(part, tmp_path / part.name.replace("requests", "torn"))
    log = tmp_path / "torn.sqlite-wal"
    log.write_bytes(log.read_bytes()[:-7])
    found = Cache(tmp_path / "torn.sqlite").get([f"{number:032x}" for number in range(3)])
    assert found == {f"{number:032x}": b"value" * 50 for number in range(2)}
    cache.close()


@pytest.mark.parametrize(
    ("name", "damage"), [("records.jsonl", "torn"), ("rejects.jsonl", "missing"), ("manifest.json", "other bytes")]
)
def test_a_step_whose_files_are_not_whole_is_done_again_out_of_the_cache(go, tmp_path, name, damage):
    folder = Path(rows(go())["evolution"]["path"])
    before = content(tmp_path / "artifacts")
    data = (folder / name).read_bytes()
    if damage == "torn":
        (folder / name).write_bytes(data[: len(data) * 2 // 3])
    elif damage == "missing":
        (folder / name).unlink()
    else:  # longer by one, so that the size tells
        (folder / name).write_bytes(b"\xff" + data)
    made = rows(go())["evolution"]
    assert not made["reused"] and made["requests"] == 0, "asked again though it was answered"
    assert content(tmp_path / "artifacts") == before


def test_a_file_changed_at_the_same_size_is_named_with_its_line(go):
    folder = Path(rows(go())["evolution"]["path"])
    data = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(data[:-3] + b"\xff" + data[-2:])
    with pytest.raises(RunError, match=r"records.jsonl:\d+: not JSON .*delete the folder"):
        go("respond.prompt=respond/brief")
    shutil.rmtree(folder)
    assert rows(go("respond.prompt=respond/brief"))["respond"]["out"] > 0
    assert (folder / "records.jsonl").read_bytes() == data


def test_a_cache_of_a_newer_version_stops_before_anything_is_asked_and_stays_as_it_was(go, tmp_path):
    go()
    file = tmp_path / "artifacts" / "requests.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version=99")
        n = db.execute("SELECT count(*) FROM results").fetchone()
    with pytest.raises(RunError, match="written by a newer evodistill"):
        go("respond.prompt=respond/brief")
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT count(*) FROM results").fetchone() == n
        db.execute("PRAGMA user_version=1")
    assert rows(go())["respond"]["reused"]


def test_a_clock_that_goes_backwards_changes_nothing(go, tmp_path, monkeypatch):
    go(artifacts=tmp_path / "forwards")
    now = count(time.time(), -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(now))
    monkeypatch.setattr(time, "strftime", lambda form, *given: f"1970-01-01T00:00:0{next(now) % 10:.0f}+0000")
    first = go(artifacts=tmp_path / "backwards")
    assert content(tmp_path / "backwards") == content(tmp_path / "forwards")
    assert all(row["seconds"] >= 0 for row in rows(first).values())
    assert all(row["reused"] for row in rows(go(artifacts=tmp_path / "backwards")).values())
