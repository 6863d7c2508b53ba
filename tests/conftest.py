"""What all tests share: the composed config, seeds, a real model, and where the real inputs lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, settings
from omegaconf import DictConfig, OmegaConf
from repository import ROOT

from evodistill.record import Record
from evodistill.weights import Weights, resolve

# the same examples each time, and none of them against a clock: a busy machine is no fault
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture
def cfg() -> Iterator[Callable[..., DictConfig]]:
    """Compose the real config with overrides; every test sees a fresh Hydra."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield lambda *overrides: compose("config", overrides=list(overrides))


@pytest.fixture
def seeds() -> list[Record]:
    """Five seeds, two of them with an input."""
    rows = [
        ("Name three kinds of tea and describe their taste.", ""),
        (
            "Summarise the text in one sentence.",
            "The old mill stood by the river for two hundred years before the flood took it.",
        ),
        ("Explain why the sky looks blue at noon.", ""),
        ("What is 17 times 23? Show your work.", ""),
        ("Fix the bug in this function.", "```python\ndef add(a, b):\n    return a - b\n```"),
    ]
    return [Record.seed(instruction, input, index=index) for index, (instruction, input) in enumerate(rows)]


@pytest.fixture(scope="session")
def smollm2() -> Weights:
    """The packaged SmolLM2-135M, converted on first use."""
    node = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/model/smollm2-135m.yaml"))
    return resolve("smollm2-135m", None, node["package"], "package")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs beside the repository; its absence is a failure where everything must run."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is missing")
        pytest.skip(f"{folder} is not here")
    return folder


@pytest.fixture
def in_this_process(monkeypatch):
    """What is trained by one process is trained here: nothing is imported again; with one thread, since two cost more
    than they save on tiny models."""
    import torch

    from evodistill.trainer.fit import fit
    from evodistill.trainer.job import Job
    from evodistill.trainer.launch import Launch

    before, several = torch.get_num_threads(), Launch.run
    torch.set_num_threads(1)
    monkeypatch.setattr(
        Launch,
        "run",
        lambda self, makes, job: fit(Job.read(job)) if self.num_processes == 1 else several(self, makes, job),
    )
    yield
    torch.set_num_threads(before)
