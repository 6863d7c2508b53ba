"""A job: all that a training must know, in one file, since it runs in a process of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from evodistill import RunError, config
from evodistill.store import write_text

if TYPE_CHECKING:
    from evodistill.trainer import Trainer

FILE = "job.json"
WHOLE = "whole"  # written last into a checkpoint
CURVE = "curve.jsonl"  # beside the rows, its loss curve while it trains
TRAINED = "trained.json"  # what the training process leaves beside its rows: the loss curve, and what was measured


@dataclass(frozen=True)
class Job:
    """Train in the trainer's folder: its `rows/` holds train.arrow, held_out.arrow and the tokenizer."""

    trainer: Trainer
    base: str  # folder of the weights to start from
    limit: int  # most tokens of a row

    @property
    def folder(self) -> Path:
        return Path(self.trainer.folder)

    @classmethod
    def read(cls, file: Path) -> Job:
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(told, dict) or told.keys() != {item.name for item in fields(cls)}:
                raise ValueError("it has other keys")
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: not a job that a run has written ({error})") from None
        return cls(**told | {"trainer": config.build(DictConfig(told["trainer"]))})

    def write(self) -> Path:
        """The job's file. Refuses a folder whose checkpoints were made with other settings, and removes those that a
        kill has cut short."""
        for checkpoint in self.folder.glob("checkpoints/checkpoint-*"):
            if not (checkpoint / WHOLE).exists():
                shutil.rmtree(checkpoint)
        file = self.folder / FILE
        told = {item.name: described(getattr(self, item.name)) for item in fields(self)}
        if file.exists() and any(self.folder.glob("checkpoints/checkpoint-*")):
            try:
                before = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise RunError(
                    f"{file} does not say with what settings {self.folder}/checkpoints were made ({error}): "
                    "delete that folder to train anew"
                ) from None
            if changed := [f"{key} was {old!r}, is {new!r}" for key, old, new in differences(before, told)]:
                raise RunError(
                    f"{self.folder}/checkpoints were made with other settings ({'; '.join(changed)}): "
                    "set them back to go on, or delete that folder to train anew"
                )
        write_text(file, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        return file


def described(value: Any) -> Any:
    """A dataclass as the node that `config.build` makes it of, with all that it holds."""
    if is_dataclass(value) and not isinstance(value, type):
        target = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"_target_": target} | {item.name: described(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    return [described(item) for item in value] if isinstance(value, list | tuple) else value


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted path, old, new) of each leaf that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new
