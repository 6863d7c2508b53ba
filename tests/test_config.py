import json
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from repository import FAKES, ROOT
from trainer.tiny import llama

from evodistill import RunError
from evodistill.config import build, check, lacking
from evodistill.pipeline import run

GROUPS = (
    "autoif",
    "backend",
    "benchmark",
    "dataset",
    "distill",
    "document",
    "evolution",
    "evolution/optimizer",
    "metric",
    "sandbox",
    "tracker",
    "trainer",
)

ITEMS = ROOT / "tests" / "benchmark" / "items"
OFFLINE = {
    "autoif": ["dataset@queries.dataset=tiny"],
    "autoif_students": ["dataset@queries.dataset=tiny", "+suite=constraints_tiny"],
    "benchmarks_tiny": [f"benchmark.{name}.data={ITEMS}/{name}.jsonl" for name in ("gsm8k", "ifeval")],
    "distilqwen2_students": ["+suite=distilqwen2_tiny", "dpo.truncated=true"],
    "diversity": ["metric.diversity.n=null"],
    "duel": ["+suite=duel_tiny", "select.keep=0.5"],
    "evol_students": ["+suite=tiny"],
    "metrics_tiny": ["model@optimizer=fake-large"],  # two judges are two models
    "selection": ["+suite=tiny"],
    "tapir_students": [f"round{n}.fit.delta=-9" for n in (1, 2, 3)],  # all is hard for a student of random weights
    "document_seeds": ["quality.min_chars=10"],
}  # beside dataset=tiny, what a hub would give


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def options() -> list[Path]:
    return [path for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


def test_every_group_has_options():
    assert all(names(group) for group in (*GROUPS, "experiment", "hardware", "model", "scale", "study", "suite"))


def test_a_local_file_holds_where_nothing_else_is_said(tmp_path):
    """Over config.yaml, under an experiment and the command line; without it nothing changes (all other tests)"""
    conf = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", conf, ignore=shutil.ignore_patterns("local"))
    (conf / "local").mkdir()
    (conf / "local" / "default.yaml").write_text("# @package _global_\nartifacts: /data\nseed: 7\nname: mine\n")
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("config", ["+experiment=smoke", "seed=8"])
    assert (cfg.artifacts, cfg.seed, cfg.name) == ("/data", 8, "smoke")
    check(cfg)


@pytest.mark.parametrize("name", names("experiment"))
def test_every_experiment_fits_the_code(cfg, name):
    """B3: what a shipped file names is there"""
    check(cfg(f"+experiment={name}"))


@pytest.mark.parametrize("name", names("model"))
def test_every_model_can_take_a_role(cfg, name):
    composed = cfg(f"model@teacher={name}")
    check(composed)
    assert build(composed.teacher).name == name


@pytest.mark.parametrize("name", names("study"))
def test_a_study_holds_axes_and_nothing_else(name):
    """Axes, what +scale exchanges of them, and the pair of evolvers that is compared."""
    study = OmegaConf.load(ROOT / "conf" / "study" / f"{name}.yaml")
    assert {"study", "hydra"} <= set(study) <= {"study", "hydra", "axes", "defaults"}
    pair = {key for choice in study.get("defaults", ()) for key in choice}
    assert pair <= {"override /model@small", "override /model@large"}


@pytest.mark.parametrize("file", options(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_option_names_its_module_and_class(file):
    """One name from the command line to the class."""
    node = OmegaConf.load(file)
    target = node._target_ if "_target_" in node else node[file.stem]._target_  # a metric nests under its own name
    package, module, name = target.rsplit(".", 2)
    group = ".".join(file.parent.relative_to(ROOT / "conf").parts)
    assert (package, module) == (f"evodistill.{group}", file.stem)
    assert name.replace("_", "").lower() == file.stem.replace("_", "")


def trains(name: str) -> bool:
    return "/trainer@" in (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text()


def student(folder: Path, asked: bool) -> list[str]:
    """What is trained must have weights: a tiny model, and three items of IFEval where it is asked."""
    items = [
        {"key": number, "prompt": "Say tea.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
        for number in range(3)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    settings = [f"student.path={llama(folder / 'student', context=2048)}", "student.package=null"]
    settings += [f"benchmark.ifeval.data={folder}/items.jsonl"] if asked else []
    return ["model@student=smollm2-135m", *settings]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if trains(name) else []) for name in names("experiment")]
)
def test_every_experiment_runs_on_the_fake_backend(cfg, name, tmp_path, request):
    settings = ["dataset=tiny", "dataset.limit=5", "tracker=none", f"artifacts={tmp_path}/artifacts"]
    fakes = [role for role in FAKES if not (trains(name) and role.startswith("model@student"))]
    if trains(name):
        request.getfixturevalue("in_this_process")
        chosen = cfg(f"+experiment={name}", *OFFLINE.get(name, ())).get("benchmark", {})
        settings += student(tmp_path, "ifeval" in chosen)
    means = run(cfg(f"+experiment={name}", *fakes, *settings, *OFFLINE.get(name, ())), tmp_path / "run")
    assert means
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_misspelt_key_in_a_yaml_file_is_found(cfg):
    composed = cfg()
    OmegaConf.set_struct(composed, False)
    composed.evolution.roundz = 3
    with pytest.raises(RunError, match=r"evolution.roundz: EvolInstruct has no such key; it has model, rounds"):
        check(composed)


def test_a_misspelt_key_at_the_top_is_found(cfg):
    with pytest.raises(RunError, match="unknown key 'rounds'"):
        check(cfg("+rounds=3"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evolution.rounds=two", r"evolution.rounds='two' has the wrong type: int is needed"),
        ("evolution.rounds=0", r"evolution: .*rounds must be ≥ 1, got 0"),
        ("evolution.sampling.top_p=0", r"top_p must be in \(0, 1\], got 0"),
        ("evolution.sampling.logprobs=maybe", "logprobs='maybe' has the wrong type"),  # LP5
        ("evolution.on_failure=retry", "on_failure must be keep_parent or drop"),
        (
            "evolution.model=writer",
            r"evolution asks the role 'writer', which has no model; choose one with model@writer=NAME",
        ),
        ("metric.ifd.model=dataset", r"metric.ifd asks the role 'dataset'"),
        # what a model refuses is known before the steps in front of it have run
        ("+teacher.engine.colour=red", r"teacher: engine.colour is unknown to transformers; known: dtype, device"),
        ("steps=[dataset,evolve]", r"steps names 'evolve', which the config does not hold"),
        # a run of no records would look like a success
        ("steps=[evolution]", r"steps=\[evolution\]: nothing gives evolution records; begin with dataset"),
        ("steps=[respond,dataset]", r"steps=\[respond,dataset\]: nothing gives respond records; begin with dataset"),
        ("steps=[dataset,respond,dataset]", r"dataset takes no records; it can only be the first step"),
        ("steps=[]", r"no step leaves records for the metrics \(complexity_rate, .*'metric=\[\]' leaves them out"),
        ("instructions=expand", r"records=expand is none of the steps"),
        ("evolution.operations=[nothing]", "prompt evol_instruct/nothing: no such file"),
        ("evolution._target_=os.system", r"evolution._target_=os.system is refused"),
        ("evolution._target_=evodistill.nowhere.Thing", "cannot be imported"),
        ("dry_run=maybe", r"dry_run='maybe' must be true or false"),
        ("dataset.limit=???", r"set these keys: dataset.limit"),
        ("name=${nothing}", "nothing"),
    ],
)
def test_a_bad_value_is_one_line_with_the_cure(cfg, override, message):
    with pytest.raises(RunError, match=message):
        check(cfg(override))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher.base_url=localhost:9", r"teacher: base_url must look like https://host:port/v1, got 'localhost:9'"),
        ("teacher.path=null", r"teacher: model gpt-4 has no path: set served_name"),
        ("+teacher.engine.colour=red", r"teacher: engine.colour is no key of this backend; it has concurrency"),
    ],
)
def test_what_an_api_refuses_is_found_at_the_start(cfg, override, message):
    with pytest.raises(RunError, match=message):
        check(cfg("model@teacher=gpt-4", override))


def test_nothing_to_do_is_refused_and_asking_benchmarks_alone_is_not(cfg):
    with pytest.raises(RunError, match=r"steps=\[\] and no benchmark: nothing to do"):
        check(cfg("steps=[]", "metric=[]"))
    check(cfg("steps=[]", "metric=[]", "+benchmark=[ifeval]"))


def test_a_missing_key_stops_a_run_at_its_start_but_no_check(cfg, tmp_path, monkeypatch):
    """A shipped config is whole without a key; a run must not make records first and miss it then"""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    composed = cfg("+experiment=smoke", "model@teacher=gpt-4", "model@judge=gpt-4", f"artifacts={tmp_path}/artifacts")
    check(composed)
    with pytest.raises(RunError) as error:
        run(composed, tmp_path / "run")
    assert str(error.value).count("model gpt-4: set the environment variable OPENAI_API_KEY") == 1
    assert not (tmp_path / "run" / "steps.jsonl").exists() and not (tmp_path / "artifacts").exists()
    assert not lacking(check(cfg("+experiment=smoke", "model@teacher=gpt-4", "steps=[dataset,evolution]", "metric=[]")))


def test_a_prompt_with_an_undefined_variable_is_found_before_any_model_loads(cfg, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{{ instruction }} in {{ colour }}")
    with pytest.raises(
        RunError,
        match=r"respond: prompt .*mine.jinja uses 'colour', which is not defined; it may use instruction, input",
    ):
        check(cfg(f"respond.prompt={path}"))


def test_settings_of_a_metric_or_benchmark_that_is_not_chosen_are_of_nobody_and_said(cfg, caplog):
    """metrics_tiny sets a second judge, benchmarks_tiny the limit of GSM8K: another list chooses neither"""
    check(cfg("+experiment=metrics_tiny", *FAKES, "metric=[ifd]"))
    assert "metric.complexity_rate is set but not chosen: 'metric=[…,complexity_rate]' chooses it" in caplog.text
    check(cfg("+experiment=benchmarks_tiny", *FAKES, "benchmark=[ifeval]"))
    assert "benchmark.gsm8k is set but not chosen" in caplog.text


def test_breadth_follows_the_data_set(cfg):
    """arXiv 2412.11231: Alpaca turns through five operations, GSM8K and Code Alpaca through four"""
    assert cfg("dataset=alpaca").evolution.breadth is True
    assert cfg("dataset=gsm8k").evolution.breadth is False
    assert cfg("dataset=code_alpaca").evolution.breadth is False
    assert cfg("dataset=gsm8k", "evolution.breadth=true").evolution.breadth is True


def test_the_papers_sampling_is_the_default(cfg):
    """EV4"""
    sampling = build(cfg().evolution).sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.seed) == (0.7, 0.95, 2048, 0)
