"""The dataset card: what is in the data, which seeds and models it comes from, and under which licences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from evodistill import __version__
from evodistill.evolution.evolution import KEPT
from evodistill.export.run import Made

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
KNOWN = {"Apache-2.0": "apache-2.0", "MIT": "mit", "CC BY-NC 4.0": "cc-by-nc-4.0"}  # to the hub's names
UNKNOWN = "not stated"


def card(
    made: Made,
    name: str,
    file: str | None,
    n: int,
    left_out: Mapping[str, int],
    columns: Mapping[str, tuple[str, int]] | None = None,
) -> str:
    """Markdown, with the hub's header. Paths of the machine are not told, only the names they end with. `columns` are
    those beside the format's own: where each comes from, and how many rows have a value."""
    licences = {licence(made.cfg.get(role)) for role in made.models} | {licence(seeds(made.cfg))}
    models = [
        (role, model, place(made.cfg.get(role)), licence(made.cfg.get(role)), identity)
        for role, (model, identity) in made.models.items()
    ]
    told = Counter(record.origin.seed for record in made.records)
    rounds = Counter(record.origin.round for record in made.records)
    steps = " → ".join(row["step"] for row in made.steps)
    parts = [
        header(name, file, n, licences),
        f"# {name}",
        f"Made by evodistill {__version__}, experiment {made.cfg.name}: {steps}.",
        "## Rows",
        f"{n} rows of {len(made.records)} records; left out: {counted(left_out)}. "
        f"They descend from {len(told)} seeds. Records by round of evolution (0: as the seed was): {counted(rounds)}."
        f" {stand_ins(made)}".rstrip(),
        markdown(
            ("step", "in", "made", "out", "rejected"),
            ([row[key] for key in ("step", "in", "made", "out", "rejected")] for row in made.steps),
        ),
        *added(columns or {}),
        "## Seeds",
        markdown(("dataset", "seed of the draws", "licence"), [source(made.cfg)]),
        "## Models",
        markdown(("role", "model", "weights", "licence", "identity of the weights"), models)
        if models
        else "No model had a part in it.",
        "## Licences",
        "The rows are made of the seeds and of what the models wrote: whoever uses or shares them is bound by the "
        "licences above. Where one is not stated, find it out first.",
    ]
    return "\n\n".join(parts) + "\n"


def added(columns: Mapping[str, tuple[str, int]]) -> list[str]:
    if not columns:
        return []
    told = "Of a metric: what it found of the record. Of extra: what the run's steps noted of it. Else null."
    return ["## Columns", told, markdown(("column", "of", "rows"), ((name, *of) for name, of in columns.items()))]


def stand_ins(made: Made) -> str:
    """A sentence on the records that are copies of their parent."""
    n = sum(record.origin.operation == KEPT for record in made.records)
    return f"{n} of the records stand in for a failed rewrite: they say what their parent says." if n else ""


def header(name: str, file: str | None, n: int, licences: set[str]) -> str:
    import yaml

    (one, *more) = sorted(licences)
    told: dict[str, Any] = {"pretty_name": name, "license": KNOWN.get(one, "other") if not more else "other"}
    told |= {"task_categories": ["text-generation"], "tags": ["evodistill", "synthetic"]}
    told |= {"size_categories": [next((size for most, size in SIZES.items() if n < most), "n>10M")]}
    if file:
        told |= {"configs": [{"config_name": "default", "data_files": file}]}
    return f"---\n{yaml.safe_dump(told, allow_unicode=True, sort_keys=False)}---"


def seeds(cfg: DictConfig) -> DictConfig:
    """The first step: where the run's records come from."""
    return cfg[cfg.steps[0]]


def source(cfg: DictConfig) -> tuple[str, Any, str]:
    node = seeds(cfg)
    where = node.get("path") or node.get("id") or str(node._target_).rpartition(".")[2]
    paths = [where] if isinstance(where, str) else where
    told = ", ".join(path if path == node.get("id") else Path(path).name for path in paths)
    return told, cfg.seed, licence(node)


def licence(node: Any) -> str:
    return str((node or {}).get("licence") or UNKNOWN)


def place(node: Any) -> str:
    """The hub's name of the weights, or that of their folder."""
    path = str((node or {}).get("path") or "")
    return path if path.count("/") == 1 and not path.startswith((".", "/", "~")) else Path(path).name


def counted(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{key} {count}" for key, count in sorted(counts.items())) or "none"


def markdown(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
