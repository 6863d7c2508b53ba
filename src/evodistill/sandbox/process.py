"""Process: workers with limits but without namespaces, for machines where bubblewrap cannot run. Chosen by name only.

sandbox=process
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass

from evodistill.sandbox import INSIDE, Sandbox
from evodistill.sandbox.modules import foreign

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Process(Sandbox):
    """Holds code that goes wrong; code that means harm can read and write this user's files and use the network."""

    def check(self) -> None:
        log.warning(
            "sandbox=process: generated code is limited in time, memory and imports, but nothing keeps it from the "
            "files, the network and the processes of this user if it means harm; sandbox=bubblewrap does"
        )
        super().check()

    def command(self, settings: str) -> list[str]:
        told = json.loads(settings) | {"path": [str(folder) for folder in foreign(self.allow)]}
        return [os.path.realpath(sys.executable), "-s", "-S", "-B", str(INSIDE / "worker.py"), json.dumps(told)]
