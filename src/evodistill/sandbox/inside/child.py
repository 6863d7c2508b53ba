"""The child: one process that runs one program, with no more than its limits allow, and tells what came of each call.

Generated code lives in this process and can do here what it likes. So nothing that it could change here is trusted
beyond it: the worker reads what it tells as text, with a deadline, and looks at nothing else.
"""

import ast
import builtins
import json
import os
import random
import resource
import sys
import types
from collections.abc import Callable
from typing import Any

SCALARS = (bool, int, float, str, type(None))
DEEP = 100  # nesting of a returned value
DETAIL = 200  # characters of what is said of a failure
NAME = "program"  # of the module that generated code believes to be
RLIMIT_MSGQUEUE = 12  # on Linux; `resource` does not name it
encode = json.JSONEncoder(allow_nan=False).encode  # taken now: generated code may bend the module later


def serve(code: str, function: str, calls: list, settings: dict, key: bytes, sink: int) -> None:
    """Everything from here on happens in the child, which generated code may do with what it can."""

    def tell(value: object, reason: str = "", detail: str = "") -> None:
        line = memoryview(key + encode([value, reason, detail[:DETAIL]]).encode() + b"\n")
        while line:
            line = line[os.write(sink, line) :]

    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, sink)
    os.closerange(sink + 1, 1024)
    try:
        limit(settings)
    except (OSError, ValueError) as error:
        return tell(None, "crash", told(error))
    random.seed(0)  # the same draws in every run
    for ours in ("child", "seccomp"):
        sys.modules.pop(ours, None)
    tell(None, "", "limited")
    try:
        called = define(code, function, settings["allow"])
    except Refused as refused:
        return tell(None, *refused.args)
    except MemoryError:
        return tell(None, "memory")
    except NotAllowed as error:
        return tell(None, "import", told(error))
    except BaseException as error:
        return tell(None, "exception", told(error))
    tell(None)
    for arguments in calls:
        try:
            value = called(*arguments)
        except MemoryError:
            tell(None, "memory")
        except NotAllowed as error:
            tell(None, "import", told(error))
        except BaseException as error:  # also SystemExit: what it ends is the call
            tell(None, "exception", told(error))
        else:
            give(tell, value, settings["output"])
    os._exit(0)


def limit(settings: dict) -> None:
    seconds = int(settings["program_seconds"]) + 1
    for name, most in (
        ("AS", settings["memory"]),
        ("CPU", seconds),
        ("FSIZE", settings["file_size"]),
        ("NOFILE", 32),
        ("NPROC", settings["processes"] + 1),  # the worker counts as one
        ("CORE", 0),
        ("MEMLOCK", 0),
    ):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    resource.setrlimit(RLIMIT_MSGQUEUE, (0, 0))


class Refused(Exception):
    """(reason, detail): code that is not run."""


class NotAllowed(ImportError):
    """Of a module that is not on the list."""


def define(code: str, function: str, allow: list[str] | None) -> Callable[..., Any]:
    """Run the definitions in one fresh module, so that imports, constants and helpers are seen by the function
    (AI9)."""
    try:
        compiled = compile(ast.parse(code), f"<{NAME}>", "exec")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise Refused("syntax", told(error)) from None
    # a copy of the builtins: what a program changes there, our half of the child does not see
    copied = types.ModuleType("builtins")
    copied.__dict__.update(builtins.__dict__)
    if allow is not None:
        copied.__dict__["__import__"] = guard(allow)
    module = types.ModuleType(NAME)
    module.__dict__["__builtins__"] = copied.__dict__
    sys.modules.update({NAME: module, "__main__": module, "builtins": copied})
    exec(compiled, module.__dict__)
    found = module.__dict__.get(function)
    if not callable(found):
        raise Refused("missing", f"it defines no function {function}")
    return found


def allowed(name: str, allow: list[str]) -> bool:
    """Is this module, or one that it lies in, on the list?"""
    parts = name.split(".")
    return any(".".join(parts[:count]) in allow for count in range(1, len(parts) + 1))


def guard(allow: list[str]) -> Callable[..., Any]:
    """The import function of generated code. It refuses as an import fails, when it is carried out: correct programs
    try one module and take another, or import for a part that is not run."""
    real = builtins.__import__

    def importing(name, globals=None, locals=None, fromlist=(), level=0):
        for wanted in [f"{'.' * level}{name}.{item}" for item in fromlist or ()] or [name]:
            if level or type(name) is not str or not allowed(wanted, allow):
                raise NotAllowed(f"{wanted} is not allowed")
        return real(name, globals, locals, fromlist, level)

    return importing


def give(tell: Callable[..., None], value: object, most: int) -> None:
    """Tell a returned value, if it is of exactly the types that JSON has: an object with an `__eq__` of its own, or a
    subclass of bool, would be compared by rules that the generated code has made."""
    try:
        if not plain(value):
            return tell(None, "type", f"returned {type(value).__name__}, or holds what is no JSON value")
        line = encode(value)
    except ValueError as error:
        return tell(None, "type", told(error))
    except MemoryError:
        return tell(None, "memory")
    if len(line) > most:
        return tell(None, "output", f"{len(line)} characters, {most} allowed")
    tell(value)


def plain(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if any(kind is scalar for scalar in SCALARS):  # `in` would ask a metaclass
        return True
    if depth > DEEP:
        return False
    if kind is list:
        return all(plain(item, depth + 1) for item in value)
    if kind is dict:
        return all(type(key) is str and plain(item, depth + 1) for key, item in value.items())
    return False


def told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # its own __str__ is generated code too
        return "an exception that cannot be printed"
