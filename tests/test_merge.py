"""Shards, merged: the same bytes as one run, or a refusal that says how to go on."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from repository import FAKES, ROOT, UNREPORTED

from evodistill.record import read_jsonl, read_records

SHARDS = 3


def call(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, check=check, capture_output=True, text=True)


def run(folder: Path, where: str, *overrides: str) -> None:
    settings = [f"artifacts={folder}/{where}", f"hydra.run.dir={folder}/runs/{where}", UNREPORTED]
    call("run.py", "+experiment=smoke", *FAKES, *settings, *overrides)


def sharded(folder: Path, *overrides: str, n: int = SHARDS) -> None:
    for i in range(n):
        run(folder, f"shard-{i}", f"dataset.shard={i}/{n}", *overrides)


def merge(folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    given = [str(folder / "runs"), "--artifacts", f"{folder}/merged"]
    return call("-m", "evodistill.store", "merge", *given, check=check)


def files(folder: Path) -> dict[str, bytes]:
    """The record files of the steps; a metric has scores instead."""
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*/re*.jsonl"))}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Path:
    """A run over the whole and one in shards, each shard with a store of its own."""
    folder = tmp_path_factory.mktemp("smoke")
    settings = ["dataset.limit=40"]
    run(folder, "whole", *settings)
    (folder / "runs").rename(folder / "undisturbed")
    sharded(folder, *settings)
    merge(folder)
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def test_merged_shards_are_the_same_bytes_under_the_same_names_as_one_run(smoke):
    merged = files(smoke / "merged")
    assert merged == files(smoke / "whole")
    assert len(merged) == 6 and sum(map(len, merged.values())) > 100_000


def test_the_counts_add_up(smoke):
    for path in (smoke / "merged").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        assert manifest["in"] + manifest["made"] == manifest["out"] + manifest["rejected"]
        assert manifest["out"] == len(read_records(path.parent / "records.jsonl"))
        assert manifest["shards"] == SHARDS


def test_after_the_merge_the_whole_command_finds_its_steps_and_asks_nothing(smoke):
    run(smoke, "merged", *json.loads((smoke / "settings.json").read_text()))
    rows = {row["step"]: row for row in read_jsonl(smoke / "runs" / "merged" / "steps.jsonl")}
    assert all(rows[step]["reused"] for step in ("dataset", "evolution", "respond"))
    assert sum(row["requests"] for row in rows.values()) == 0, "the merged cache knows every answer"
    one = (smoke / "undisturbed" / "whole" / "metrics.json").read_bytes()
    assert (smoke / "runs" / "merged" / "metrics.json").read_bytes() == one


def test_a_missing_shard_is_named(smoke, tmp_path):
    (tmp_path / "runs").mkdir()
    for i in (0, 2):
        (tmp_path / "runs" / f"shard-{i}").symlink_to(smoke / "runs" / f"shard-{i}")
    done = call("-m", "evodistill.store", "merge", *map(str, (tmp_path / "runs").iterdir()), check=False)
    assert done.returncode and "dataset.shard=1/3" in done.stderr and "Traceback" not in done.stderr


SAME = "Describe one kind of tea and compare its taste with coffee."  # which an evolver makes of every line
AGAIN = "Describe one kind of tea and say how to brew it well."
RULES = f"[{{match: kinds of tea, replies: ['{SAME}']}}, {{match: '.', replies: ['{AGAIN}']}}]"


@pytest.fixture
def alike(tmp_path) -> list[str]:
    rows = [{"instruction": f"Name {n} kinds of tea and their taste."} for n in range(8)]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [
        "dataset=jsonl",
        f"dataset.path={tmp_path}/seeds.jsonl",
        "dataset.columns={input: null, output: null}",
        "metric=[]",
    ]
    return [*settings, f"evolver.rules={RULES}", "evolution.rounds=2", "evolution.on_failure=drop"]


@pytest.mark.slow
def test_near_duplicates_in_two_shards_are_refused_and_the_whole_command_asks_only_for_the_rest(tmp_path, alike):
    run(tmp_path, "whole", *alike)
    (tmp_path / "runs").rename(tmp_path / "undisturbed")
    sharded(tmp_path, *alike, n=2)
    done = merge(tmp_path, check=False)
    assert done.returncode and "have near-duplicates in other shards" in done.stderr
    assert [path.name.partition("-")[0] for path in (tmp_path / "merged").glob("*-*")] == ["dataset"]
    run(tmp_path, "merged", *alike)
    assert files(tmp_path / "merged") == files(tmp_path / "whole")
    rows = list(read_jsonl(tmp_path / "runs" / "merged" / "steps.jsonl"))
    assert sum(row["requests"] for row in rows) == 0 < sum(row["cached"] for row in rows)


@pytest.mark.slow
def test_draws_for_one_prompt_in_two_shards_are_refused(tmp_path, alike):
    sharded(tmp_path, *alike, "evolution.eliminator.pool_similarity=null", n=2)
    done = merge(tmp_path, check=False)
    assert done.returncode and "two shards drew for the same prompt, 'Describe one kind of tea" in done.stderr


def test_a_step_that_looks_at_all_records_is_refused_and_what_stands_before_it_is_merged(tmp_path):
    settings = ["dataset.limit=12", "metric=[]", "+distill@select=select", "select.keep=0.5", "instructions=null"]
    sharded(tmp_path, *settings, "steps=[dataset,select]", n=2)
    done = merge(tmp_path, check=False)
    assert done.returncode and "select cannot be merged, since it looks at all records together" in done.stderr
    assert len(list((tmp_path / "merged").glob("dataset-*"))) == 1


def test_requests_of_all_stores_are_put_together(smoke):
    keys = set()
    for i in range(SHARDS):
        with sqlite3.connect(smoke / f"shard-{i}" / "requests.sqlite") as db:
            keys |= {key for (key,) in db.execute("SELECT key FROM results")}
    with sqlite3.connect(smoke / "merged" / "requests.sqlite") as db:
        assert {key for (key,) in db.execute("SELECT key FROM results")} >= keys
