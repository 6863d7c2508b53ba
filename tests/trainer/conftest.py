from pathlib import Path

import pytest
from trainer.tiny import llama


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return llama(tmp_path_factory.mktemp("base"))
