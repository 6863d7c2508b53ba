import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from repository import FAKES, ROOT, UNREPORTED

import evodistill
from evodistill import RunError, config
from evodistill.models import Models
from evodistill.pipeline import run
from evodistill.record import Made, read_jsonl, read_records


@pytest.fixture
def smoke(cfg, tmp_path):
    """Run the smoke experiment with overrides; gives its folder."""

    def go(*overrides: str, name: str = "run") -> Path:
        run(
            cfg("+experiment=smoke", f"artifacts={tmp_path}/artifacts", "dataset.limit=12", *overrides), tmp_path / name
        )
        return tmp_path / name

    return go


def artifact(folder: Path, step: str) -> Path:
    (row,) = [row for row in read_jsonl(folder / "steps.jsonl") if row["step"] == step]
    return Path(row["path"])


def test_nothing_is_lost(smoke):
    """in + made = out + rejected, for every step, and the files hold what the counts say."""
    folder = smoke()
    for row in read_jsonl(folder / "steps.jsonl"):
        assert row["in"] + row["made"] == row["out"] + row["rejected"]
        if (Path(row["path"]) / "records.jsonl").exists():
            assert len(read_records(Path(row["path"]) / "records.jsonl")) == row["out"]
            assert len(read_records(Path(row["path"]) / "rejects.jsonl")) == row["rejected"]
    rejects = read_records(artifact(folder, "evolution") / "rejects.jsonl")
    assert rejects and all(record.fault and record.fault.reason for record in rejects)


def test_what_a_step_rejects_is_unparsed_of_a_metric(smoke, caplog):
    """… as in metrics.json and in the docs"""
    caplog.set_level("INFO")
    smoke("steps=[dataset,evolution]", "metric=[complexity_rate]")
    lines = {line.split()[0]: line for line in caplog.messages if " made " in line}
    assert " rejected " in lines["evolution"] and " unparsed " in lines["complexity_rate"]
    assert "rejected" not in lines["complexity_rate"]


def test_what_was_never_to_be_measured_is_not_unparsed(smoke):
    """Seeds are no replies to be rewarded; they have a reason and no value"""
    folder = smoke("steps=[dataset,evolution]", "metric=[reward]")
    (row,) = [row for row in read_jsonl(folder / "steps.jsonl") if row["step"] == "reward"]
    summary = json.loads((folder / "metrics.json").read_text())["metrics"]["reward"]
    assert row["reasons"]["seed"] > 0
    assert row["rejected"] == sum(round["unparsed"] for round in summary.values())
    assert row["in"] == row["out"] + row["rejected"]


def test_a_second_run_asks_nothing_and_gives_the_same(smoke):
    """L7: nothing is written twice"""
    first, second = smoke(), smoke(name="again")
    rows = list(read_jsonl(second / "steps.jsonl"))
    assert all(row["reused"] and row["requests"] == 0 for row in rows)
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()
    for scores in (first / "scores").iterdir():
        assert scores.read_bytes() == (second / "scores" / scores.name).read_bytes()


def test_what_another_version_made_is_told(smoke, caplog, monkeypatch):
    """A parser may have been mended since"""
    smoke("steps=[dataset,evolution]", "metric=[]")
    monkeypatch.setattr("evodistill.pipeline.__version__", "0.0.0")
    smoke("steps=[dataset,evolution]", "metric=[]", name="again")
    told = [message for message in caplog.messages if "remove it to make it anew" in message]
    assert len(told) == 2 and f"was made by version {evodistill.__version__}, this is 0.0.0" in told[0]


def test_code_and_engines_are_told_and_no_part_of_the_key(smoke):
    """One artifact may serve runs of other code, on other engines"""
    folder = smoke("steps=[dataset,evolution]", "metric=[]", "+evolver.engine.dtype=float16")
    status = json.loads((folder / "status.json").read_text())
    assert {"version", "commit", "dirty", "python"} <= status.keys() and "torch" in status["packages"]
    manifest = json.loads((artifact(folder, "evolution") / "manifest.json").read_text())
    assert manifest["backends"]["evolver"] == {"backend": "Fake", "dtype": "float16"}
    assert manifest["commit"] == status["commit"] and not {"commit", "backends"} & manifest["key"].keys()


