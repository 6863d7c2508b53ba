import subprocess
import sys
from pathlib import Path

import pytest

from evodistill import provenance


@pytest.fixture
def checkout(tmp_path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("x = 1\n")
    (tmp_path / "notes.md").write_text("one\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_a_checkout_is_named_by_its_commit(checkout):
    (told,) = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True
    ).stdout.split()
    (checkout / "notes.md").write_text("two\n")  # no code
    assert provenance.of_checkout(checkout) == {"commit": told, "dirty": False}


@pytest.mark.parametrize("file", ["code.py", "new.py"])
def test_changed_and_new_code_is_dirty(checkout, file):
    (checkout / "src" / file).write_text("x = 2\n")
    assert provenance.of_checkout(checkout)["dirty"] is True


@pytest.mark.parametrize("packed", [False, True])
def test_without_git_the_commit_is_read_and_nothing_is_said_of_changes(checkout, monkeypatch, packed):
    told = provenance.of_checkout(checkout)["commit"]
    if packed:
        subprocess.run(["git", "pack-refs", "--all"], cwd=checkout, check=True)
    monkeypatch.setenv("PATH", "")
    assert provenance.of_checkout(checkout) == {"commit": told, "dirty": None}


def test_an_installed_wheel_has_no_commit(checkout):
    """Also where it is installed below a checkout of something else"""
    (site := checkout / ".venv" / "lib").mkdir(parents=True)
    assert provenance.of_checkout(site) == {"commit": None, "dirty": None}


def test_packages_are_named_without_being_imported():
    code = "import sys; from evodistill import provenance as p; print(p.environment(), 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "'torch': '" in told and "'python': '3." in told and told.strip().endswith("False")
