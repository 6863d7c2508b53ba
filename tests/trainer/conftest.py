from pathlib import Path

import pytest
from trainer.tiny import llama

from evodistill.trainer.fit import fit
from evodistill.trainer.job import Job
from evodistill.trainer.launch import Launch


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return llama(tmp_path_factory.mktemp("base"))


@pytest.fixture
def in_this_process(monkeypatch):
    """Train here, with one thread: two cost more than they save on models of this size."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(Launch, "run", lambda self, makes, job: fit(Job.read(job)))
    yield
    torch.set_num_threads(before)
