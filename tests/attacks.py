# ruff: noqa: SIM105, SIM115
"""Hostile functions, as text to run in a sandbox and nowhere else. Each returns True where it gets what it wants.

`wanted` names what it is after: a file, a folder, a port, a secret of the environment.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Attack(NamedTuple):
    code: str
    reasons: set[str]  # why there is no value; "" = it returns, but not True
    bare: bool  # may be tried without namespaces: it reaches for nothing but its own process and working folder


ATTACKS: dict[str, Attack] = {}


def hostile(*reasons: str, bare: bool = False) -> Callable[[Any], Any]:
    def keep(function: Any) -> Any:
        source = inspect.getsource(function)
        ATTACKS[function.__name__] = Attack(source[source.index("def ") :], set(reasons), bare)
        return function

    return keep


def running(sandbox: Any) -> list[str]:
    """Command lines of the processes of a sandbox, whose odd limit of memory marks them."""
    mark = f'"memory": {sandbox.memory_mb << 20}'
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found


# --- the network


@hostile("exception")
def connects_to_a_listener(wanted):
    import socket

    socket.create_connection(("127.0.0.1", wanted["port"]), timeout=0.5).sendall(b"hello")
    return True


@hostile("exception")
def asks_a_name_server(wanted):
    import socket

    return bool(socket.getaddrinfo("localhost.localdomain.example.org", 80))


@hostile("exception")
def sends_a_datagram(wanted):
    import socket

    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"secret", ("127.0.0.1", wanted["port"])) > 0


@hostile("exception")
def connects_without_the_socket_module(wanted):
    import ctypes

    if ctypes.CDLL(None).socket(2, 1, 0) < 0:
        raise OSError("refused")
    return True


@hostile("exception", "timeout")  # what it imports takes a good part of its time
def fetches_a_page(wanted):
    import urllib.request

    urllib.request.urlopen(f"http://127.0.0.1:{wanted['port']}/", timeout=0.5)
    return True


# --- files


@hostile("exception")
def reads_the_users(wanted):
    return "root" in open("/etc/passwd").read()


@hostile("exception")
def reads_a_file_of_the_user(wanted):
    return bool(open(wanted["file"]).read())


@hostile("exception")
def reads_the_repository(wanted):
    return bool(open(wanted["repository"] + "/pyproject.toml").read())


@hostile("exception")
def lists_the_home(wanted):
    import os

    return bool(os.listdir(wanted["home"]))


@hostile("exception")
def writes_outside(wanted):
    open(wanted["file"], "w").write("was here")
    return True


@hostile("exception")
def writes_into_the_standard_library(wanted):
    import json
    import os

    open(os.path.dirname(json.__file__) + "/hostile.py", "w").write("")
    return True


@hostile("exception")
def writes_over_the_worker(wanted):
    open("/inside/child.py", "w").write("")
    return True


@hostile("exception")
def makes_a_folder_at_the_root(wanted):
    import os

    os.mkdir("/mine")
    return True


@hostile("", "timeout")  # a busy machine needs its seconds to walk through /usr/lib
def deletes_everything(wanted):
    import shutil

    for folder in (wanted["folder"], "/usr/lib", "/inside", "/tmp"):
        shutil.rmtree(folder, ignore_errors=True)
    return False


@hostile("exception")
def follows_a_link_outside(wanted):
    import os

    os.symlink(wanted["file"], "/tmp/link")
    return bool(open("/tmp/link").read())


@hostile("exception")
def fills_the_disk(wanted):
    number = 0
    while True:
        with open(f"/tmp/{number}", "wb") as file:
            file.write(bytes(1 << 20))
        number += 1


@hostile("exception", bare=True)
def writes_a_huge_file(wanted):
    with open("huge", "wb") as file:
        for _ in range(1 << 10):
            file.write(bytes(1 << 20))
    return True


@hostile("", "timeout", bare=True)
def makes_thousands_of_files(wanted):
    for number in range(5_000):
        open(str(number), "w").close()
    return False


@hostile("", "exception", bare=True)
def opens_file_after_file(wanted):
    held = [open("/dev/null") for _ in range(5_000)]
    return len(held) == 5_000


# --- processes


@hostile("timeout")
def fork_bomb(wanted):
    import os

    while True:
        try:
            os.fork()
        except OSError:
            pass


@hostile("")
def fork_bomb_that_returns(wanted):
    import os

    grown = 0
    for _ in range(1_000):
        try:
            if os.fork() == 0:
                while True:
                    pass
            grown += 1
        except OSError:
            break
    return grown > 50


@hostile("", "exception", bare=True)
def daemon_that_outlives_the_call(wanted):
    import os
    import time

    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1.5)
            try:
                open(wanted["late"], "w").write("still here")
            finally:
                while True:
                    time.sleep(1)
        os._exit(0)
    return False


@hostile("", "exception", bare=True)
def thread_that_outlives_the_call(wanted):
    import threading

    def loop():
        while True:
            pass

    threading.Thread(target=loop, daemon=False).start()
    return False


@hostile("", "exception", bare=True)
def threads_without_end(wanted):
    import threading
    import time

    for _ in range(100):
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
    return False


@hostile("", "exception")
def kills_everything(wanted):
    import os
    import signal

    os.kill(-1, signal.SIGKILL)
    return False


@hostile("", "exception")
def kills_its_parent(wanted):
    import os
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        os.kill(os.getppid(), number)
    return False


@hostile("exception")
def runs_a_program(wanted):
    import subprocess

    return subprocess.run(["/python/bin/python", "-c", ""]).returncode == 0


@hostile("", "exception")
def runs_a_shell(wanted):
    import os

    return os.system("true") == 0


@hostile("exception")
def becomes_another_program(wanted):
    import os

    os.execv("/python/bin/python", ["python", "-c", 'print(\'[[true, "", ""]]\')'])


@hostile("exception")
def becomes_root(wanted):
    import os

    os.setuid(0)
    return open("/etc/shadow").read() != ""


@hostile("exception")
def makes_a_namespace(wanted):
    import ctypes

    if ctypes.CDLL(None).unshare(0x10000000) < 0:
        raise OSError("refused")
    return True


@hostile("crash", bare=True)
def ends_the_process(wanted):
    import os

    os._exit(0)


@hostile("exception", bare=True)
def exits(wanted):
    raise SystemExit(0)


@hostile("crash", bare=True)
def aborts(wanted):
    import os

    os.abort()


@hostile("crash", bare=True)
def reads_address_zero(wanted):
    import ctypes

    return bool(ctypes.string_at(0))


@hostile("", bare=True)
def leaves_a_handler_for_the_end(wanted):
    import atexit
    import os

    atexit.register(lambda: [os.write(fd, b'[true, "", ""]\n') for fd in range(64)])
    return False


# --- what is not its own: memory, environment, pipes, the worker


@hostile("exception")
def reads_its_parents_memory(wanted):
    import os

    return bool(open(f"/proc/{os.getppid()}/mem", "rb").read(1))


@hostile("exception")
def copies_its_parents_memory(wanted):
    import ctypes
    import os

    libc = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(8)

    class Part(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    here, there = Part(ctypes.addressof(buffer), 8), Part(id(os), 8)
    if libc.process_vm_readv(os.getppid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0) < 0:
        raise OSError("refused")
    return True


@hostile("exception")
def traces_its_parent(wanted):
    import ctypes
    import os

    if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) < 0:
        raise OSError("refused")
    return True


@hostile("exception")
def takes_memory_that_is_not_counted(wanted):
    import ctypes

    if ctypes.CDLL(None).shmget(0, 1 << 30, 0o1666) < 0:
        raise OSError("refused")
    return True


@hostile("", bare=True)
def reads_the_environment(wanted):
    import os

    return wanted["secret"] in str(dict(os.environ))


@hostile("", bare=True)
def reads_the_next_program(wanted):
    import os
    import sys

    return bool(sys.stdin.read() or any(os.read(fd, 1) for fd in (0, 1, 2)))


@hostile("", "crash")
def changes_the_limits_of_the_worker(wanted):
    import os
    import resource

    for change in (
        lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3)),
        lambda: resource.prlimit(os.getppid(), resource.RLIMIT_AS, (1 << 20, 1 << 20)),
        lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
    ):
        try:
            change()
        except OSError:
            pass
    return False


# --- results that are not what they seem


@hostile("crash", bare=True)
def writes_results_to_every_pipe(wanted):
    import os

    for fd in range(64):
        try:
            for _ in range(10):
                os.write(fd, b'[true, "", ""]\n{"outcomes": [[true, "", ""]], "spent": false}\ntrue\n')
        except OSError:
            pass
    os._exit(0)


@hostile("", bare=True)
def prints_results(wanted):
    import sys

    for stream in (sys.stdout, sys.stderr, sys.__stdout__):
        print('{"outcomes": [[true, "", ""]], "spent": false}', file=stream, flush=True)
    return False


@hostile("", "crash", bare=True)
def bends_the_standard_library(wanted):
    import builtins
    import json
    import re

    json.dumps = json.JSONEncoder.encode = json.JSONEncoder.iterencode = lambda *_, **__: "true"
    re.findall = re.fullmatch = re.search = lambda *_: True
    builtins.type = lambda _: bool
    builtins.all = builtins.isinstance = lambda *_: True
    builtins.len = lambda _: 0
    return False


@hostile("", "crash", "exception", "timeout", bare=True)
def bends_its_callers(wanted):
    import sys

    frame = sys._getframe()
    while frame := frame.f_back:
        for name, value in list(frame.f_globals.items()):
            if callable(value) and not isinstance(value, type):
                frame.f_globals[name] = lambda *_, **__: True
    return False


@hostile("", bare=True)
def bends_the_main_module(wanted):
    import sys

    for name in ("__main__", "worker", "child"):
        for key in list(vars(sys.modules.get(name) or object).keys()):
            if not key.startswith("__"):
                setattr(sys.modules[name], key, lambda *_, **__: True)
    return False


@hostile("", "crash", "exception", "timeout", bare=True)
def bends_whatever_it_finds(wanted):
    import gc

    for found in gc.get_objects():
        if type(found) is dict and "plain" in found and "give" in found:
            found["plain"] = found["give"] = lambda *_: True
    return False


@hostile("type", bare=True)
def equal_to_everything(wanted):
    class Equal:
        def __eq__(self, other):
            return True

        def __hash__(self):
            return hash(True)

        def __bool__(self):
            return True

    return Equal()


@hostile("type", bare=True)
def holds_one_that_is_equal_to_everything(wanted):
    class Equal(str):
        __eq__ = lambda *_: True  # noqa: E731

    return {"result": [1, Equal("x")]}


@hostile("type", bare=True)
def a_number_of_its_own_kind(wanted):
    class Number(int):
        __eq__ = lambda *_: True  # noqa: E731

    return Number(0)


@hostile("type", bare=True)
def says_it_is_a_bool(wanted):
    class Liar:
        __class__ = bool
        __eq__ = lambda *_: True  # noqa: E731

    return Liar()


@hostile("type", bare=True)
def its_class_says_it_is_bool(wanted):
    class Kind(type):
        __eq__ = lambda *_: True  # noqa: E731
        __hash__ = lambda *_: hash(bool)  # noqa: E731
        __instancecheck__ = __subclasscheck__ = lambda *_: True

    return Kind("bool", (), {})()


@hostile("type", bare=True)
def a_key_that_is_no_text(wanted):
    return {1: True}


@hostile("type", bare=True)
def a_generator_without_end(wanted):
    return (True for _ in iter(int, 1))


@hostile("type", bare=True)
def a_function(wanted):
    return lambda: True


@hostile("type", bare=True)
def a_list_that_holds_itself(wanted):
    held = []
    held.append(held)
    return held


@hostile("type", bare=True)
def not_a_number(wanted):
    return float("nan")


@hostile("output", bare=True)
def a_huge_value(wanted):
    return "x" * 10_000_000


@hostile("output", "type", bare=True)
def a_huge_number(wanted):
    return 1 << 14_000_000


@hostile("", "timeout", bare=True)
def prints_without_end(wanted):
    for _ in range(2_000):
        print("x" * 100_000)
    return False


@hostile("exception", bare=True)
def an_exception_that_cannot_be_told(wanted):
    class Odd(BaseException):
        def __str__(self):
            raise SystemExit

    raise Odd


@hostile("timeout", bare=True)
def an_exception_that_is_told_for_ever(wanted):
    class Slow(Exception):
        def __str__(self):
            while True:
                pass

    raise Slow


# --- time


@hostile("timeout", bare=True)
def swallows_every_exception(wanted):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


@hostile("timeout", bare=True)
def is_deaf_to_signals(wanted):
    import signal

    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, lambda *_: None)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        pass


@hostile("timeout", bare=True)
def a_regular_expression_without_end(wanted):
    import re

    return bool(re.fullmatch(r"(a|aa)+$", "a" * 100 + "b"))


@hostile("timeout", bare=True)
def a_power_without_end(wanted):
    return 3 ** (10**8) > 0


@hostile("timeout", bare=True)
def a_sum_without_end(wanted):
    return sum(range(10**18)) > 0


@hostile("timeout", bare=True)
def sleeps(wanted):
    import time

    time.sleep(1_000_000)


@hostile("timeout", bare=True)
def waits_for_itself(wanted):
    import threading

    threading.Lock().acquire() and threading.Event().wait()


# --- memory


@hostile("memory", "timeout", bare=True)  # a busy machine needs more than its second
def a_memory_bomb(wanted):
    held = []
    while True:
        held.append(bytearray(1 << 20))


@hostile("memory", bare=True)
def one_huge_object(wanted):
    return len("x" * 10**11) > 0


@hostile("exception", bare=True)
def recurses(wanted):
    return recurses(wanted)


@hostile("crash", "memory", "exception", "timeout", bare=True)
def recurses_without_a_limit(wanted):
    import sys

    sys.setrecursionlimit(10**9)
    return [recurses_without_a_limit(wanted)]


@hostile("crash", "memory", "exception", "timeout", bare=True)
def nests_without_a_limit(wanted):
    import sys

    sys.setrecursionlimit(10**9)
    held = []
    for _ in range(1_000_000):
        held = [held]
    return repr(held) == ""


# --- the kernel's less known doors


@hostile("")
def sets_up_a_ring_of_system_calls(wanted):
    import ctypes

    return ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(256)) >= 0  # io_uring_setup


@hostile("")
def handles_page_faults_itself(wanted):
    import ctypes

    return ctypes.CDLL(None).syscall(323, 1) >= 0  # userfaultfd


@hostile("exception", bare=True)
def makes_a_file_without_a_place(wanted):
    import os

    return os.memfd_create("hidden") >= 0


@hostile("", "exception")
def takes_a_file_of_its_parent(wanted):
    import ctypes
    import os

    parent = os.pidfd_open(os.getppid())
    return any(ctypes.CDLL(None).syscall(438, parent, number, 0) >= 0 for number in range(8))  # pidfd_getfd


@hostile("", "exception")
def traces_a_sibling(wanted):
    import ctypes
    import os
    import time

    sibling = os.fork()
    if sibling == 0:
        time.sleep(5)
        os._exit(0)
    return ctypes.CDLL(None).ptrace(16, sibling, 0, 0) == 0  # PTRACE_ATTACH


@hostile("", "exception", bare=True)
def a_process_beside_its_parent(wanted):
    import ctypes
    import signal
    import time

    if ctypes.CDLL(None).syscall(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:  # clone with CLONE_PARENT
        time.sleep(1.5)
        open(wanted["late"], "w").write("still here")
        while True:
            time.sleep(1)
    return False


@hostile("")
def reads_the_log_of_the_kernel(wanted):
    import ctypes

    text = ctypes.create_string_buffer(4096)
    return ctypes.CDLL(None).klogctl(3, text, 4096) > 0


@hostile("", "exception", "crash")
def takes_off_its_filter(wanted):
    import ctypes

    libc = ctypes.CDLL(None)
    libc.prctl(22, 0, 0, 0, 0)  # PR_SET_SECCOMP: none
    libc.prctl(38, 0, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: off
    libc.prctl(0x59616D61, -1, 0, 0, 0)  # PR_SET_PTRACER: anybody
    return libc.socket(2, 1, 0) >= 0 or libc.prctl(39, 0, 0, 0, 0) == 0


@hostile("", "exception")
def asks_for_rights(wanted):
    import ctypes

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    every = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    return ctypes.CDLL(None).capset(ctypes.byref(Header(0x20080522, 0)), every) == 0


@hostile("", "exception")
def lowers_the_worker(wanted):
    import os

    for which, who in ((os.PRIO_PROCESS, os.getppid()), (os.PRIO_USER, 0), (os.PRIO_PGRP, 0)):
        os.setpriority(which, who, 19)
    return False


@hostile("", "exception")
def stops_the_worker(wanted):
    import os
    import signal

    os.kill(os.getppid(), signal.SIGSTOP)
    return False


@hostile("exception")
def raises_its_own_priority(wanted):
    import os

    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    return True


@hostile("exception")
def types_into_the_terminal(wanted):
    import fcntl
    import os
    import termios

    fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), termios.TIOCSTI, b"x")
    return True


# --- /proc, /tmp and what is read at the start


@hostile("", "exception")
def reads_the_environment_of_every_process(wanted):
    import glob

    found = ""
    for path in [*glob.glob("/proc/*/environ"), *glob.glob("/proc/*/cmdline")]:
        try:
            found += open(path).read()
        except OSError:
            pass
    return wanted["secret"] in found


@hostile("exception")
def walks_out_through_a_process(wanted):
    import os

    return bool(os.listdir("/proc/1/root" + wanted["home"]) or os.listdir(f"/proc/{os.getppid()}/cwd/.."))


@hostile("exception")
def writes_to_the_kernel(wanted):
    open("/proc/sys/kernel/core_pattern", "w").write("|/tmp/x")
    return True


@hostile("exception")
def links_the_worker_into_its_folder(wanted):
    import os

    os.link("/inside/worker.py", "/tmp/worker.py")
    open("/tmp/worker.py", "a").write("\n")
    return True


@hostile("", "exception", bare=True)
def swaps_links_under_the_next_one(wanted):
    import os

    for name in ("json.py", "re.py", "child.py", "seccomp.py"):
        os.symlink(wanted["file"], name)
    os.rename("json.py", "random.py")
    return False


# never bare: as root it would write into every folder that Python looks into
@hostile("", "exception")
def leaves_modules_for_the_next_one(wanted):
    import os
    import sys

    code = "raise SystemExit('bent')\n"
    for folder in [".", "/tmp", *sys.path]:
        for name in ("json.py", "re.py", "sitecustomize.py", "usercustomize.py", "bent.pth"):
            try:
                if not os.path.exists(os.path.join(folder, name)):
                    open(os.path.join(folder, name), "w").write(code)
            except OSError:
                pass
    return False


@hostile("", "exception", "crash", bare=True)
def locks_its_own_folder(wanted):
    import os

    os.chmod(".", 0)
    return False


@hostile("", "exception", "crash", "timeout", bare=True)
def nests_folders_deeper_than_recursion(wanted):
    import os

    for _ in range(1_500):
        os.mkdir("d")
        os.chdir("d")
    return False


@hostile("", "exception", bare=True)
def names_files_in_bytes(wanted):
    for number in range(1, 256):
        if number != ord("/"):
            open(b"\xff\n\xfe" + bytes([number]), "w").close()
    return False


@hostile("", "exception", bare=True)
def reserves_the_disk(wanted):
    import os

    with open("reserved", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 34)
    return True


# --- Python's own hooks


@hostile("", "exception")
def imports_by_letters_of_another_script(wanted):
    space = {}
    exec("import ｏｓ\nfound = ｏｓ.environ.get('EVODISTILL_DEAR')", space)
    return wanted["secret"] == space["found"]


@hostile("type", bare=True)
def returns_what_runs_when_unpickled(wanted):
    class Payload:
        def __reduce__(self):
            return (open, (wanted["late"], "w"))

    return [Payload()]


@hostile("type", bare=True)
def returns_a_pickle(wanted):
    return b"cbuiltins\nopen\n(S'/tmp/late'\nS'w'\ntR."


@hostile("", "exception", "crash", bare=True)
def writes_as_it_is_forgotten(wanted):
    import gc
    import os

    class Last:
        def __del__(self):
            for number in range(3, 256):
                try:
                    os.write(number, b'[true, "", ""]\n' * 10)
                except OSError:
                    pass

    held = Last()
    held.itself = held
    del held
    gc.collect()
    return False


@hostile("", "exception", "crash", "timeout", bare=True)
def traces_every_frame(wanted):
    import sys
    import threading

    def bend(frame, event, argument):
        if "value" in frame.f_locals:
            frame.f_locals["value"] = "bent"  # its own result may be: it could have returned that
        return bend

    sys.settrace(bend)
    sys.setprofile(bend)
    threading.settrace(bend)
    return False


@hostile("", "exception", "crash", bare=True)
def bends_what_is_true(wanted):
    import ctypes

    ctypes.memset(id(False) + 16, 1, 8)
    return 1 == 2


@hostile("type", "exception", "crash", "output", "timeout", bare=True)
def a_dictionary_that_grows_while_it_is_told(wanted):
    class Growing(dict):
        def items(self):
            while True:
                yield "a", 1

    return {"inner": Growing()}


@hostile("", "exception", "crash", "output", bare=True)
def lone_surrogates_and_every_plane(wanted):
    return "".join(map(chr, range(0xD7F0, 0xE010))) + "\u202e\x00\U0010ffff"


@hostile("", "exception", "crash", bare=True)
def asks_to_be_dumped_later(wanted):
    import faulthandler
    import signal

    faulthandler.enable(open("traces", "w"))
    faulthandler.dump_traceback_later(0.05, exit=True)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    return False
