"""The worker inside the sandbox: forks a child per program, limits it, ends it, and passes on what it returned.

Started by its path with the standard library alone; it knows nothing of evodistill. One JSON line in is a program, one
JSON line out its outcomes. Generated code runs in the child only (child.py). The child has no way to the worker's own
pipes, and its memory and its processes go when its program is done.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import secrets
import select
import signal
import sys
import time
from pathlib import Path

import seccomp  # type: ignore[import-not-found]  # beside this file, which is started by its path
from child import DETAIL, serve  # type: ignore[import-not-found]

READY_S = 10.0  # until a child has limited itself: our own code, on a busy machine
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


def main() -> None:
    settings = json.loads(sys.argv[1])
    harden(settings.get("uid"))
    sys.path += settings.get("path", [])
    for name in settings["preload"]:
        importlib.import_module(name)  # once here, not once a program
    gc.collect()
    gc.freeze()
    before = state()
    answer("ready")
    while line := sys.stdin.buffer.readline():
        program = json.loads(line)
        outcomes = run(program["code"], program["function"], program["calls"], settings)
        answer({"outcomes": outcomes, "spent": state() != before})


def answer(value: object) -> None:
    line = memoryview(json.dumps(value).encode() + b"\n")
    while line:
        line = line[os.write(1, line) :]


def harden(uid: int | None) -> None:
    """Give up rights, take over orphans, and let no child read or write this process's memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if uid is not None:  # from root to a user of no other process: root is not bound by a limit of processes
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    options = [(PR_SET_DUMPABLE, 0), (PR_SET_CHILD_SUBREAPER, 1), (PR_SET_NO_NEW_PRIVS, 1)]
    if os.getpid() == 1:
        options.append((PR_SET_PDEATHSIG, signal.SIGKILL))  # what bwrap sets is lost with a change of user
    for option, value in options:
        if libc.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    seccomp.install(libc)


def state() -> object:
    """What a program might have changed for the next one. A worker that is not as it was is replaced."""
    limits = [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if name[:7] == "RLIMIT_"]
    return limits, os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0)), os.listdir(".")


def run(code: str, function: str, calls: list, settings: dict) -> list[list]:
    """[value, reason, detail] per call. A call that hangs or kills its process costs itself; the calls after it go on
    in a new process until the program's time is up."""
    done: list[list] = []
    ends = time.monotonic() + settings["program_seconds"]
    while len(done) < len(calls):
        if time.monotonic() >= ends:
            rest = [None, "timeout", f"the program's {settings['program_seconds']} s were used up before"]
            return done + [rest] * (len(calls) - len(done))
        defined, outcomes = attempt(code, function, calls[len(done) :], settings, ends)
        if defined[1]:
            return done + [defined] * (len(calls) - len(done))
        done += outcomes
    return done


def attempt(code: str, function: str, calls: list, settings: dict, ends: float) -> tuple[list, list[list]]:
    """(outcome of the definitions, outcomes of the calls up to the first that ended the process) of one child."""
    # a line without this key was not written by our half of the child
    key = secrets.token_hex(16).encode()
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            serve(code, function, calls, settings, key, sink)
        finally:
            os._exit(1)  # no handler of a program runs at exit, no exception goes up into the worker's loop
    os.close(sink)
    lines = Lines(source, os.pidfd_open(pid), key, settings["output"] + 2 * DETAIL * 6 + 256)
    try:
        if (first := lines.next(time.monotonic() + READY_S)) != [None, "", "limited"]:
            raise RuntimeError(f"a child could not be limited: {first}")
        found: list[list] = []
        while len(found) <= len(calls):
            found.append(lines.next(min(ends, time.monotonic() + settings["call_seconds"])))
            if found[-1][1] in ENDED or (len(found) == 1 and found[0][1]):
                break
    finally:
        lines.close()
        status = end(pid)
    if found[-1][1] == "crash" and not found[-1][2]:
        found[-1] = died(status)
    return found[0], found[1:]


ENDED = ("timeout", "crash", "output")


class Lines:
    """What a child says, read with a deadline and a limit of length."""

    def __init__(self, pipe: int, ended: int, key: bytes, limit: int) -> None:
        self.pipe, self.ended, self.key, self.limit = pipe, ended, key, limit
        self.got = bytearray()
        os.set_blocking(pipe, False)

    def next(self, ends: float) -> list:
        """The next outcome; its reason is `timeout`, `output` or `crash` (with the detail left to the caller) where
        the child gave none."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        poll.register(self.ended, select.POLLIN)
        poll.register(0, 0)  # nothing but the end of it
        while (at := self.got.find(b"\n")) < 0:
            if len(self.got) > self.limit:
                return [None, "output", f"more than {self.limit} bytes"]
            ready = poll.poll(max(0.0, ends - time.monotonic()) * 1000)
            if not ready:
                return [None, "timeout", "it did not end in time"]
            if (0, select.POLLHUP) in ready:
                sys.exit()  # nobody waits for the outcome any more
            try:
                part = os.read(self.pipe, 1 << 16)
            except BlockingIOError:
                part = b""
            # nothing to read: the child has ended. A daemon of its may hold the pipe open, so its end is no sign
            if not part:
                return [None, "crash", ""]
            self.got += part
        line = bytes(self.got[:at])
        del self.got[: at + 1]
        return self.outcome(line)

    def outcome(self, line: bytes) -> list:
        if not line.startswith(self.key):
            return [None, "crash", "it wrote to the channel of results"]
        try:
            value, reason, detail = json.loads(line[len(self.key) :])
        except (ValueError, TypeError, RecursionError):
            return [None, "crash", "it wrote to the channel of results"]
        return [value, str(reason), str(detail)]

    def close(self) -> None:
        os.close(self.pipe)
        os.close(self.ended)


def end(pid: int) -> int:
    """Kill a child and all that it started; its exit status."""
    # not reaped before: the number cannot belong to another process
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if os.getpid() == 1:  # the first process of a namespace: everything else in it goes at once, no fork can slip by
        try:
            os.kill(-1, signal.SIGKILL)
            while True:
                os.waitpid(-1, 0)
        except (ProcessLookupError, ChildProcessError):
            return status
    # no namespace: orphans become our children, so all that is left of the program comes up here, one layer at a time
    while left := Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        for other in map(int, left):
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
    return status


def died(status: int) -> list:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return [None, "timeout", "its processor time was used up"]
        return [None, "crash", signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"]
    return [None, "crash", f"exit code {os.WEXITSTATUS(status)}"]


if __name__ == "__main__":
    main()
