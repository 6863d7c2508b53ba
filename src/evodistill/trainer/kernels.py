"""The kernels that DeepSpeed compiles when a training first needs them, into a folder that all trainings share.

torch guards a build by a file that it makes and removes again. A training that is killed between the two leaves it
behind, and all later ones would wait for ever. Here the system holds the lock, and frees that of a process that dies.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import Any

from evodistill.weights import home


class Baton:
    """In place of torch's: whoever has waited builds too, and ninja finds that nothing is left to do."""

    def __init__(self, lock_file_path: str, *more: Any, **settings: Any) -> None:
        self.path = f"{lock_file_path}.held"  # torch waits where its own name is there

    def try_acquire(self) -> bool:
        self.file = open(self.path, "w")  # noqa: SIM115
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        self.file.close()


def guard() -> None:
    """Have kernels built by one process at a time, in a folder of this Python, torch and DeepSpeed, unless
    TORCH_EXTENSIONS_DIR names one."""
    import deepspeed
    import torch
    from torch.utils import cpp_extension

    made_for = f"{sys.implementation.cache_tag}-torch-{torch.__version__}-deepspeed-{deepspeed.__version__}"
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(home() / "kernels" / made_for))
    cpp_extension.FileBaton = Baton  # type: ignore[assignment, misc]
