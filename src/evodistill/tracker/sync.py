"""Push the runs that W&B wrote offline.

python -m evodistill.tracker.sync [runs/…]      every offline run below the folder that was not pushed yet
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evodistill.tracker.wandb import known_key


def offline(root: Path) -> list[Path]:
    """Folders of offline runs below `root` that W&B has not marked as pushed."""
    found = sorted(path for path in root.rglob("wandb/offline-run-*") if path.is_dir())
    return [path for path in found if not any(path.glob("*.wandb.synced"))]


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    if not root.is_dir():
        sys.exit(f"error: {root}: no such folder; name a folder of runs")
    runs = offline(root)
    failed = 0
    for number, path in enumerate(runs, 1):
        print(f"{number} of {len(runs)}: {path}", flush=True)
        # the command, not the library: it marks what it has pushed, so that an interrupted push goes on
        failed += subprocess.run([sys.executable, "-m", "wandb", "sync", str(path)]).returncode != 0
    print(f"{len(runs) - failed} of {len(runs)} offline runs pushed")
    if failed:
        cure = "" if known_key() else "W&B has no key here: wandb login, or WANDB_API_KEY; then "
        sys.exit(f"error: {cure}give the same command again for the others")


if __name__ == "__main__":
    main()
