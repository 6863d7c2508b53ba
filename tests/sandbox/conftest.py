"""Both sandboxes, small and quick."""

from collections.abc import Callable
from typing import Any

import pytest

from evodistill.sandbox import Outcome, Program, Sandbox
from evodistill.sandbox.bubblewrap import Bubblewrap
from evodistill.sandbox.process import Process

KINDS = {"bubblewrap": Bubblewrap, "process": Process}


@pytest.fixture(params=KINDS)
def make(request) -> Callable[..., Sandbox]:
    return lambda **settings: KINDS[request.param](**{"workers": 1, "call_seconds": 1.0, **settings})


@pytest.fixture
def run(make) -> Callable[..., list[Outcome]]:
    """The outcomes of one program: `run(code, *arguments of f, one call each, **settings)`."""

    def one(code: str, *arguments: Any, **settings: Any) -> list[Outcome]:
        (outcomes,) = make(**settings).run([Program(code, "f", [[argument] for argument in arguments])])
        return outcomes

    return one
