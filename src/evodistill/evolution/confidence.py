"""How sure the evolver was of what it wrote: log-probabilities of its reply, as a record keeps them (LP1-LP4).

They are kept at evolution time, so they are those of the data set itself, and of every position (the paper's script
evolved once more, and looked at five).
"""

from __future__ import annotations

import math
from typing import Any

from evodistill.backend import Completion

DIGITS = 4
LOWEST = -100.0  # of a token that top_p or a server has set to −∞: JSON knows no infinity


def confidence(reply: Completion, most: int | None = None) -> dict[str, Any]:
    """{"logprobs": {"chosen": […], "top": […]}}, a value per output position, `most` of them at most; empty where the
    request did not ask for log-probabilities, or one is no number. `top` is the most probable token's, whether or not
    it was drawn (LP2)."""
    positions = reply.logprobs[:most]
    if not positions or any(math.isnan(value) for position in positions for _, value in position):
        return {}
    return {
        "logprobs": {
            "chosen": [kept(position[0][1]) for position in positions],
            "top": [kept(max(value for _, value in position)) for position in positions],
        }
    }


def kept(value: float) -> float:
    return round(max(value, LOWEST), DIGITS)
