"""What a misspelt command line is told: what is unknown, what is near it, what there is."""

import subprocess
import sys

import pytest
from hydra.errors import HydraException
from repository import ROOT

from evodistill.misspelt import meant


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("metric=[foo]", "metric=foo: no such option; metric has: complexity_rate, complexity_score, diversity, ifd"),
        ("+experiment=smok", "experiment=smok: no such option; did you mean smoke? experiment has: auto_evol"),
        ("experiment=smoke", "experiment has no default that could be another: choose it by +experiment=NAME"),
        ("smoke", "smoke sets nothing; did you mean +experiment=smoke?"),
        ("nothing", "nothing sets nothing; KEY=VALUE is needed"),
        ("metric=[ifd", "metric=[ifd cannot be read as KEY=VALUE; quote what holds brackets"),
        ("model@teachr=fake", "model@teachr: no such choice; did you mean model@teacher? there are: model@embedder"),
        ("modle@teacher=fake", "modle: no such group; did you mean model? there are: autoif"),
        (
            "evolution.round=2",
            "evolution.round: evolution has no key 'round'; did you mean rounds? it has: model, rounds",
        ),
        ("rounds=2", "rounds: the config has no key 'rounds'; did you mean evolution.rounds?"),
        ("evolver.engine.top=1", "(a key that it takes without listing it: +evolver.engine.top=VALUE)"),
        ("metric.ifd.nothing=1", "metric.ifd: metric has no key 'ifd'"),
    ],
)
def test_a_misspelt_word_is_told_what_there_is(cfg, word, told):
    more = ["metric=[length]"] if word.startswith("metric.") else []
    with pytest.raises(HydraException) as error:
        cfg(word, *more)
    assert told in meant(error.value, ROOT / "conf")


def test_no_other_error_is_explained():
    assert meant(ValueError("wrong"), ROOT / "conf") == meant(None, ROOT / "conf") == ""


@pytest.mark.parametrize("more", [(), ("-m",)])
def test_it_is_the_last_line_of_the_command_which_fails(tmp_path, more):
    command = [sys.executable, "run.py", *more, "evolution.round=2", f"hydra.run.dir={tmp_path}"]
    found = subprocess.run([*command, f"hydra.sweep.dir={tmp_path}"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert found.stderr.splitlines()[-1].startswith("error: evolution.round: evolution has no key 'round'")
