"""The shards of a run as one artifact a step, byte for byte the one that a run over the whole would have made.

    python run.py -m +experiment=smoke dataset.shard=0/3,1/3,2/3
    python -m evodistill.store merge runs/adhoc/<time>          then the same command without dataset.shard, for metrics

Shards are done apart, so only steps can be merged in which no record decides over another's fate (`alone`). The pool in
which an evolution looks for near-duplicates is the exception: it is gone through once more, over all shards, and where
one run would have decided otherwise nothing is merged. The request caches are put together first, whatever comes
of the rest: the whole run then takes what is finished from there and asks for the difference only.
"""

from __future__ import annotations

import heapq
import json
import logging
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from evodistill import RunError, __version__, config, provenance
from evodistill.backend.cache import Cache
from evodistill.dataset import parse_shard
from evodistill.evolution.evolution import KEPT
from evodistill.record import Record, digest, read_jsonl, to_line
from evodistill.store import Store

log = logging.getLogger(__name__)

RECORDS, REJECTS = "records.jsonl", "rejects.jsonl"
SUMMED = (
    *("in", "made", "out", "rejected", "judged", "requests", "cached", "errors", "passing"),
    *("prompt_tokens", "completion_tokens", "usd"),
)
ANYWAY = "run the same command without dataset.shard: it takes the finished requests from the cache, and asks the rest"

Row = tuple[tuple[int, bool, int], dict[str, Any]]  # place in the file of a whole run, record as it is on disk


@dataclass(frozen=True)
class Job:
    """One job of a sharded run: its place among n, its config as if there were no shards, and its artifacts."""

    folder: Path
    i: int
    n: int
    cfg: DictConfig
    artifacts: Mapping[str, tuple[Path, dict[str, Any]]]  # step → folder, manifest

    @property
    def run(self) -> str:
        """The same for the shards of one run: what all its steps depend on but for their records."""
        return digest([self.n, {name: self.key(name, "") for name in self.cfg.steps}])

    def key(self, name: str, content: str) -> dict[str, Any]:
        """What the artifact of one run over the whole depends on."""
        key = self.artifacts[name][1]["key"] | {"input": content}
        if "shard" in key["config"]:
            key["config"] = key["config"] | {"shard": None}
        return key


def merge(folders: Sequence[Path], root: Path) -> list[Path]:
    """Merge the sharded runs under these folders into the store at `root`; gives the artifacts that are there now."""
    runs: dict[str, dict[int, Job]] = {}
    for job in jobs(folders):
        runs.setdefault(job.run, {})[job.i] = job
    if not runs:
        raise RunError(f"{', '.join(map(str, folders))}: no run with dataset.shard in there")
    store, made = Store(root), []
    for parts in runs.values():
        shards = whole(parts)
        merge_caches(root / "requests.sqlite", {Path(job.cfg.artifacts) / "requests.sqlite" for job in shards})
        made += merge_run(shards, store)
    return made


def jobs(folders: Sequence[Path]) -> Iterator[Job]:
    """The sharded jobs in these folders, the oldest first."""
    found = [path for folder in folders for path in folder.rglob("steps.jsonl") if "rivals" not in path.parts]
    for path in sorted(found, key=lambda path: path.stat().st_mtime):
        at = path.parent / ".hydra" / "config.yaml"
        cfg = OmegaConf.load(at) if at.exists() else None
        if not isinstance(cfg, DictConfig) or (shard := OmegaConf.select(cfg, "dataset.shard")) is None:
            continue
        i, n = parse_shard(shard)
        with open_dict(cfg):
            cfg.dataset.shard = None
        places = {row["step"]: Path(row["path"]) for row in read_jsonl(path)}
        yield Job(path.parent, i, n, cfg, {name: finished(path.parent, name, places.get(name)) for name in cfg.steps})


def finished(job: Path, name: str, folder: Path | None) -> tuple[Path, dict[str, Any]]:
    manifest = Store.manifest(folder) if folder and folder.is_dir() else None
    if folder is None or manifest is None:
        raise RunError(f"{job} has not finished {name}: run its command again")
    return folder, manifest


def whole(parts: Mapping[int, Job]) -> list[Job]:
    """The jobs in order; RunError where one is missing."""
    n = next(iter(parts.values())).n
    if missing := [f"{i}/{n}" for i in range(n) if i not in parts]:
        raise RunError(
            f"shards are missing: run the same command with dataset.shard={','.join(missing)}. "
            "Those of one run have the same data, prompts, models and settings"
        )
    return [parts[i] for i in range(n)]


def merge_caches(into: Path, others: Iterable[Path]) -> None:
    """Add the finished requests of other stores."""
    cache = Cache(into)
    with closing(cache.db):
        for other in others:
            if other.exists() and not other.samefile(into):
                Cache(other).close()  # refuses what is damaged or newer than this program
                try:
                    cache.db.execute("ATTACH ? AS other", (str(other),))
                    added = cache.db.execute("INSERT OR IGNORE INTO results SELECT key, value FROM other.results")
                    log.info("%s: %d finished requests added", other, added.rowcount)
                    cache.db.execute("DETACH other")
                except sqlite3.Error as error:
                    raise RunError(f"cannot add {other} to {into}: {error}") from None


