"""JSON as models write it: real newlines in strings, Python's True, trailing commas, invalid escapes."""

from __future__ import annotations

import ast
import json
import re

# JSON strings (the last may lack its end), and what stands between them and is Python, not JSON
TOKEN = re.compile(r'"(?:\\.|[^"\\])*+["\\]?|\bTrue\b|\bFalse\b|\bNone\b|,(?=\s*+[}\]])', re.S)
PYTHONISMS = {"True": "true", "False": "false", "None": "null", ",": ""}


def loads(text: str) -> object:
    """The value of a JSON text, if need be a mended one, or of a Python literal; None if it is neither."""
    text = text.strip()
    for attempt in (text, TOKEN.sub(mended, text)):
        try:
            return json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def mended(token: re.Match[str]) -> str:
    r"""Escapes that JSON does not know, \' and \s, are those of Python code in the string: their backslash stays."""
    if token[0] in PYTHONISMS:
        return PYTHONISMS[token[0]]
    return re.sub(r"\\(.)", lambda found: found[0] if found[1] in '\\"/bfnrtu' else "\\" + found[0], token[0])
