import pytest

from evodistill.sandbox import Sandbox
from evodistill.sandbox.bubblewrap import Bubblewrap


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The default sandbox with one worker and short limits."""
    return Bubblewrap(workers=1, call_seconds=0.5, program_seconds=1.5)
