"""Which modules generated code may import unasked: those of the standard library that calculate.

Left out is what is made to reach files (os, pathlib, shutil, sqlite3), the network (socket, http, asyncio), processes
(subprocess, multiprocessing, signal), screens (tkinter, curses) or the interpreter's own parts (ctypes, gc, importlib).
The list keeps honest code honest. What holds hostile code is the process around it: modules that are on the list have
others as their attributes.
"""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

ANY = "*"  # in `allow`: no list at all

COMMON = (  # loaded before any program comes
    *("__future__", "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "collections"),
    *("contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools"),
    *("hashlib", "heapq", "html", "io", "ipaddress", "itertools", "json", "keyword", "math", "numbers", "operator"),
    *("pprint", "random", "re", "statistics", "string", "struct", "textwrap", "time", "timeit", "traceback", "types"),
    *("typing", "unicodedata", "urllib.parse", "uuid", "warnings", "xml.etree.ElementTree", "zlib", "zoneinfo"),
)
HARMLESS = (
    *COMMON,
    *("argparse", "bz2", "codecs", "colorsys", "configparser", "contextvars", "copyreg", "dis", "doctest", "email"),
    *("errno", "fnmatch", "getopt", "gettext", "graphlib", "gzip", "hmac", "inspect", "locale"),
    *("logging", "lzma", "optparse", "pickle", "pickletools", "plistlib", "posixpath", "queue", "quopri", "reprlib"),
    *("sched", "secrets", "shlex", "stringprep", "sys", "threading", "token", "tokenize", "tomllib", "unittest"),
    *("weakref", "xml"),
)


def foreign(allow: Iterable[str]) -> list[Path]:
    """The folders (site-packages) that hold the allowed modules which the standard library lacks. ValueError where
    one is not installed."""
    folders: list[Path] = []
    for name in allow:
        top = name.split(".")[0]
        if top == ANY or top in sys.stdlib_module_names:
            continue
        found = importlib.util.find_spec(top)
        if found is None or not found.origin:
            raise ValueError(f"allow names {name!r}, which is not installed")
        file = Path(found.origin)
        folder = file.parent.parent if found.submodule_search_locations else file.parent
        if folder not in folders:
            folders.append(folder)
    return folders