def test_a_changed_later_step_reuses_the_earlier_ones(smoke):
    smoke()
    rows = {row["step"]: row for row in read_jsonl(smoke("respond.prompt=respond/brief", name="other") / "steps.jsonl")}
    assert rows["evolution"]["reused"] and not rows["respond"]["reused"]


def test_the_hash_follows_from_what_changes_the_outcome_and_from_nothing_else(smoke):
    """Throughput and names of runs are no part of it"""

    def evolved(name: str, *overrides: str) -> Path:
        return artifact(smoke("steps=[dataset,evolution]", "metric=[]", *overrides, name=name), "evolution")

    plain = evolved("plain")
    outcome = ("evolution.rounds=2", "seed=1", "evolution.breadth=false", "evolver.name=other")
    changed = {evolved(override, override) for override in (*outcome, "evolution.sampling.top_p=0.9")}
    assert len(changed) == 5 and plain not in changed
    for override in ("evolver.group=3", "evolver.delay_s=0.001", "+evolver.engine.batch_size=3", "name=other"):
        assert evolved(override, override) == plain


def test_batching_cannot_change_a_draw(cfg, tmp_path):
    made = []
    for group in (1, 7, 512):
        where = tmp_path / str(group)
        run(
            cfg(
                *("+experiment=smoke", f"evolver.group={group}", f"artifacts={where}/artifacts", "metric=[]"),
                "steps=[dataset,evolution]",
            ),
            where / "run",
        )
        made.append((artifact(where / "run", "evolution") / "records.jsonl").read_bytes())
    assert made[0] == made[1] == made[2]


def test_roles_with_the_same_model_share_one_engine():
    node = {"_target_": "evodistill.backend.fake.Fake", "name": "one"}
    cfg = OmegaConf.create({"teacher": node, "judge": node, "student": node | {"name": "two"}})
    models = Models(cfg, None)
    assert models["teacher"] is models["judge"] and models["teacher"] is not models["student"]


def test_an_engine_stays_open_for_a_role_that_was_not_asked_yet(monkeypatch):
    node = {"_target_": "evodistill.backend.fake.Fake", "name": "one"}
    models = Models(OmegaConf.create({"teacher": node, "judge": node}), None)
    closed = []
    monkeypatch.setattr("evodistill.backend.fake.Fake.close", lambda self: closed.append(self.name))
    assert models["judge"].name == "one"
    models.release({"teacher"})
    assert not closed
    models.release(set())
    assert closed == ["one"]


def test_a_failed_run_says_so(cfg, tmp_path):
    with pytest.raises(RunError, match="no rule"):
        run(cfg("+experiment=smoke", "teacher.rules=[]", f"artifacts={tmp_path}/artifacts"), tmp_path / "run")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["status"] == "failed" and "no rule" in status["error"] and status["evolver"] == "fake"
    assert [row["step"] for row in read_jsonl(tmp_path / "run" / "steps.jsonl")] == [
        "dataset",
        "evolution",
        "complexity_rate",
        "complexity_score",
    ]


def test_no_record_left_says_which_reason_removed_them(smoke, caplog):
    smoke(
        "evolution.eliminator.min_length_ratio=0",
        "teacher.rules=[{match: ., replies: [{text: cut, finish_reason: length}]}]",
    )
    assert "respond left none of" in caplog.text and "answer_truncated" in caplog.text


def test_an_empty_selection_is_no_crash(cfg, tmp_path):
    means = run(cfg("+experiment=smoke", f"artifacts={tmp_path}/artifacts", "dataset.limit=1"), tmp_path / "run")
    assert isinstance(means, dict)


# the real command line, and what can happen to it


