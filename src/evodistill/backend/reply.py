"""What the reply of an OpenAI-compatible server means: a completion, a reason to ask again, or a reason to stop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evodistill.backend import Completion
from evodistill.backend.throttle import retry_after

ONE_REQUEST = (400, 413, 422)  # this chat is at fault (too long, refused by a filter), others may pass
SPENT = ("insufficient_quota", "billing_hard_limit_reached")  # OpenAI sends these as 429; no waiting helps


@dataclass(frozen=True, slots=True)
class Again:
    """An attempt that failed in a way that may pass."""

    reason: str
    after: float | None = None  # seconds that the server asks to wait
    unreachable: bool = False  # nobody listens there
    busy: bool = False  # it has more requests than it takes


@dataclass(frozen=True, slots=True)
class Stop:
    """An attempt that failed in a way in which every other one would fail too."""

    status: int
    reason: str


def read(
    status: int, headers: Mapping[str, str], body: bytes, top: int
) -> tuple[Completion | Again | Stop, tuple[int, int] | None]:
    """(what the reply means, (prompt, completion) tokens that it says were billed).

    `top`: how many alternatives per position were asked for."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        reply = None
    billed = usage(reply)
    if status == 200:
        return completion(reply, billed or (0, 0), top), billed
    reason = f"HTTP {status}: {message(reply, body)}"
    if status in ONE_REQUEST:
        return failed(reason, billed), billed
    if status in (408, 429) or status >= 500:
        if isinstance(reply, dict) and isinstance(error := reply.get("error"), dict) and error.get("code") in SPENT:
            return Stop(402, reason), billed
        return Again(reason, retry_after(headers.get("retry-after"), time.time()), busy=status == 429), billed
    return Stop(status, reason), billed


def completion(reply: Any, billed: tuple[int, int], top: int) -> Completion | Again:
    """The answer in a reply of status 200. A broken format may pass, what follows from the prompt will not."""
    if not isinstance(reply, dict):
        return Again("the reply is no JSON object")
    try:
        choice = reply["choices"][0]
        text, reason = choice["message"].get("content"), choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Again(f"the reply holds no choices: {message(reply, b'')}")
    if reason not in ("stop", "length"):
        return failed(f"finish_reason {reason!r}", billed)
    if refusal := choice["message"].get("refusal"):
        return failed(f"refused: {refusal}", billed)
    if text is None and reason == "length":  # a reasoning model; the same seed would end there again
        return failed("no answer within max_tokens, all went into reasoning: raise sampling.max_tokens", billed)
    if not isinstance(text, str):
        return Again(f"the content is {type(text).__name__}, not text")
    if not top:
        return Completion(text, reason, *billed)
    try:
        chosen = tuple(alternatives(position, top) for position in (choice.get("logprobs") or {})["content"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return failed(
            "the server gave no log-probabilities, or no numbers: set sampling.logprobs=0, or allow them in the server",
            billed,
        )
    return Completion(text, reason, *billed, logprobs=chosen)


def alternatives(position: Mapping[str, Any], top: int) -> tuple[tuple[str, float], ...]:
    """[(chosen token, log-probability), …]: servers list the chosen token among the `top` alternatives as well, we
    don't. ValueError where one is no number (Python's JSON reads NaN); −∞ is one."""
    chosen, *listed = ((str(one["token"]), float(one["logprob"])) for one in (position, *position["top_logprobs"]))
    if not all(value < math.inf for _, value in (chosen, *listed)):
        raise ValueError("a log-probability is NaN or +∞")
    best = sorted(listed, key=lambda other: -other[1])[:top]
    if chosen in best:
        best.remove(chosen)
    return (chosen, *best)


def failed(reason: str, billed: tuple[int, int] | None) -> Completion:
    return Completion("", "error", *(billed or (0, 0)), error=reason)


def usage(reply: Any) -> tuple[int, int] | None:
    """(prompt, completion) tokens, None where the reply does not tell."""
    told = reply.get("usage") if isinstance(reply, dict) else None
    if not isinstance(told, dict):
        return None
    prompt, answer = told.get("prompt_tokens"), told.get("completion_tokens", 0)
    if type(prompt) is not int or type(answer) is not int or prompt < 0 or answer < 0:
        return None
    return prompt, answer


def message(reply: Any, body: bytes) -> str:
    """The server's own words. vLLM, OpenAI and gateways put them in different places."""
    if isinstance(reply, dict):
        error = reply.get("error")
        for place in (
            error.get("message") if isinstance(error, dict) else error,
            reply.get("message"),
            reply.get("detail"),
        ):
            if place:
                return place if isinstance(place, str) else json.dumps(place)
    return body.decode("utf-8", "replace") or "no message"
