"""No dashboard: local files are the truth and all there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class None_:  # the option's name, where the language keeps the word for itself
    """Sees a run and does nothing; what a tracker has to offer."""

    def start(self, config: Any, facts: Mapping[str, Any], folder: Path) -> None: ...

    def learned(self, step: str, point: Mapping[str, Any]) -> None: ...

    def step(self, row: Mapping[str, Any]) -> None: ...

    def finish(self, measured: Mapping[str, Any], folder: Path) -> None: ...

    def close(self) -> None: ...
