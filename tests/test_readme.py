"""What the README and the pages beside it promise."""

import re
import shlex

import pytest
from repository import ROOT

from evodistill.config import check

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    pytest.param(line.split("  #")[0].strip(), id=f"{page.stem}-{number}")
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    for number, line in enumerate(block.replace("\\\n", " ").splitlines())
    if line.startswith("python run.py") and not re.search("[…<]", line)  # a part that is left open
]


def test_there_are_commands():
    assert len(COMMANDS) >= 30


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes_and_fits_the_code(cfg, command, tmp_path):
    (mine := tmp_path / "mine.jsonl").touch()
    words = [word.replace(mine.name, str(mine)) for word in shlex.split(command)[2:] if word != "-m"]
    check(cfg(*(word if "[" in word else word.partition(",")[0] for word in words)))  # the first of a sweep


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([\w-]+)", README))))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\+experiment=(\w+)", README))))
def test_every_experiment_exists(name):
    assert (ROOT / "conf" / "experiment" / f"{name}.yaml").exists()


def test_what_does_not_stream_is_named():
    """Every step and metric stands in one of the columns of docs/scaling.md"""
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    groups = ("autoif", "distill", "document", "evolution", "metric")
    named = {"seed": "seed_instructions"}  # as the experiment calls it
    stems = [path.stem for group in groups for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
    assert not [stem for stem in stems if not re.search(rf"`(evolution=)?{named.get(stem, stem)}`", page)]


def test_the_benchmarks_of_make_bench_are_named():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").split("Seconds depend")[0]
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"peer_distilabel"}
    run, by_hand = (set(re.findall(r"`(\w+)(?:\.py)?`", part)) & scripts for part in told.split("By hand"))
    assert run == set(re.findall(r"benchmarks/(\w+)\.py", makefile)) and run | by_hand == scripts


def test_every_folder_and_module_of_the_tree_exists():
    (tree,) = re.findall(r"## What is where\n\n```\n(.*?)```", README, re.S)
    named = re.findall(r"(?:^|\s{2,}|, )([\w.]+(?:/|\.py))", tree)
    for name in named:
        places = [ROOT / name, ROOT / "conf" / name, ROOT / "src" / "evodistill" / name]
        assert any(place.exists() for place in places), name
    assert len(named) > 15
