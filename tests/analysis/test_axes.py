"""What a study sweeps over beside models and data: temperatures, shares, rounds, selections."""

from pathlib import Path

import pytest
import yaml
from job_folders import score, write_job

from analysis.axes import factor, seen, settings
from analysis.jobs import read_jobs
from analysis.load import load
from analysis.report import question, report
from plots import iterations, scaling, win_rate


def job(folder: Path, *overrides: str, scores=None, config=None, **facts) -> None:
    write_job(folder, scores=scores or {}, **facts)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if config:
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))


def asked(value: float, metric: str = "tuned/gsm8k", items: int = 8, label: str | None = None) -> dict:
    rows = [score(f"item{k}", 0, value, metric, label) | {"operation": "benchmark"} for k in range(items)]
    return {"bench": rows}


def test_a_setting_is_what_differs_and_is_no_fact(tmp_path: Path):
    same = ("+experiment=x", "evolution.rounds=1", "+suite=tiny")
    for number, (evolver, heat) in enumerate([("a-1b", 0), ("b-2b", 0), ("a-1b", 0.7), ("b-2b", 0.7)]):
        heated = f"evolution.sampling.temperature={heat}"
        words = [*same, f"model@evolver={evolver}", heated, f"tracker.records={number}"]
        job(tmp_path / str(number), *words, evolver=evolver)
    jobs = read_jobs(tmp_path)
    told = [one.facts["setting"] for one in jobs]
    assert told == ["temperature=0", "temperature=0", "temperature=0.7", "temperature=0.7"]
    assert factor(jobs) == "evolver"
    assert seen(jobs, "evolver")[2].facts["evolution"] == "evol_instruct, temperature=0.7"
    assert seen(jobs, "evolver")[2].facts["evolver"] == "a-1b"


def test_keys_of_one_last_name_are_told_whole(tmp_path: Path):
    for number in (1, 2):
        job(tmp_path / str(number), f"respond.sampling.max_tokens={number}", f"evolution.sampling.max_tokens={number}")
    assert settings(read_jobs(tmp_path))[0] == "respond.sampling.max_tokens=1, evolution.sampling.max_tokens=1"


ADDRESSES = [("backend@evolver=api", f"evolver.base_url=http://{host}:8000/v1") for host in "ab"]


@pytest.mark.parametrize(
    "words",
    [
        [("evolver.name=a-1b", "evolver.path=/models/a"), ("evolver.name=b-2b", "evolver.path=/models/b")],
        [(), ("+evolver.extra_body.top_k=1", "evolver.engine={concurrency: 4}")],
        [("metric=[m,ifd]", "benchmark=[]"), ("metric=[m]", "benchmark=[ifeval]", "benchmarked=[tuned]")],
        [("tracker=none",), ("tracker=wandb",)],
        [*ADDRESSES],
        [("judge.base_url=http://a:8000/v1",), ("judge.base_url=http://b:8000/v1",)],
    ],
    ids=["path", "body", "measured", "tracker", "address", "judge"],
)
def test_what_belongs_to_a_model_or_to_what_is_measured_keeps_no_evolvers_apart(tmp_path: Path, words):
    for number, (evolver, given) in enumerate(zip(("a-1b", "b-2b"), words, strict=True)):
        rows = {"m": [score(f"s{k}", 1, k - number, "m") for k in range(8)]}
        job(tmp_path / str(number), f"model@evolver={evolver}", *given, scores=rows, evolver=evolver)
    job(tmp_path / "2", "evolver.path=/models/c", status="failed", evolver="")  # died before it could say its name
    [row] = load(tmp_path).comparison.itertuples(index=False)
    assert (row.a, row.b, row.n_pairs, row.diff, row.evolution) == ("a-1b", "b-2b", 8, 1, "evol_instruct")


def test_two_models_of_one_name_are_two_settings(tmp_path: Path):
    for number in (1, 2):
        rows = {"m": [score(f"s{k}", 1, k * number, "m") for k in range(8)]}
        job(tmp_path / str(number), f"evolver.path=/checkpoint-{number}", scores=rows)
    assert load(tmp_path).levels == ["path=/checkpoint-1", "path=/checkpoint-2"]
    job(tmp_path / "3", "evolver.path=/other", evolver="b-2b")
    assert [one.facts["setting"] for one in read_jobs(tmp_path)][:2] == ["path=/checkpoint-1", "path=/checkpoint-2"]