def merge_run(shards: Sequence[Job], store: Store) -> list[Path]:
    """Step after step, until one that cannot be merged."""
    cfg, content = shards[0].cfg, ""
    before: Sequence[Path] = ()
    made: list[Path] = []
    for name in cfg.steps:
        step = config.build(cfg[name])
        parts, manifests = zip(*(job.artifacts[name] for job in shards), strict=True)
        key = shards[0].key(name, content)
        if key["config"] != json.loads(json.dumps(config.identity(step))):
            raise RunError(f"{name}: its shards were made by another version of evodistill; run them again")
        if passing := sum(manifest["passing"] for manifest in manifests):  # merged, none would be asked again
            raise RunError(
                f"{name}: {passing} requests of its shards failed in passing; run the same shards again and merge "
                f"what they make then, or {ANYWAY}"
            )
        if not getattr(step, "alone", False):
            raise RunError(f"{name} cannot be merged, since it looks at all records together: {ANYWAY}")
        if more := sorted(set(manifests[0]["files"]) - {RECORDS, REJECTS}):
            raise RunError(f"{name} cannot be merged, since it made {more[0]} of all its records: {ANYWAY}")
        details = pooled(name, step, parts)
        if hot(key["config"]) and (text := shared_text(before) or shared_text(parts, getattr(step, "rounds", 0))):
            raise RunError(
                f"{name}: two shards drew for the same prompt, {text[:200]!r}, and each was the first; {ANYWAY}"
            )
        before = parts
        folder = store.folder(name, key)
        with store.lock(folder):
            manifest = store.manifest(folder)
            if manifest is None:
                files = {file: lines(parts, file, details) for file in (RECORDS, REJECTS)}
                counts = {count: sum(manifest[count] for manifest in manifests) for count in SUMMED}
                reasons = sum((Counter(manifest["reasons"]) for manifest in manifests), Counter[str]())
                counts |= {"reasons": dict(reasons.most_common())}
                made_by = {"version": __version__} | provenance.source()
                facts = {"step": name, "key": key, **counts, **made_by, "shards": len(shards)}
                manifest = store.write(folder, files, facts)
        log.info("%s: %d shards, %d records in %s", name, len(shards), manifest["out"], folder)
        content = manifest["files"][RECORDS]["sha256"]
        made.append(folder)
    return made


def rows(path: Path) -> Iterator[Row]:
    """The records of a file with their places, which must rise: in every round a line stands where its seed stood, and
    those that stand in for failed ones come last."""
    last = (-1, False, -1)
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            flat = json.loads(line)
            place = (flat["round"], flat["operation"] == KEPT, flat["index"])
            if place < last:
                raise RunError(f"{path} is in no order that could be found again in one run: {ANYWAY}")
            last = place
            yield place, flat


def lines(parts: Sequence[Path], file: str, details: Mapping[str, str]) -> Iterator[str]:
    """The lines of all shards in the order of one run."""
    for _, flat in heapq.merge(*(rows(part / file) for part in parts), key=itemgetter(0)):
        yield to_line(flat | {"detail": details[flat["id"]]} if flat["id"] in details else flat)


def hot(settings: Any) -> bool:
    """Whether any sampling of these settings draws: greedy answers to one question are all the same."""
    if isinstance(settings, Mapping):
        return float(settings.get("temperature") or 0) > 0 or any(map(hot, settings.values()))
    return isinstance(settings, list) and any(map(hot, settings))


def shared_text(parts: Sequence[Path], rounds: int | None = None) -> str:
    """A prompt that usable records of two shards hold, in the first so many rounds; empty where there is none."""
    import numpy as np

    def hashes(part: Path) -> Iterator[tuple[int, str]]:
        for (number, _, _), flat in rows(part / RECORDS):
            if rounds is None or number < rounds:
                yield int(digest([flat["instruction"], flat["input"]]), 16), flat["instruction"]

    found = [np.unique(np.array(array("Q", (number for number, _ in hashes(part))), np.uint64)) for part in parts]
    values, counts = np.unique(np.concatenate(found or [np.empty(0, np.uint64)]), return_counts=True)
    twice = set(values[counts > 1].tolist())
    return next((text for part in parts if twice for number, text in hashes(part) if number in twice), "")


def pooled(name: str, step: Any, parts: Sequence[Path]) -> dict[str, str]:
    """The near-duplicates that one run would name as the reason of its rejects, by id. RunError where it would have
    rejected others."""
    if not hasattr(step, "verdicts"):
        return {}
    order = heapq.merge(
        *(rows(part / file) for part in parts for file in (RECORDS, REJECTS)),
        key=lambda row: (row[0][0], row[0][2]),
    )
    details: dict[str, str] = {}
    otherwise: list[str] = []
    for record, near in step.verdicts(Record.from_dict(flat) for _, flat in order if flat["operation"] != KEPT):
        rejected = record.fault is not None
        if rejected != bool(near):
            otherwise.append(record.origin.seed)
        elif rejected:
            details[record.id] = near[:500]
    if otherwise:
        raise RunError(
            f"{name}: {len(set(otherwise))} lines have near-duplicates in other shards, which one run would have "
            f"rejected (eliminator.pool_similarity; with null, shards are always merged): {ANYWAY}"
        )
    return details
