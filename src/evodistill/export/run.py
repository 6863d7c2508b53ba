"""What a finished run has made: the records of one of its steps, and where they come from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evodistill import RunError
from evodistill.export.formats import FILTERS
from evodistill.record import Record, read_jsonl, read_records

log = logging.getLogger(__name__)

NONE = "none"  # --trainer none: as if the run trained nothing


@dataclass(frozen=True)
class Made:
    """The records of a step, the rows of `steps.jsonl` up to it, their manifests, the run's config, and the artifact of
    each step that has ended."""

    records: list[Record]
    steps: list[dict[str, Any]]
    manifests: list[dict[str, Any]]
    cfg: DictConfig
    artifacts: Mapping[str, Path] = field(default_factory=dict)

    @property
    def models(self) -> dict[str, tuple[str, str]]:
        """Role → (name, identity of its weights), of all that had a part in these records."""
        return {role: tuple(told) for manifest in self.manifests for role, told in manifest["key"]["models"].items()}

    def trainer(self, name: str | None, paired: bool, settings: bool) -> dict[str, Any]:
        """The settings of the trainer on pairs, or on answers, whose rows are wanted: the named one, or the run's only
        one; {} where it has none, and for NONE. Several that learn from the same records are one where only these are
        asked for, and not their `settings`."""
        nodes = {step: self.cfg[step] for step in self.cfg.steps if self.cfg[step].get("makes")}
        kinds = {step: str(node._target_).rpartition(".")[2] for step, node in nodes.items()}
        fit = [
            step for step, kind in kinds.items() if (kind == "DPO") == paired and kind != "OnPolicy"
        ]  # reads no answers
        if name not in (None, NONE, *fit):
            what = "pairs" if paired else "answers"
            raise RunError(f"--trainer {name} is no trainer of this run on {what}; it has {', '.join(fit) or 'none'}")
        learned = {tuple(nodes[step].get(key) for key in ("only", *FILTERS)) for step in fit}
        if name is None and len(fit) > 1 and (settings or len(learned) > 1):
            raise RunError(
                f"this run trains {len(fit)} models, each with settings of its own: choose one with --trainer "
                f"{' or '.join(fit)}; --trainer {NONE}: all records"
            )
        if name == NONE or not fit:
            return {}
        found = OmegaConf.to_container(nodes[name or fit[0]], resolve=True)
        assert isinstance(found, dict)
        return {str(key): value for key, value in found.items()}

    def maker(self, role: str) -> str | None:
        """The step whose training makes a role; None for one that the config holds."""
        return next((name for name in self.cfg.steps if self.cfg[name].get("makes") == role), None)

    def weights(self, role: str) -> str | Path | None:
        """Where another trainer finds the weights of a role: the hub's name, or a folder of this machine. None where
        they are still to be made, or are no longer here."""
        if maker := self.maker(role):
            folder = self.artifacts.get(maker, Path()) / "model"
            return folder.resolve() if folder.is_dir() else None
        node = self.cfg[role]
        named = str(node.get("path") or node.name)
        folder = Path(named).expanduser()
        return folder.resolve() if folder.is_dir() else named


def read(folder: Path, step: str | None = None) -> Made:
    """The run in `folder`, at `step`, or at the last one that is no trainer."""
    rows = list(read_jsonl(steps_of(folder)))
    cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
    assert isinstance(cfg, DictConfig)
    rows = [row for row in rows if row["step"] in cfg.steps]  # the others are metrics and benchmarks
    if not rows:
        raise RunError(f"{folder}: no step of this run has ended")
    if step is None:
        step = [row["step"] for row in rows if not cfg[row["step"]].get("makes")][-1]
    names = [row["step"] for row in rows]
    artifacts = {row["step"]: Path(row["path"]) for row in rows}
    if step not in names:
        raise RunError(f"--step {step} is no finished step of this run; it has {', '.join(names)}")
    rows = rows[: names.index(step) + 1]
    for row in rows:
        if not (Path(row["path"]) / "manifest.json").is_file():
            what = f"{row['path']}, what {row['step']} has made, is not here"
            raise RunError(f"{what}; go where the run was started, or run it again")
    status = json.loads((folder / "status.json").read_text(encoding="utf-8"))["status"]
    if status != "completed":
        log.warning("%s is %s: its last finished step is %s", folder, status, names[-1])
    manifests = [json.loads((Path(row["path"]) / "manifest.json").read_text(encoding="utf-8")) for row in rows]
    return Made(read_records(Path(rows[-1]["path"]) / "records.jsonl"), rows, manifests, cfg, artifacts)


def steps_of(folder: Path) -> Path:
    file = folder / "steps.jsonl"
    if file.is_file() and (folder / ".hydra" / "config.yaml").is_file():
        return file
    jobs = sorted(path.parent.name for path in folder.glob("*/steps.jsonl"))
    if jobs:
        raise RunError(f"{folder} holds the jobs {', '.join(jobs)}; name one of them")
    raise RunError(f"{folder} is no folder of a run; name a runs/<name>/<time>, or a job in runs/<study>/<time>")