def test_a_job_without_an_evolver_is_in_no_comparison_and_named(tmp_path: Path):
    for number, evolver in enumerate(("a-1b", "b-2b", "")):
        rows = {"m": [score(f"s{k}", 1, k, "m") for k in range(8)]}
        job(tmp_path / str(number), scores=rows, evolver=evolver)
    study = load(tmp_path)
    assert study.levels == ["a-1b", "b-2b"] and "job 2 names no evolver: it is in no comparison" in study.warnings


def test_evolvers_are_compared_within_each_setting_and_student(tmp_path: Path):
    """Table 12: a difference at one temperature is not averaged away by another."""
    number = 0
    for heat, plus in ((0, 1), (0.7, -1)):
        for student in ("s-1b", "s-2b"):
            for evolver, here in (("a-1b", plus), ("b-2b", 0)):
                rows = {"m": [score(f"s{k}", 1, k + here, "m") for k in range(8)]}
                facts = {"evolver": evolver, "student": student}
                job(tmp_path / str(number), f"evolution.sampling.temperature={heat}", scores=rows, **facts)
                number += 1
    table = load(tmp_path).comparison.set_index("evolution")["diff"]
    assert table.to_dict() == {
        f"evol_instruct, {student}, temperature={heat}": sign
        for heat, sign in ((0, 1), (0.7, -1))
        for student in ("s-1b", "s-2b")
    }


def test_settings_of_one_evolver_are_compared_with_each_other(tmp_path: Path):
    """Table 5: five selections from the data of one evolver."""
    for name, value in (("ifd", 0), ("ic_ifd", 1)):
        job(tmp_path / name, f"selection@select={name}", scores=asked(value))
    study = load(tmp_path)
    [row] = study.comparison.itertuples(index=False)
    assert (row.a, row.b, row.diff, row.n_pairs) == ("selection=ic_ifd", "selection=ifd", 1, 8)
    assert question(study) == "Which setting scores higher: selection=ic_ifd or selection=ifd?"
    assert list(study.results["evolver"].unique()) == ["small-1b"]  # the csv holds the facts
    text = report(tmp_path, study).read_text(encoding="utf-8")
    assert "Of 1 comparison of benchmarks, selection=ic_ifd scores higher in 1." in text
    assert "round 0" not in text.split('id="records"')[0]


def test_benchmarks_by_round_of_their_training_are_drawn(tmp_path: Path):
    """Figure 1"""
    for number in (1, 2, 3):
        for evolver in ("a-1b", "b-2b"):
            folder, config = tmp_path / f"{number}{evolver}", {"select": {"rounds": [number]}}
            word = f"select.rounds=[{number}]"
            job(folder, word, scores=asked(number / 4), config=config, evolver=evolver, student="s-1b")
    study = load(tmp_path)
    table = iterations.of(study)
    assert table.query("evolver == 'a-1b'")[["x", "metric", "value"]].to_numpy().tolist() == [
        [1, "GSM8K", 25.0],
        [2, "GSM8K", 50.0],
        [3, "GSM8K", 75.0],
    ]
    assert not len(scaling.of(study))


def test_benchmarks_by_student_are_drawn_small_to_large_and_seeds_are_one_point(tmp_path: Path):
    """Figure 3"""
    for student, values in (("q-7b", (1, 1)), ("q-0.5b", (0, 1))):
        for seed, value in enumerate(values):
            job(tmp_path / f"{student}{seed}", scores=asked(value), student=student, seed=seed)
    table = scaling.of(load(tmp_path))
    assert list(table["x"]) == ["q-0.5b", "q-7b"]
    assert list(table["value"]) == [50, 100]
    assert table.iloc[0][["ci_low", "ci_high"]].tolist() == [0, 100]  # of two runs that differ nothing is known
    assert scaling.draw(table).axes[0].get_xlabel() == "size of the student"


@pytest.mark.parametrize("fact", ["dataset", "evolution", "teacher", "judge"])
def test_a_point_is_of_one_thing_but_for_random_seeds(tmp_path: Path, fact):
    """Ten and ninety percent with two methods are no fifty percent ± 50 of one."""
    for level, of_small in (("x", 0), ("y", 1)):
        for evolver, value in (("a-1b", of_small), ("b-2b", 0)):
            job(tmp_path / f"{level}{evolver}", scores=asked(value), evolver=evolver, student="s-1b", **{fact: level})
    table = scaling.of(load(tmp_path))
    small = table[table["evolver"] == "a-1b"].set_index("metric")["value"]
    assert small.to_dict() == {"GSM8K · x": 0, "GSM8K · y": 100}


