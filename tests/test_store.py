import errno
import json
import os
import subprocess
import sys
import time

import pytest

from evodistill import RunError
from evodistill.store import Store, write_lines


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "artifacts")


def test_the_folder_follows_from_everything_the_step_depends_on(store):
    folder = store.folder("evolution", {"config": {"rounds": 2}, "input": "x"})
    assert folder == store.folder("evolution", {"input": "x", "config": {"rounds": 2}})
    assert folder != store.folder("evolution", {"config": {"rounds": 3}, "input": "x"})
    assert folder.name.startswith("evolution-")


def test_a_manifest_means_done(store):
    folder = store.folder("a", {})
    assert store.manifest(folder) is None
    store.write(folder, {"records.jsonl": iter(["one\n", "two\n"])}, {"step": "a"})
    manifest = store.manifest(folder)
    assert manifest and manifest["files"]["records.jsonl"]["bytes"] == 8
    assert (folder / "records.jsonl").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("damage", ["missing", "cut", "manifest"])
def test_a_manifest_without_its_data_is_not_done(store, damage, caplog):
    folder = store.folder("a", {})
    store.write(folder, {"records.jsonl": ["one\n"]}, {})
    if damage == "missing":
        (folder / "records.jsonl").unlink()
    elif damage == "cut":
        (folder / "records.jsonl").write_text("o")
    else:
        (folder / "manifest.json").write_text('{"files": {')
    assert store.manifest(folder) is None
    assert "done again" in caplog.text


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def lines():
        yield "one\n"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match="No space left on device; free the disk"):
        write_lines(tmp_path / "records.jsonl", lines())
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_whole_until_the_new_one_is(tmp_path):
    path = tmp_path / "a.json"
    write_lines(path, ["old"])
    with pytest.raises(ZeroDivisionError):
        write_lines(path, (str(1 / number) for number in (1, 0)))
    assert path.read_text() == "old"


HOLDER = """
import sys, time
from pathlib import Path
from evodistill.store import Store
store = Store(Path(sys.argv[1]))
with store.lock(store.folder("a", {})):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_job_waits_and_the_lock_of_a_killed_one_is_free(store):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    taker = subprocess.Popen([sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE, text=True)
    time.sleep(1.0)
    assert taker.poll() is None
    holder.kill()
    assert taker.stdout and taker.stdout.readline() == "held\n"
    taker.kill()
    holder.wait(), taker.wait()


def test_temp_files_of_a_killed_process_are_cleaned(store):
    folder = store.folder("a", {})
    folder.mkdir()
    (folder / ".records.jsonl.123.tmp").write_text("half")
    with store.lock(folder):
        pass
    assert list(folder.iterdir()) == []


def test_the_manifest_says_what_the_artifact_was_made_of(store):
    folder = store.folder("a", {"x": 1})
    store.write(folder, {}, {"step": "a", "key": {"x": 1}})
    assert json.loads((folder / "manifest.json").read_text())["key"] == {"x": 1}
