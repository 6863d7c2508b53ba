"""Hub datasets, through the real `datasets` library on a local folder; the network is never touched."""

import json

import datasets
import huggingface_hub
import pytest

from evodistill import RunError
from evodistill.dataset.hub import Hub

SETTINGS = {
    "subset": None,
    "file": None,
    "split": "train",
    "revision": "main",
    "path": None,
    "columns": {"instruction": "question", "input": None, "output": "answer"},
    "keep_extra": True,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "org" / "sums"
    folder.mkdir(parents=True)
    rows = [
        {"question": "1 + 1?", "answer": "2", "day": "2024-02-29"},
        {"question": "2 + 2?", "answer": None, "day": None},
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_rows_of_a_hub_dataset_become_seeds(folder):
    first, second = Hub(id=str(folder), **SETTINGS)([], {})
    assert (first.instruction, first.output, second.output) == ("1 + 1?", "2", "")
    assert second.extra == {"day": None}
    json.dumps(dict(first.extra))  # typed columns become JSON


def test_hub_rows_have_the_ids_of_the_local_file(folder):
    hub = Hub(id=str(folder), **SETTINGS)([], {})
    local = Hub(id="org/elsewhere", **{**SETTINGS, "path": str(folder / "train.jsonl")})([], {})
    assert [record.id for record in hub] == [record.id for record in local]


def test_source_is_id_and_revision_or_the_local_file(folder):
    assert Hub(id="org/sums", **{**SETTINGS, "revision": "abc"}).sources == ("hub:org/sums@abc",)
    [source] = Hub(id="org/sums", **{**SETTINGS, "path": str(folder / "train.jsonl")}).sources
    assert source.startswith("sha256:")


def test_unreachable_hub_is_an_error_that_says_where_to_get_the_file():
    with pytest.raises(RunError) as error:
        Hub(id="org/absent", **SETTINGS)([], {})
    assert "dataset.path=FILE" in str(error.value)
    assert "https://huggingface.co/datasets/org/absent" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"split": "misspelt"}, {"subset": "misspelt"}, {"file": "misspelt.jsonl"}])
def test_wrong_split_subset_or_file_is_an_error(folder, change):
    with pytest.raises(RunError, match="cannot load"):
        Hub(id=str(folder), **{**SETTINGS, **change})([], {})


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch, caplog):
    """The library would ask six times, over half a minute, and warn each time"""
    asked = []

    def dead(self, repo, **given):
        asked.append((repo, given["repo_type"], given["revision"]))
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", dead)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(RunError, match=r"cannot load org/absent from the hub \(Name or service not known\)"):
        Hub(id="org/absent", **SETTINGS)([], {})
    assert asked == [("org/absent", "dataset", "main")] and "Retrying" not in caplog.text
    assert not datasets.config.HF_HUB_OFFLINE and not huggingface_hub.constants.HF_HUB_OFFLINE


def test_neither_id_nor_path_is_an_error():
    dataset = Hub(id=None, **SETTINGS)
    for act in (lambda: dataset([], {}), lambda: dataset.sources):
        with pytest.raises(RunError, match=r"dataset\.id is not set"):
            act()


def test_wrong_column_of_a_hub_dataset_lists_its_columns(folder):
    columns = {"instruction": "prompt", "input": None, "output": "answer"}
    with pytest.raises(RunError, match=r"no column 'prompt'.*the file has: question, answer, day;"):
        Hub(id=str(folder), **{**SETTINGS, "columns": columns})([], {})
