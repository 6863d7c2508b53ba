"""What experiments/ promises: a page for every study, whose commands exist, and published numbers as in the csv."""

import re
import shlex

import pandas as pd
import pytest
from repository import ROOT
from test_config import names

EXPERIMENTS = ROOT / "experiments"
FOLDERS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/README.md"))


def text(folder: str) -> str:
    return " ".join((EXPERIMENTS / folder / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("study", names("study"))
def test_every_study_has_its_page(study):
    page = EXPERIMENTS / study / "README.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}: question, command, size and cost, finding"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_page_asks_runs_and_finds(folder):
    told = text(folder).lower()
    for part in ("question", "command", "finding"):
        assert f"**{part}" in told or f"{part}.**" in told or f"# {part}" in told, part


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_command_of_a_page_composes(cfg, folder):
    commands = [command for command in re.findall(r"`((?:python run\.py|make) [^`]+)`", text(folder))]
    assert commands
    for command in commands:
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        else:
            cfg(*(word if "[" in word else word.partition(",")[0] for word in words[2:] if word != "-m"))


@pytest.mark.parametrize("path", [ROOT / "README.md", EXPERIMENTS / "difficulty" / "README.md"])
def test_shares_of_very_hard_are_those_of_figure_2(path):
    told = " ".join(path.read_text(encoding="utf-8").split())
    table = pd.read_csv(ROOT / "plots" / "paper" / "fig2_difficulty.csv")
    last = table[(table["iteration"] == 3) & (table["category"] == "very_hard")]
    shares = last.set_index(["dataset", "evolver"])["percent_derived"]
    for data in ("alpaca", "gsm8k", "code_alpaca"):
        small, large = (f"{shares[data, side]:.1f}" for side in ("slm", "llm"))
        assert re.search(rf"{small} (%|% of [\w\s']+)? ?(of the small evolver's Alpaca )?against {large} %", told), data
