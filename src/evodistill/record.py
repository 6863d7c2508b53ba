"""Record: one instruction with its input, its answer and its origin.

On disk a record is one flat JSON object, Alpaca keys first, so that every trainer and every person can read it:

    {"instruction": …, "input": …, "output": …, "id": …, "seed": …, "parent": …, "step": …, "operation": …, …}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from evodistill import RunError

ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))  # json.dumps makes one a call


def digest(value: object, size: int = 8) -> str:
    """Hex digest of a JSON-able value: `2 * size` characters, the same on every machine and in every Python."""
    text = ENCODER.encode(value)
    # surrogatepass: a lone surrogate from a foreign file must not stop the hash
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record comes from: `seed` and `index` name the line it descends from, `parent` what it was made of."""

    seed: str = ""  # id of the seed record at the root of the line
    index: int = 0  # row of that seed in its source: stable under shuffling, subsampling and failures (EV6)
    parent: str = ""  # id of the record this one was made of; empty for a seed
    step: str = ""
    operation: str = ""
    round: int = 0  # 0 = seed
    model: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record must not be used: a reason code to count, a sentence for people, the raw text that failed."""

    reason: str
    detail: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One instruction. `extra` holds what a method adds (JSON-able); `fault` is None for a usable record."""

    id: str
    instruction: str
    input: str = ""
    output: str = ""
    origin: Origin = Origin()
    extra: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault | None = None

    @classmethod
    def seed(
        cls, instruction: str, input: str = "", output: str = "", *, index: int = 0, step: str = "dataset", **extra: Any
    ) -> Record:
        """A record that starts a line; it is its own seed. The id is the hash of its text."""
        id = digest(["seed", instruction, input, output])
        return cls(id, instruction, input, output, Origin(seed=id, index=index, step=step), extra)

    def child(
        self,
        instruction: str,
        input: str = "",
        output: str = "",
        *,
        extra: Mapping[str, Any] | None = None,
        **origin: Any,
    ) -> Record:
        """A record made of this one; `origin` sets what differs from its own origin (step, operation, round, …)."""
        born = replace(
            self.origin,
            **(
                {"parent": self.id, "operation": "", "finish_reason": "", "prompt_tokens": 0, "completion_tokens": 0}
                | origin
            ),
        )
        id = digest([born.seed, born.parent, born.step, born.operation, born.round, born.model, instruction, input])
        return Record(id, instruction, input, output, born, extra or {})

    def reject(self, reason: str, detail: str = "", raw: str = "") -> Record:
        """This record, marked as not usable. The first fault stays: it is the cause, what follows is consequence."""
        if self.fault:
            return self
        fault = Fault(reason, detail, raw)
        return Record(self.id, self.instruction, self.input, self.output, self.origin, self.extra, fault)

    @property
    def prompt(self) -> str:
        """What a student reads: the instruction, and the input, if any, below it (as in LLaMA-Factory; RG4)."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction

    def to_dict(self) -> dict[str, Any]:
        """Flat, JSON-able, Alpaca keys first."""
        flat: dict[str, Any] = {
            "instruction": self.instruction,
            "input": self.input,
            "output": self.output,
            "id": self.id,
        }
        for name in ORIGIN:
            flat[name] = getattr(self.origin, name)
        if self.extra:
            flat["extra"] = dict(self.extra)
        if self.fault:
            flat |= {"reason": self.fault.reason, "detail": self.fault.detail, "raw": self.fault.raw}
        return flat

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> Record:
        """The inverse of `to_dict`."""
        if missing := [name for name in STORED if name not in flat]:
            raise RunError(
                f"a stored record has no {missing[0]}: {str(flat)[:200]}; it was changed since it was written: "
                "delete the folder that holds it, to make it again"
            )
        fault = Fault(flat["reason"], flat.get("detail", ""), flat.get("raw", "")) if "reason" in flat else None
        origin = Origin(**{name: flat[name] for name in ORIGIN})
        return cls(flat["id"], flat["instruction"], flat["input"], flat["output"], origin, flat.get("extra", {}), fault)


class Made(NamedTuple):
    """What a step gives back that makes files beside its records: name → lines to write into its artifact, or the path
    of a file that it has written there itself (a model's weights)."""

    records: list[Record]
    files: Mapping[str, Iterable[str] | Path]


ORIGIN = tuple(field.name for field in fields(Origin))
STORED = ("id", "instruction", "input", "output", *ORIGIN)


def to_line(value: Mapping[str, Any]) -> str:
    """One JSON line of real characters; lone surrogates are escaped so that the file stays valid UTF-8."""
    line = to_json(value)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(json.loads(line))
    return line + "\n"


def to_json(value: object, indent: int | None = None) -> str:
    """JSON of real characters, as any reader takes it: NaN and infinities are null."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        known = json.loads(json.dumps(value), parse_constant=lambda name: None)
        return json.dumps(known, indent=indent, ensure_ascii=False)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file we wrote. Splits at newlines only: U+2028 and its like are text here."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line.decode("utf-8"))
                if not isinstance(value, dict):
                    raise ValueError("no object")
            except (ValueError, RecursionError) as error:  # bytes that are no text, no JSON, numbers without end
                what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise RunError(
                    f"{path}:{number}: not JSON ({what}); delete the folder {path.parent} to make it again"
                ) from None
            yield value


def read_records(path: Path) -> list[Record]:
    """The records of a `records.jsonl` or `rejects.jsonl`."""
    return [Record.from_dict(flat) for flat in read_jsonl(path)]


def split(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """(usable, rejected)."""
    usable: list[Record] = []
    rejected: list[Record] = []
    for record in records:
        (rejected if record.fault else usable).append(record)
    return usable, rejected
