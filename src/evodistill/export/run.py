"""What a finished run has made: the records of one of its steps, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evodistill import RunError
from evodistill.record import Record, read_jsonl, read_records


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

    def trainer(self, paired: bool) -> Mapping[str, Any]:
        """The settings of the run's first trainer on pairs, or on answers; {} where it has none."""
        trainers = [self.cfg[name] for name in self.cfg.steps if self.cfg[name].get("makes")]
        fit = [node for node in trainers if str(node._target_).endswith(".DPO") == paired]
        found = OmegaConf.to_container(fit[0], resolve=True) if fit else {}
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
        node = node.get("inner") or node  # a backend that spreads another over machines
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
