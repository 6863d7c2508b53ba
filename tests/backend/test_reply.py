"""Reading a reply is total: whatever a server sends is an answer, a reason to ask again or a reason to stop."""

from __future__ import annotations

import copy
import json
import random

import pytest

from evodistill.backend import Completion
from evodistill.backend.reply import Again, Stop, read

GOOD = {
    "choices": [
        {
            "message": {"role": "assistant", "content": "Assam.", "refusal": None},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {
                        "token": "As",
                        "logprob": -0.5,
                        "top_logprobs": [{"token": "As", "logprob": -0.5}, {"token": "Green", "logprob": -1.0}],
                    },
                    {"token": "sam.", "logprob": -0.25, "top_logprobs": []},
                ]
            },
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2},
}
STRANGE = [
    None,
    True,
    -1,
    1e308,
    10**400,
    float("nan"),
    "",
    "x",
    "\ud83d",
    [],
    [[]],
    {},
    {"a": None},
    [None],
    {"code": []},
]


def paths(node: object, here: tuple = ()) -> list[tuple]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [here] + [path for key, child in below for path in paths(child, (*here, key))]


def with_change(path: tuple, value: object) -> object:
    """GOOD, with another value at a path."""
    changed = copy.deepcopy(GOOD)
    if not path:
        return value
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


def test_a_good_reply_is_read_whole():
    outcome, billed = read(200, {}, json.dumps(GOOD).encode(), 2)
    logprobs = ((("As", -0.5), ("Green", -1.0)), (("sam.", -0.25),))
    assert outcome == Completion("Assam.", "stop", 7, 2, logprobs)
    assert billed == (7, 2)


@pytest.mark.parametrize("path", paths(GOOD), ids=lambda path: ".".join(map(str, path)) or "all")
@pytest.mark.parametrize("status", [200, 429, 500, 401])
def test_no_strange_value_at_any_place_raises(path, status):
    for value in STRANGE:
        outcome, billed = read(status, {}, json.dumps(with_change(path, value)).encode(), 2)
        if status == 200:
            assert isinstance(outcome, Completion | Again)
            if isinstance(outcome, Completion) and not outcome.error:
                assert isinstance(outcome.text, str) and outcome.finish_reason in ("stop", "length")
                assert all(
                    isinstance(token, str) and isinstance(p, float) for at in outcome.logprobs for token, p in at
                )
        else:
            assert isinstance(outcome, Stop if status == 401 else Again)
        assert billed is None or all(type(count) is int and count >= 0 for count in billed)


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[" * 100_000, b"{", b"null", b"<html>", b'{"choices"', "[]".encode("utf-16")]
)
def test_what_is_no_json_object_is_worth_another_try(body):
    outcome, billed = read(200, {}, body, 0)
    assert isinstance(outcome, Again) and billed is None


def test_a_cut_reply_is_never_an_answer():
    body = json.dumps(GOOD).encode()
    for size in random.Random(0).sample(range(len(body)), 60):
        assert isinstance(read(200, {}, body[:size], 0)[0], Again)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "too long"}},
        {"error": "too long"},
        {"object": "error", "message": "too long"},
        {"detail": "too long"},
        {"detail": [{"msg": "too long"}]},
    ],
)
def test_the_servers_words_are_found_where_servers_put_them(body):
    outcome, _ = read(400, {}, json.dumps(body).encode(), 0)
    assert isinstance(outcome, Completion) and "too long" in outcome.error and outcome.finish_reason == "error"


def test_a_zero_in_the_usage_is_a_report_and_a_hole_is_none():
    for usage, billed in [
        ({"prompt_tokens": 0, "completion_tokens": 0}, (0, 0)),
        ({"prompt_tokens": 3}, (3, 0)),
        ({}, None),
        (None, None),
    ]:
        assert read(200, {}, json.dumps(GOOD | {"usage": usage}).encode(), 0)[1] == billed


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan"])
def test_a_log_probability_that_is_no_number_is_a_fault(value):
    """Python's JSON reads NaN, and one of them would be the mean of all"""
    for place in (("logprob",), ("top_logprobs", 0, "logprob")):
        body = json.dumps(with_change(("choices", 0, "logprobs", "content", 0, *place), value)).encode()
        outcome, billed = read(200, {}, body, 2)
        assert isinstance(outcome, Completion) and "no log-probabilities, or no numbers" in outcome.error
        assert billed == (7, 2)


def test_the_most_probable_token_is_told_where_a_server_counts_the_chosen_one_LP2():
    """vLLM's server: the chosen token first, then the best ones, cut at top_logprobs"""
    listed = [{"token": "x", "logprob": -9.0}, {"token": "As", "logprob": -0.5}]
    position = {"token": "x", "logprob": -9.0, "top_logprobs": listed}
    body = with_change(("choices", 0, "logprobs"), {"content": [position]})
    outcome, _ = read(200, {}, json.dumps(body).encode(), 1)
    assert isinstance(outcome, Completion)
    assert outcome.logprobs == ((("x", -9.0), ("As", -0.5)),)
