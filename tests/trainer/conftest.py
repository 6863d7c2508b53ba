import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from trainer.tiny import llama


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return llama(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def needs_deepspeed():
    """Skip where DeepSpeed is missing; in CI its absence is a failure."""
    if find_spec("deepspeed") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("DeepSpeed is not installed: make train")
