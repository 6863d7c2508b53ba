"""The torture of `benchmarks/`, in small: what is killed, shared and failed at must survive."""

import sys

import pytest
from repository import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import torture

OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in torture.PIPELINES if name != "auto_evol"]


@pytest.mark.parametrize("pipeline", ["auto_evol", *OTHERS])
def test_a_pipeline_that_is_killed_ends_with_the_same_bytes(pipeline):
    (line,) = torture.kill(2, [pipeline])
    assert (line.tried, line.survived, line.lost) == (2, 2, 0), line.note


@pytest.mark.slow
def test_processes_that_share_a_store_and_a_cache_do_no_work_twice():
    for line in torture.processes():
        assert not line.lost, f"{line.what}: {line.note}"
