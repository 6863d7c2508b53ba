"""A study in W&B: what is sent is told apart from what W&B makes of it, so no network is needed."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.study import finish
from evodistill import RunError
from evodistill.pipeline import run
from evodistill.tracker import study
from evodistill.tracker.wandb import Wandb
from evodistill.tracker.workspace import workspace


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A study of two jobs with its tables, and the runs that a tracker would have left beside them."""
    from hydra import compose, initialize_config_dir
    from repository import ROOT

    folder = tmp_path_factory.mktemp("runs") / "time"
    for evolver, number in (("fake", 0), ("fake-large", 1)):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            words = ("+experiment=smoke", "dataset.limit=6", "evolution.rounds=2", f"evolver.name={evolver}")
            cfg = compose("config", [*words, f"artifacts={folder}/artifacts", "metric=[complexity_score]"])
        cfg.study = "s"  # as the override it would name a group
        run(cfg, folder / f"smoke-{number}")
        (folder / f"smoke-{number}" / "wandb" / f"offline-run-20260101_000000-id{number}").mkdir(parents=True)
    finish(folder)
    return folder


class Fake(SimpleNamespace):
    def __init__(self, offline: bool) -> None:
        super().__init__(offline=offline, used=[], artifacts=[], logged={}, ended=False)

    def use_artifact(self, name: str) -> None:
        if name.startswith("results-id9"):
            raise ValueError("artifact membership not found")
        self.used.append(name)

    def log_artifact(self, artifact) -> None:
        self.artifacts.append(artifact)

    def log(self, panels) -> None:
        self.logged |= panels

    def finish(self) -> None:
        self.ended = True


@pytest.mark.parametrize("offline", [False, True])
def test_tables_figures_and_report_are_one_artifact_made_of_the_jobs(ended, monkeypatch, offline):
    sent = Fake(offline)
    monkeypatch.setattr(Wandb, "open", lambda self, *told: sent)
    study.mirror(ended, Wandb())
    [artifact] = sent.artifacts
    files = set(artifact.manifest.entries)
    assert {"results.csv", "comparison.csv", "report.html", "figures/score_by_round.pdf"} <= files
    assert artifact.name == "comparison-s" and artifact.metadata["jobs"] == {"smoke-0": "id0", "smoke-1": "id1"}
    assert sent.used == ([] if offline else ["results-id0:latest", "results-id1:latest"])  # offline W&B cannot
    assert {"comparison", "results", "report", "figures/score_by_round"} <= set(sent.logged)
    assert sent.ended


def test_a_job_that_was_not_pushed_is_said(monkeypatch):
    sent = Fake(offline=False)
    with pytest.raises(RunError, match="push the jobs"):
        study.made_of(sent, ["id9"])


def test_a_folder_without_tables_is_said(tmp_path):
    with pytest.raises(RunError, match=r"holds no results.csv: python -m analysis.study"):
        study.mirror(tmp_path, Wandb())


def test_offline_it_is_written_beside_the_jobs_and_found_by_sync(ended, monkeypatch):
    from evodistill.tracker import sync

    monkeypatch.setenv("WANDB_MODE", "offline")
    before = sync.offline(ended)
    study.mirror(ended, Wandb())
    [made] = set(sync.offline(ended)) - set(before)
    assert made.parent.parent == ended
    deadline = time.monotonic() + 120  # W&B's own process writes it, in its own time on a busy machine
    while (size := sum(file.stat().st_size for file in made.glob("*.wandb"))) <= 1000 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert size > 1000


def test_the_layout_shows_one_study_by_evolver(ended):
    view = workspace(ended, "team")._to_model().model_dump(by_alias=True)
    told = json.dumps(view, default=str)
    assert (view["entity"], view["project"], view["displayName"]) == ("team", "evodistill", "study s")
    names = [section["name"] for section in view["spec"]["section"]["panelBankConfig"]["sections"]]
    assert names == ["Comparison", "Last round", "By round", "Rejects", "Records", "Cost"]  # nothing was trained
    for key in ("complexity_score/round 2", "complexity_score/mean", "steps/evolution/seconds", "records/rejected"):
        assert key in told
    assert '"value": "s"' in told and "choices.value.evolver" in told


def test_the_keys_of_the_layout_are_those_that_the_tracker_sends(ended, tmp_path):
    """A panel of a key that nobody logs stays empty for ever."""
    sent = Fake(offline=True)
    sent.summary = {}
    sent.id = "x"
    keys = set()
    sent.log = lambda values: keys.update(values)
    tracker = Wandb()
    tracker.run = sent
    job = ended / "smoke-0"
    for line in (job / "steps.jsonl").read_text().splitlines():
        tracker.step(json.loads(line))
    tracker.finish(json.loads((job / "metrics.json").read_text()), job)
    for section in workspace(ended, "team").sections:
        for panel in section.panels:
            told = [*getattr(panel, "y", []), *getattr(panel, "metrics", [])]
            for key in (str(getattr(one, "name", one)) for one in told):
                assert key in keys | set(sent.summary), key


def test_a_folder_without_jobs_has_no_layout(tmp_path: Path):
    with pytest.raises(RunError, match="holds no completed job"):
        workspace(tmp_path, "team")


def test_a_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["study", str(tmp_path / "nope")])
    with pytest.raises(SystemExit, match=r"error: .*nope: no such folder; name that of a study"):
        study.main()
