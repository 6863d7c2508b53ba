import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from job_folders import score, write_job

from analysis.load import load
from analysis.report import figures, report, tally
from analysis.sample import lineages, rejects, unparsed
from evodistill.record import Record


class Page(HTMLParser):
    """Tags and attributes of a page, and whether every tag that was opened was closed."""

    VOID = frozenset({"meta", "img", "br", "input", "rect", "line", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"


def read(folder: Path) -> str:
    return report(folder).read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_answers_first(pair: Path):
    text = read(pair)
    page = Page(text)
    assert not page.open
    assert "Who wrote the harder instructions: small-1b or large-70b?" in text
    assert text.index('id="answer"') < text.index('id="figures"') < text.index('id="comparison"')
    assert "+3 [" not in text.split('id="comparison"')[0]  # round 1 is not the last round
    assert "Cannot tell: in 1 comparison of difficulty" in text


def test_a_study_without_a_measure_of_difficulty_does_not_ask_for_it(tmp_path: Path):
    for level, plus in (("small-1b", 1), ("big-7b", 0)):
        write_job(tmp_path / level, level, {"reward": [score(f"s{k}", 1, k + plus, "reward") for k in range(8)]})
    text = read(tmp_path)
    assert "Whose instructions score higher: small-1b or big-7b?" in text
    assert "Of 1 comparison in the last round, small-1b scores higher in 1." in text


def test_the_page_loads_nothing_and_runs_one_script_by_its_hash(pair: Path):
    text = read(pair)
    tags = Page(text).tags
    assert not {tag for tag, _ in tags} & {"link", "iframe", "object", "base", "form"}
    run = [attrs for tag, attrs in tags if tag == "script" and attrs.get("type") != "application/json"]
    assert run == [{}]
    body = text.rsplit("<script>", 1)[1].split("</script>")[0]
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in text
    sources = [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import", text.split("</style>")[0])


def test_text_from_data_shows_as_text(pair: Path):
    evil = "<script>alert(1)</script>"
    write_job(
        pair / "2",
        f"x{evil}-3b",
        {"m": [score(evil, 1, None, "m") | {"raw": evil, "reason": evil}]},
        dataset=evil,
        judge=evil,
    )
    status = json.loads((pair / "1" / "status.json").read_text())
    (pair / "3").mkdir()
    (pair / "3" / "status.json").write_text(json.dumps(status | {"run": "3", "status": "failed", "error": evil}))
    (pair / "2" / ".hydra" / "overrides.yaml").write_text(json.dumps([evil]))
    text = read(pair)
    assert len(re.findall("<script", text, re.I)) == 2  # the rows as JSON, and the one script that the policy names
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert "&lt;b&gt;raw&lt;/b&gt;" in text


def test_figures_are_inlined_as_svg_and_never_empty(pair: Path):
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]+)"', read(pair))
    assert len(images) == 1  # only the means: no classes and no IFD were measured
    for data, alt in images:
        assert b"<svg" in base64.b64decode(data)
        assert len(alt) > 20


def test_rejects_unparsed_and_cost_are_shown(pair: Path):
    write_job(pair / "2", "large-70b", {"m": [score("s1", 1, None, "m")]})
    text = read(pair)
    assert re.search(r"<td>echo</td><td class=\"num\">1 \(16\.7 %\)</td>", text)
    assert "I would say it is rather hard" in text
    assert re.search(r"1 \(100\.0 %\)", text)  # the unparsed share
    assert "2,468" in text  # prompt tokens of both jobs


def test_dollars_are_summed_where_any_were_paid(pair: Path):
    assert "USD" not in read(pair).split('id="cost"')[1]
    for name, usd in (("0", 0.25), ("1", 1.5)):
        rows = [json.loads(line) for line in (pair / name / "steps.jsonl").read_text().splitlines()]
        (pair / name / "steps.jsonl").write_text("".join(json.dumps(row | {"usd": usd}) + "\n" for row in rows))
    section = read(pair).split('id="cost"')[1].split("</section>")[0]
    assert '<th class="num">USD</th>' in section and '<td class="num">1.75</td>' in section


def test_what_each_step_leaves_is_told_of_every_evolver(pair: Path):
    """Of jobs that failed too: a filter that left nothing is where one looks"""
    lines = {
        "0": [("dataset", 0, 3, 3, {}), ("evolution", 3, 3, 4, {"copied": 2})],
        "1": [("dataset", 0, 3, 3, {}), ("evolution", 3, 3, 1, {"copied": 4, "leaked": 1}), ("rate", 1, 0, 1, {})],
    }
    for name, rows in lines.items():
        keys = ("step", "in", "made", "out", "reasons")
        steps = [dict(zip(keys, row, strict=True)) | {"path": "nowhere"} for row in rows]
        (pair / name / "steps.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (pair / "1" / "scores" / "rate.jsonl").write_text("")  # a metric's
    status = json.loads((pair / "1" / "status.json").read_text())
    (pair / "1" / "status.json").write_text(json.dumps(status | {"status": "failed", "error": "evolution left little"}))
    section = read(pair).split('id="steps"')[1].split("</section>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in section.split("<tbody>")[1].split("<tr>")[1:]]
    assert cells == [
        ["dataset", "3 of 3", "", "3 of 3", ""],
        ["evolution", "4 of 6", "copied 2", "1 of 6", "copied 4, leaked 1"],
    ]


def test_a_failed_job_is_shown_with_its_error(pair: Path):
    write_job(pair / "2", "small-1b", status="failed", error="no server at http://x; start one")
    text = read(pair)
    assert "no server at http://x; start one" in text
    assert "1 of 3 jobs are not completed" in text


def test_a_single_run_has_a_report_without_a_comparison(tmp_path: Path):
    write_job(tmp_path, scores={"complexity_score": [score("s1", 1, 4)]})
    text = read(tmp_path)
    assert "What did small-1b make of the seeds?" in text
    assert 'id="comparison"' not in text
    assert "difficulty score" in text


def test_a_report_of_zero_records(tmp_path: Path):
    for level in ("a-1b", "b-2b"):
        write_job(tmp_path / level, level)
    text = read(tmp_path)
    assert not Page(text).open
    assert "There is no answer: no completed job has scored evolved records." in text
    assert "No records to show" in text


def test_records_are_paired_by_seed_with_what_was_rejected(pair: Path):
    study = load(pair)
    lines = lineages(study, 8)
    assert len(lines) == 5
    for line in lines:
        assert set(line.sides) == {"small-1b", "large-70b"}
        for level, records in line.sides.items():
            assert {record["seed"] for record in records} == {line.seed["seed"]}
            assert records[0]["instruction"].endswith(f"by {level}")
            assert records[0]["scores"][0][0] == "complexity_score"
    [first] = [line for line in lines if line.seed["seed"] == "s1"]
    assert [record["reason"] for record in first.sides["small-1b"]] == ["", "echo"]


def test_samples_are_seeded_bounded_and_counted(tmp_path: Path):
    seed = Record.seed("Say hello")
    lost = [seed.child(f"Say {number}", round=1).reject("odd") for number in range(50)]
    rows = [score(f"s{number}", 1, None, "m") for number in range(40)]
    write_job(tmp_path, scores={"m": rows}, records=[seed], rejects=lost)
    study = load(tmp_path)
    shown, total = rejects(study, 7)
    assert (len(shown), total) == (7, 50)
    assert shown == rejects(load(tmp_path), 7)[0]
    assert len({row["instruction"] for row in shown}) == 7
    shown, total = unparsed(study, 6)
    assert (len(shown), total) == (6, 40)


def test_artifact_paths_are_found_from_another_directory(pair: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    steps = pair / "0" / "steps.jsonl"
    steps.write_text(json.dumps({"step": "evolution", "path": "sweep/artifact-0"}) + "\n")
    (pair / "0" / ".hydra" / "hydra.yaml").write_text(f"hydra:\n  runtime:\n    cwd: {tmp_path}\n")
    monkeypatch.chdir("/")
    assert any(line.sides["small-1b"] for line in lineages(load(pair), 2))


def test_the_command_to_repeat_the_sweep_is_there(pair: Path):
    overrides = {"task": ["+experiment=x", "model@evolver=small-1b,large-70b"], "hydra": ["hydra.mode=MULTIRUN"]}
    (pair / "multirun.yaml").write_text(json.dumps({"hydra": {"overrides": overrides}}))
    assert "python run.py -m +experiment=x model@evolver=small-1b,large-70b" in read(pair)


def test_only_measured_figures_are_drawn(pair: Path):
    assert list(figures(load(pair))) == ["score_by_round"]
    write_job(pair / "2", "small-1b", {"complexity_rate": [score("s1", 1, 4, "complexity_rate", "hard")]})
    write_job(pair / "3", "small-1b", {"ifd": [score("s1", 1, 0.8, "ifd")]})
    assert list(figures(load(pair))) == ["difficulty", "score_by_round", "ifd_distribution"]


def test_the_tally_says_how_many_hold(tmp_path: Path):
    for level, plus in (("small-1b", 1), ("large-70b", 0)):
        rows = {
            name: [score(f"s{k}", 1, k + plus * k, name) for k in range(1, 7)] for name in ("complexity_score", "m")
        }
        write_job(tmp_path / level, level, rows)
    rows = list(load(tmp_path).comparison.itertuples(index=False))
    assert tally(rows) == (
        "Of 1 comparison of difficulty in the last round, small-1b scores higher in 1. "
        "0 of the 1 decided hold after correction."
    )


def test_damaged_and_older_files_cost_themselves_only(pair: Path):
    """A torn line of records, a record without a round, a torn manifest, a step and a score of another version."""
    artifact = pair / "artifact-0"
    records = (artifact / "records.jsonl").read_text().splitlines()
    odd = json.loads(records[1])
    del odd["round"]
    (artifact / "records.jsonl").write_text("\n".join([records[0][:40], json.dumps(odd), *records[2:], "7"]) + "\n")
    (artifact / "rejects.jsonl").write_text('{"id": "x"}\n[1]\n')
    (artifact / "manifest.json").write_text('{"step": ')
    with (pair / "0" / "steps.jsonl").open("a") as file:
        file.write('{"step": "respond"}\n')
    lost = score("s1", 1, None, "m")
    del lost["raw"]
    write_job(pair / "2", "small-1b", {"m": [lost]})
    text = read(pair)
    assert "artifact-0/records.jsonl: 3 of the 11 lines drawn for the report cannot be read" in text
    assert "artifact-0/rejects.jsonl: 2 of the 2 lines drawn" in text
    assert "step evolution: manifest.json is not JSON" in text
    assert "job 0: steps.jsonl: 1 lines lack one of step, path" in text
    assert "Seed 2, harder, by small-1b" in text  # the rest is there


def test_versions_are_those_of_the_run(pair: Path):
    """… of the first job; the others are named where they differ"""
    assert "Installed where this report was made: evodistill" in read(pair)  # an older folder
    for job, torch in (("0", "2.9.1"), ("1", "2.10.0")):
        status = json.loads((pair / job / "status.json").read_text())
        told = {"version": "0.0.9", "commit": "6eec536a1b2c3d4e5f", "dirty": True, "python": "3.11.0"}
        (pair / job / "status.json").write_text(json.dumps(status | told | {"packages": {"torch": torch}}))
    text = read(pair)
    assert "Job 0 was made with: evodistill 0.0.9 (6eec536a1b2c, changed), Python 3.11.0, torch 2.9.1." in text
    assert "Made with other versions, as their status.json says: 1." in text
    (pair / "1" / "status.json").write_bytes((pair / "0" / "status.json").read_bytes())
    assert "other versions" not in read(pair)
