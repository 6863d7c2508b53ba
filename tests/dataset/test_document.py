import json
import tomllib
from pathlib import Path

import pytest
from repository import FAKES, ROOT

from evodistill import RunError
from evodistill.dataset.document import Document
from evodistill.document import PAGE
from evodistill.pipeline import run
from evodistill.record import read_jsonl

TEXT = "The village has a harbour and a church, and its people have fished there since 1821. "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "papers"
    (place / "deep").mkdir(parents=True)
    (place / "a.txt").write_text(TEXT * 4 + "\f" + TEXT * 3)
    (place / "deep" / "b.md").write_text("# Title\n\n" + TEXT * 5)
    (place / "same.txt").write_text(TEXT * 4 + "\f" + TEXT * 3)
    (place / "junk.txt").write_bytes(bytes(range(256)))
    (place / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    return place


def test_a_document_is_a_record_and_each_failure_has_its_reason(folder, caplog):
    """N4, N9: a fresh run on a folder, one bad file does not stop it"""
    caplog.set_level("INFO")
    records = Document(path=str(folder), workers=1)([], {})
    told = {record.extra["document"]: record.fault.reason if record.fault else "" for record in records}
    assert told == {"a.txt": "", "b.md": "", "same.txt": "duplicate", "junk.txt": "binary", "broken.pdf": "damaged"}
    assert "2 rows taken, 0 outside limit or shard, 0 left out by filters, 2 malformed, 1 duplicate" in caplog.text
    assert "binary row, rejected" in caplog.text and "limits left out" not in caplog.text
    (first, *_) = records
    assert first.input.split(PAGE) == [TEXT * 4, TEXT * 3] and first.extra["n_pages"] == 2


def test_files_folders_globs_and_lists_are_taken(folder):
    for path in (str(folder / "a.txt"), str(folder / "a*"), [str(folder / "a.txt")]):
        assert len(Document(path=path)([], {})) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [(None, "dataset=document needs a file: path=paper.pdf"), ("nowhere.pdf", "nowhere.pdf: no such file or folder")],
)
def test_a_missing_path_is_one_line_with_the_cure(path, message):
    with pytest.raises(RunError, match=message):
        Document(path=path)([], {})


def test_what_limits_leave_out_is_said(folder, caplog):
    """N3"""
    settings = {"max_chars": 100, "max_pages": None}
    from evodistill.document.extract import Limits

    Document(path=str(folder / "a.txt"), limits=Limits(**settings))([], {})
    assert "limits left out 1 of 2 pages" in caplog.text


def test_from_files_to_seeds_nothing_is_lost(cfg, folder, tmp_path):
    """N4, S3, S6; S7: non-ASCII text is written as it is"""
    (folder / "c.txt").write_text(
        "Ein Dörfchen an der Küste lebt seit 1821 vom Fischfang und vom Handel mit Salz. " * 4
    )
    settings = [f"path={folder}", f"artifacts={tmp_path}/artifacts", "dataset.workers=1", "quality.min_chars=100"]
    steps = "steps=[dataset,clean,chunk,llm_clean,quality,seed_instructions]"
    run(cfg("+experiment=document_seeds", *FAKES, *settings, steps, "metric=[length]"), tmp_path / "run")
    rows = {row["step"]: row for row in read_jsonl(tmp_path / "run" / "steps.jsonl")}
    for row in rows.values():
        assert row["in"] + row["made"] == row["out"] + row["rejected"]
    made = Path(rows["seed_instructions"]["path"])
    assert all({"document", "pages", "start", "end"} <= set(row["extra"]) for row in read_jsonl(made / "records.jsonl"))
    assert "Dörfchen" in (made / "records.jsonl").read_text() + (made / "rejects.jsonl").read_text()
    assert (Path(rows["llm_clean"]["path"]) / "a.txt.clean.txt").read_text().startswith("The village has a harbour")


def test_the_notebooks_settings_are_a_preset(cfg, folder, tmp_path):
    settings = [f"path={folder / 'a.txt'}", f"artifacts={tmp_path}/artifacts", "metric=[]"]
    composed = cfg("+experiment=document_seeds", "+document_preset=notebook", *FAKES, *settings)
    assert (composed.dataset.limits.max_chars, composed.chunk.size, composed.chunk.by) == (100_000, 1000, "words")
    sampling = composed.llm_clean.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.7, 0.9, 512)
    run(composed, tmp_path / "run")
    (row,) = [row for row in read_jsonl(tmp_path / "run" / "steps.jsonl") if row["step"] == "llm_clean"]
    text = (Path(row["path"]) / "a.txt.clean.txt").read_text()
    assert "".join(text.split()) == "".join((TEXT * 7).split())
    assert json.loads((Path(row["path"]) / "cleaning.json").read_text())


def test_no_dependency_is_agpl():
    """S7"""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*told["dependencies"], *(name for extra in told["optional-dependencies"].values() for name in extra)]
    assert not [name for name in named if name.lower().startswith(("pymupdf", "fitz"))]