def test_methods_of_one_evolver_are_lines(tmp_path: Path):
    for method, value in (("evol_instruct", 0), ("auto_evol", 1)):
        job(tmp_path / method, scores=asked(value), evolution=method, student="s-1b")
    table = scaling.of(load(tmp_path))
    assert table.set_index(["evolver", "metric"])["value"].to_dict() == {
        ("evol_instruct", "GSM8K"): 0,
        ("auto_evol", "GSM8K"): 100,
    }


def test_students_by_round_have_a_panel_each(tmp_path: Path):
    """Nor does a temperature vanish into a point."""
    for number in (1, 2):
        for student, heat in (("s-1b", 0), ("s-7b", 0), ("s-7b", 0.7)):
            words = (f"select.rounds=[{number}]", f"evolution.sampling.temperature={heat}")
            config, value = {"select": {"rounds": [number]}}, float(heat > 0)
            job(tmp_path / f"{number}{student}{heat}", *words, scores=asked(value), config=config, student=student)
    table = iterations.of(load(tmp_path))
    assert table.groupby("metric", sort=False)["value"].agg(list).to_dict() == {
        "GSM8K · s-1b, temperature=0": [0, 0],
        "GSM8K · s-7b, temperature=0": [0, 0],
        "GSM8K · s-7b, temperature=0.7": [100, 100],
    }


def test_win_rates_have_a_bar_for_each_setting(tmp_path: Path):
    """Figures 6 and 7: bars are shares, one evolver."""
    for keep, label in ((0.05, "win"), (0.1, "lose")):
        rows = asked(float(label == "win"), "tuned/win_rate", 3, label)
        job(tmp_path / str(keep), f"select.keep={keep}", scores=rows, student="s-1b")
    table = win_rate.of(load(tmp_path))
    assert table.to_numpy().tolist() == [["s-1b", "keep=0.05", "win", 3, 1], ["s-1b", "keep=0.1", "lose", 3, 1]]
    spans = [segment for lines in win_rate.draw(table).axes[0].collections for segment in lines.get_segments()]
    ends = {(round(float(low), 2), round(float(high), 2)) for (low, y), (high, z) in spans if y == z}
    assert ends == {(1.32, 3), (0, 1.68)}  # Wilson of 3 and of 0 of 3


@pytest.mark.parametrize("students", [("s-1b",), ("s-1b", "s-2b")])
@pytest.mark.parametrize("asks", [("student", "tuned"), ("tuned",)])
def test_the_model_that_was_asked_is_named_where_there_are_several(tmp_path: Path, asks, students):
    """One student before and after its training: side by side in a panel; several students: a panel each way."""
    for evolver in ("a-1b", "b-2b"):
        for student in students:
            rows = [row for role in asks for row in asked(1, f"{role}/gsm8k")["bench"]]
            job(tmp_path / f"{evolver}{student}", scores={"bench": rows}, evolver=evolver, student=student)
    table = scaling.of(load(tmp_path))
    one = len(students) == 1 and len(asks) > 1
    assert list(dict.fromkeys(table["x"])) == list(asks if one else students)
    several = len(students) > 1 and len(asks) > 1
    assert set(table["metric"]) == ({"GSM8K (student)", "GSM8K (tuned)"} if several else {"GSM8K"})


def test_one_evolver_and_several_models_is_a_question_about_the_models(tmp_path: Path):
    """Trained in stages, each asked: which is better is what the report begins with."""
    values = {"student": 0, "tuned": 1, "preferred": 1}
    rows = [row for role, value in values.items() for row in asked(value, f"{role}/ifeval_prompt_strict")["bench"]]
    job(tmp_path / "0", scores={"bench": rows}, student="s-1b")
    study = load(tmp_path)
    text = report(tmp_path, study).read_text(encoding="utf-8")
    assert "Which model scores higher: student, tuned or preferred?" in text
    assert text.index('id="answer"') < text.index("tuned scores higher in 1") < text.index('id="models"')
    table = scaling.of(study)
    assert list(dict.fromkeys(table["x"])) == list(values)
    assert {line.get_linestyle() for line in scaling.draw(table).axes[0].lines if len(line.get_xdata()) == 3} == {
        "None"
    }
