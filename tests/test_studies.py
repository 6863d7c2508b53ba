"""Every study, full and with +scale=tiny: every value of every axis fits the code, and a job is planned and run."""

import itertools
import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from repository import FAKES, ROOT
from test_config import names, student

from analysis.callback import finish
from evodistill import RunError, estimate
from evodistill.config import check
from evodistill.pipeline import run
from evodistill.plan import Plan
from evodistill.tracker.sweep import axes

OFFLINE = {
    "slm_vs_llm_tiny": [f"benchmark.ifeval.data={ROOT}/src/evodistill/benchmark/tiny/ifeval.jsonl"],
    "metrics_tiny": ["model@optimizer=fake-large"],  # two judges are two models
}
SCALES = {"paper": [], "tiny": ["+scale=tiny"]}


@pytest.fixture
def cfg():
    """Compose, with a Hydra of its own for each call: `axes` needs one too."""

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("config", overrides=list(overrides))

    return composed


def launch(study: str) -> list[str]:
    """The overrides of the command that its file names."""
    told = (ROOT / "conf" / "study" / f"{study}.yaml").read_text()
    found = re.search(rf"python run\.py -m (\+experiment=\w+ \+study={study}\b.*)", told)
    assert found, "the head of a study names its command"
    return found[1].split()


def jobs(study: str, *more: str) -> list[list[str]]:
    """The overrides of each of its jobs."""
    _, swept = axes([*launch(study), *more])
    made = itertools.product(*([f"{key}={value}" for value in values] for key, values in swept.items()))
    return [[*job, *launch(study), *more] for job in made]


def each_value(study: str, *more: str) -> list[list[str]]:
    """As few of its jobs as have every value of every axis at least once."""
    _, swept = axes([*launch(study), *more])
    n = max(map(len, swept.values()))
    made = ([f"{key}={values[number % len(values)]}" for key, values in swept.items()] for number in range(n))
    return [[*job, *launch(study), *more] for job in made]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("study", names("study"))
def test_every_value_of_every_study_fits_the_code(cfg, study, scale):
    assert len(jobs(study, *SCALES[scale])) > 1 or scale == "tiny"
    for job in each_value(study, *SCALES[scale]):
        check(cfg(*job))


@pytest.mark.parametrize("study", names("study"))
def test_tiny_models_and_data_are_named_as_what_they_are(cfg, study):
    """No row of a small run may bear the name of a large model."""
    for job in each_value(study, "+scale=tiny"):
        composed = cfg(*job)
        roles = ("evolver", "teacher", "student", "small", "large")
        sizes = [composed[role].size for role in roles if role not in ("small", "large")]
        assert max(sizes) < 2, job
        assert composed.dataset.get("id") is None


@pytest.mark.parametrize("study", names("study"))
def test_a_tiny_job_of_every_study_can_be_planned_on_fakes(cfg, study):
    planned = Plan(cfg(*jobs(study, "+scale=tiny")[0], *FAKES, "dataset.limit=3", *OFFLINE.get(study, ())))
    assert sum(row.requests for row in planned.rows) > 0
    assert "hours on two CPU cores" in planned.text()


# one study of each pipeline
RUN = ("auto_evol", "autoif", "difficulty", "distilqwen2", "diversity", "evol_instruct_llama", "logprob", "rewards")
RUN += ("selection", "win_rate_ifd")


def trains(study: str) -> bool:
    (experiment,) = re.findall(r"\+experiment=(\w+)", " ".join(launch(study)))
    return "/trainer@" in (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text()


@pytest.mark.parametrize(
    "study", [pytest.param(name, marks=[pytest.mark.slow] if trains(name) else []) for name in RUN]
)
def test_a_tiny_job_runs_on_fakes(cfg, study, tmp_path, request):
    settings = ["tracker=none", "dataset.limit=6", f"artifacts={tmp_path}/artifacts"]
    fakes = [role for role in FAKES if not (trains(study) and role.startswith("model@student"))]
    if trains(study):
        request.getfixturevalue("in_this_process")
        settings += student(tmp_path, asked=False)
    run(cfg(*jobs(study, "+scale=tiny")[0], *fakes, *settings), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("study", ["difficulty", "auto_evol_tiny"])
def test_a_study_can_be_rehearsed_on_a_pair_of_fakes(study):
    """docs/studies.md"""
    _, swept = axes([*launch(study), "+scale=tiny", "model@evolver=fake,fake-large", "model@small=fake"])
    assert list(swept["model@evolver"]) == ["fake", "fake-large"]


def test_work_that_jobs_share_is_counted_once(cfg, tmp_path):
    few = ["+experiment=smoke", "dataset.limit=4", "evolution.rounds=1", "metric=[]"]
    for number, words in enumerate(([], [], ["respond.sampling.max_tokens=9"])):
        planned = Plan(cfg(*few, *words))
        (tmp_path / str(number) / ".hydra").mkdir(parents=True)
        estimate.write(tmp_path / str(number), planned.rows, planned.hardware)
    told = estimate.study(tmp_path)
    assert "the whole study: 3 jobs" in told
    # 4 rewrites once, answers to 8 instructions of two lengths
    assert re.search(r"^in all +20 ", told, re.M), told


def test_a_job_without_a_plan_is_named(cfg, tmp_path):
    planned = Plan(cfg("+experiment=smoke", "dataset.limit=2"))
    for number in range(2):
        (tmp_path / str(number) / ".hydra").mkdir(parents=True)
    estimate.write(tmp_path / "0", planned.rows, planned.hardware)
    told = estimate.study(tmp_path)
    assert "the whole study: 1 of 2 jobs" in told and "WITHOUT what could not be planned (1): see above" in told
    with pytest.raises(RunError, match=r"1 of 2 jobs could not be planned: 1"):
        finish(tmp_path)
    assert estimate.study(tmp_path / "nowhere") == ""


@pytest.mark.parametrize(
    ("size", "rate", "lora"), [("0.5b", 1e-5, False), ("3b", 7e-6, False), ("7b", 7e-6, False), ("72b", 5e-5, True)]
)
def test_a_student_of_the_scaling_study_has_the_recipe_of_its_size(cfg, size, rate, lora):
    """arXiv 2412.11231, table 7"""
    job = next(job for job in jobs("scaling") if f"model@student=qwen25-{size}-base" in job)
    sft = cfg(*job).sft
    assert (sft.args.learning_rate, sft.lora is not None) == (rate, lora)


def test_hours_follow_from_parameters_and_tokens():
    from evodistill.hardware import Hardware

    machine = Hardware("m", flops=1e12, reading=0.5, writing=0.1, training=0.25)
    # 2 × 1e9 × 9e5 / 5e11 = 3,600 s; 2 × 1e9 × 1.8e5 / 1e11 = 3,600 s; 6 × 1e9 × 1.5e5 / 2.5e11 = 3,600 s
    assert machine.hours(1, read=9e5) == pytest.approx(1)
    assert machine.hours(1, written=1.8e5) == pytest.approx(1)
    assert machine.hours(1, learned=1.5e5) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"writing must be in \(0, 1\]"):
        Hardware("m", 1e12, 0.5, 0, 0.5)
