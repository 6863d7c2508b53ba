"""The store: a finished step is found by the hash of everything that it depends on.

    artifacts/<step>-<hash>/{records.jsonl, rejects.jsonl, manifest.json}

Files are written whole: temp file in the same folder, `os.replace`, the manifest last. Its presence means done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.record import digest, to_json

log = logging.getLogger(__name__)

FORMAT = 2  # raise when the meaning of a stored file changes
TEMP = ".tmp"


class Store:
    """Finished steps under one folder, shared by all runs and all processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with named_errors(root):
            (root / ".locks").mkdir(parents=True, exist_ok=True)

    def folder(self, step: str, key: Mapping[str, Any]) -> Path:
        """Where the artifact of a step with these dependencies lies, finished or not."""
        return self.root / f"{step}-{digest([FORMAT, key])}"

    @staticmethod
    def manifest(folder: Path) -> dict[str, Any] | None:
        """The manifest of a finished artifact; None where there is none, or where its files are not what it says."""
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            sizes = {name: file["bytes"] for name, file in manifest["files"].items()}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):  # no text, no JSON, or of another shape
            log.warning("%s: manifest.json is damaged; the step is done again", folder)
            return None
        for name, size in sizes.items():
            path = folder / name
            if not path.exists() or path.stat().st_size != size:
                log.warning(
                    "%s: %s is missing or has another size than its manifest says; the step is done again", folder, name
                )
                return None
        return manifest

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Hold the artifact: a second job that needs it waits here, then finds it done. The system frees the lock of a
        process that dies."""
        with named_errors(self.root):
            file = (self.root / ".locks" / folder.name).open("w")
        with file:
            with named_errors(self.root):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    log.info("%s is being made by another job: waiting for it", folder.name)
                    fcntl.flock(file, fcntl.LOCK_EX)
                clean(folder)
            yield

    def write(
        self, folder: Path, files: Mapping[str, Iterable[str] | Path], manifest: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write the files (a path is of one that is there), then the manifest with their sizes and hashes."""
        with named_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            written = {
                name: described(given) if isinstance(given, Path) else write_lines(folder / name, given)
                for name, given in files.items()
            }
            whole = {**manifest, "files": written, "written": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            write_text(folder / "manifest.json", to_json(whole, indent=1) + "\n")
        return whole


def clean(folder: Path) -> None:
    """Remove what a process that was killed while it wrote left in a folder that nobody else writes to now."""
    for stale in folder.rglob(f".*{TEMP}"):
        stale.unlink(missing_ok=True)


def described(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file that is there."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def write_lines(path: Path, lines: Iterable[str]) -> dict[str, Any]:
    """Write a file whole; gives its size and SHA-256."""
    temp = path.with_name(f".{path.name}.{os.getpid()}{TEMP}")
    sha, size = hashlib.sha256(), 0
    with named_errors(path):
        try:
            with temp.open("wb") as file:
                for line in lines:
                    data = line.encode("utf-8")
                    file.write(data)
                    sha.update(data)
                    size += len(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)
    return {"bytes": size, "sha256": sha.hexdigest()}


def write_text(path: Path, text: str) -> None:
    """Write a small file whole."""
    write_lines(path, [text])


def write_json(path: Path, value: Any) -> None:
    write_text(path, to_json(value, indent=1) + "\n")


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """A full disk or a read-only folder, as one line with the cure."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{error.filename or path}: {error.strerror}; free the disk or fix the folder's rights, "
            "then run the same command again: finished requests are kept"
        ) from None


def main() -> None:
    import argparse

    from evodistill.merge import merge

    parser = argparse.ArgumentParser(prog="python -m evodistill.store", description="What can be done with a store.")
    one = parser.add_subparsers(required=True).add_parser("merge", help="the shards of a run as one artifact a step")
    one.add_argument("runs", type=Path, nargs="+", help="folders of jobs that ran with dataset.shard, or above them")
    one.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="the store that is merged into")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for folder in merge(given.runs, given.artifacts):
            print(folder)
    except RunError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
