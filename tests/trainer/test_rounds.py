"""TAPIR's rounds with a student that is trained in each: the loop of evolve, train, ask the student again."""

import json
from collections import Counter
from pathlib import Path

import pytest
from repository import FAKES

from evodistill.pipeline import run
from evodistill.record import read_jsonl, read_records

ROUNDS = (1, 2, 3)


@pytest.mark.slow
def test_each_round_trains_on_its_own_set_of_which_more_is_hard(cfg, base, tmp_path, in_this_process):
    items = tmp_path / "items.jsonl"
    items.write_text(
        '{"key": 1, "prompt": "Say tea.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}\n'
    )
    words = [
        "+experiment=tapir_students",
        *(fake for fake in FAKES if "student" not in fake),
        "model@student=smollm2-135m",
    ]
    words += [f"student.path={base}", "student.package=null", "student.engine.threads=1", "tracker=none"]
    words += ["dataset=tiny", "dataset.limit=10", f"benchmark.ifeval.data={items}", f"artifacts={tmp_path}/artifacts"]
    for number in (0, *ROUNDS):
        words += [f"train{number}.args.{key}" for key in ("num_train_epochs=1", "max_length=512", "bf16=false")]
        words += [f"train{number}.template=null"]
    # half of the pool is hard: the records whose margin is above that of the median
    words += [f"round{n}.fit.{key}" for n in ROUNDS for key in ("delta=0", "student_sampling.max_tokens=16")]
    run(cfg(*words), tmp_path / "run")
    place = {row["step"]: Path(row["path"]) for row in read_jsonl(tmp_path / "run" / "steps.jsonl")}
    curricula = [json.loads((place[f"round{n}"] / "curriculum.json").read_text()) for n in ROUNDS]
    assert [told["alpha"] for told in curricula] == pytest.approx([0.3, 0.5, 0.7])
    pool = read_records(place["round3"] / "records.jsonl")
    learned = Counter(n for record in pool for n in ROUNDS if record.extra.get(f"round{n}"))
    for number, told in zip(ROUNDS, curricula, strict=True):
        facts = json.loads((place[f"train{number}"] / "training.json").read_text())
        assert facts["rows"] == learned[number] == sum(told["drawn"].values()) > 0
    bases = [json.loads((place[f"train{n}"] / "job.json").read_text())["base"] for n in (0, *ROUNDS)]
    assert [Path(folder).parent.name for folder in bases[1:]] == [place[f"train{n}"].name for n in (0, 1, 2)]