def command(folder: Path, *overrides: str) -> list[str]:
    return [
        sys.executable,
        "run.py",
        "+experiment=smoke",
        *FAKES,
        UNREPORTED,
        f"artifacts={folder}/artifacts",
        f"hydra.run.dir={folder}/run",
        *overrides,
    ]


def records_of(folder: Path) -> bytes:
    found = sorted(path for path in (folder / "artifacts").glob("*/re*.jsonl"))
    assert found
    return b"".join(path.parent.name.encode() + path.read_bytes() for path in found)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(folder), cwd=ROOT, check=True, capture_output=True)
    return folder


def finished(folder: Path) -> int:
    """Requests whose replies are in the cache."""
    try:
        with sqlite3.connect(f"file:{folder}/artifacts/requests.sqlite?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM results").fetchone()[0]
    except sqlite3.OperationalError:  # it is not there yet
        return 0


def test_a_killed_run_goes_on_repeats_nothing_and_ends_the_same(undisturbed, tmp_path):
    """L1: what was finished is on disk, not in memory; L7: a second run adds nothing twice"""
    slow = command(tmp_path, "evolver.delay_s=0.02", "evolver.group=4", "teacher.delay_s=0.02", "teacher.group=4")
    rng, before = random.Random(0), 0
    for _ in range(4):
        process = subprocess.Popen(slow, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and finished(tmp_path) <= before:  # however long a start takes
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = finished(tmp_path)
    (tmp_path / "run" / "scores").mkdir(exist_ok=True)
    (tmp_path / "run" / "scores" / ".complexity_rate.jsonl.1.tmp").write_text("killed while it was written")
    subprocess.run(command(tmp_path), cwd=ROOT, check=True, capture_output=True)
    asked = sum(row["requests"] for row in read_jsonl(tmp_path / "run" / "steps.jsonl"))
    assert before > 0, "the kills came too early to prove anything"
    assert asked == finished(tmp_path) - before, "no finished request was repeated"
    assert records_of(tmp_path) == records_of(undisturbed)
    assert not list(tmp_path.rglob("*.tmp"))


def test_two_jobs_at_once_on_one_store_end_the_same(undisturbed, tmp_path):
    slow = ("evolver.delay_s=0.05", "evolver.group=16")
    jobs = [
        subprocess.Popen(
            command(tmp_path, f"hydra.run.dir={tmp_path}/run-{n}", *slow),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for n in (1, 2)
    ]
    assert [job.wait() for job in jobs] == [0, 0]
    assert records_of(tmp_path) == records_of(undisturbed)
    computed = [
        {row["step"] for row in read_jsonl(tmp_path / f"run-{n}" / "steps.jsonl") if not row["reused"]} for n in (1, 2)
    ]
    assert not computed[0] & computed[1], "no step was done twice"


def test_a_sweep_collects_and_a_failed_job_is_a_row_and_an_exit_code(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "run.py", "-m", "+experiment=smoke", "dataset.limit=8"),
            *(f"artifacts={tmp_path}/artifacts", f"hydra.sweep.dir={tmp_path}/sweep"),
            *("evolver.name=fake-1b,fake-7b", "evolution.rounds=1,0"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "rounds must be ≥ 1, got 0" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    table = (tmp_path / "sweep" / "results.csv").read_text().splitlines()
    assert sum(",completed," in line for line in table) > 10
    for name in ("comparison.csv", "report.html"):
        assert (tmp_path / "sweep" / name).exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+study=quickstart"], "is a sweep: add -m"),
        (["evolution.rounds=0"], "rounds must be ≥ 1, got 0"),
        (["dataset=jsonl", "dataset.path=nothing.jsonl"], "nothing.jsonl"),
        (["model@evolver=nobody"], "nobody"),
        (["artifacts=/proc/nothing"], "/proc/nothing"),
        (["teacher.rules=[]"], "no rule of conf/backend/fake.yaml matches"),
    ],
)
def test_a_users_mistake_is_one_line_and_no_traceback(tmp_path, overrides, message):
    done = subprocess.run(command(tmp_path, *overrides), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_full_disk_is_one_line_and_finished_requests_stay(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)], capture_output=True
        ).returncode
    ):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs the right to mount a small tmpfs")
    try:
        full = subprocess.run(
            command(tmp_path, f"artifacts={small}/artifacts"), cwd=ROOT, capture_output=True, text=True
        )
        assert full.returncode != 0 and "Traceback" not in full.stderr + full.stdout
        assert "free the disk" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        subprocess.run(command(tmp_path, f"artifacts={small}/artifacts"), cwd=ROOT, check=True, capture_output=True)
        reused = sum(row["cached"] for row in read_jsonl(tmp_path / "run" / "steps.jsonl"))
        assert reused > 0
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_dry_run_prints_the_plan_and_asks_nothing(tmp_path):
    """L5: what a run would cost is known before anything is asked"""
    done = subprocess.run(
        command(tmp_path, "dry_run=true", "model@evolver=llama31-8b"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "evolver = llama31-8b: 192 requests" in done.stdout
    assert "first prompt of evolution (evolver)" in done.stdout and "Rewritten instruction:" in done.stdout
    assert not (tmp_path / "artifacts").exists()


def test_two_jobs_select_equal_sets_paired_by_seed(cfg, tmp_path):
    """AE3, AI18: each job makes, or finds in the store, what the other evolver makes of the same seeds"""
    sides = ["model@small=fake", "small.name=small", "model@large=fake", "large.name=large"]
    steps = "steps=[dataset,evolution,select]"
    settings = ["+distill@select=select", "select.rivals=[small,large]", "select.stand_ins=false", "select.rounds=[1]"]
    lines = []
    for side in ("small", "large"):
        where = [f"evolver.name={side}", f"artifacts={tmp_path}/artifacts", "metric=[]", "dataset.limit=20", steps]
        run(cfg("+experiment=smoke", *sides, *settings, *where), tmp_path / side)
        made = read_records(artifact(tmp_path / side, "select") / "records.jsonl")
        assert {record.origin.model for record in made} == {side}
        lines.append(sorted((record.origin.seed, record.origin.round) for record in made))
    assert lines[0] == lines[1] and 3 < len(lines[0]) < 20
    again = read_jsonl(tmp_path / "large" / "rivals" / "small" / "steps.jsonl")
    assert all(row["reused"] for row in again)
    # nothing is evolved twice: one artifact per evolver
    assert len(list((tmp_path / "artifacts").glob("evolution-*"))) == 2


def test_files_of_a_step_lie_in_its_artifact(cfg, tmp_path, monkeypatch):
    def call(self, records, models):
        return Made(records, {"notes.txt": ["a\n"]})

    monkeypatch.setattr("evodistill.distill.respond.Respond.__call__", call)
    run(cfg("+experiment=smoke", "dataset.limit=3", "metric=[]", f"artifacts={tmp_path}/artifacts"), tmp_path / "run")
    assert (artifact(tmp_path / "run", "respond") / "notes.txt").read_text() == "a\n"


def test_a_step_that_leaves_nothing_says_which_filter_took_how_many(cfg, tmp_path):
    settings = ["dataset.limit=4", "metric=[]", "+distill@select=select", "select.rounds=[7]"]
    settings += ["steps=[dataset,select,respond]", f"artifacts={tmp_path}/artifacts", "instructions=null"]
    with pytest.raises(RunError, match=r"select left none of 4 records \(outside_rounds 4\); read .*rejects.jsonl"):
        run(cfg("+experiment=smoke", *settings), tmp_path / "run")


def test_throughput_fields_are_no_part_of_the_identity():
    @dataclass(frozen=True)
    class Engine:
        memory: int = 1
        workers: int = field(default=2, metadata={"identity": False})

    assert config.identity([Engine(workers=2)]) == config.identity([Engine(workers=8)])
    assert config.identity(Engine(memory=1)) != config.identity(Engine(memory=2))
