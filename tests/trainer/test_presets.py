import csv

import pytest
from repository import ROOT

from evodistill.config import build, check

NAMES = sorted(path.stem for path in (ROOT / "conf" / "trainer_preset").glob("*.yaml"))
PAIRS = ("distilqwen2_stage2", "safe")  # of answers


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_fits_its_trainer(cfg, name):
    """TRL knows each of its arguments."""
    trainer = "dpo" if name in PAIRS else "sft"
    composed = cfg(f"+trainer@{trainer}={trainer}", f"trainer_preset@{trainer}={name}")
    check(composed)
    build(composed[trainer]).ready()


@pytest.mark.parametrize(
    ("preset", "scope", "rate"),
    [
        ("paper", "evol_instruct+autoif+auto_evol (SFT)", 2e-5),
        ("paper_scaling", "Qwen-2.5-0.5B and 1.5B", 1e-5),
        ("paper_scaling_7b", "Qwen-2.5-3B and 7B", 7e-6),
        ("paper_scaling_lora", "Qwen-2.5-14B 32B 72B", 5e-5),
    ],
)
def test_the_papers_presets_are_its_tables(cfg, shared, preset, scope, rate):
    """arXiv 2412.11231, tables 6 and 7"""
    rows = list(csv.DictReader((shared / "paper" / "table06_07_hyperparameters.csv").open()))
    (found,) = [float(row["value"]) for row in rows if (row["scope"], row["parameter"]) == (scope, "learning_rate")]
    general = scope if preset == "paper" else "qwen2.5 scaling general"
    told = {row["parameter"]: row["value"] for row in rows if row["scope"] == general}
    sft = cfg("+trainer@sft=sft", f"trainer_preset@sft={preset}").sft
    assert sft.args.learning_rate == found == rate
    assert sft.args.num_train_epochs == float(told["epochs"])
    assert sft.args.warmup_steps == float(told["warmup_ratio"])
    assert sft.args.max_length == float(told["max_sequence_length"])
    assert sft.args.lr_scheduler_type == told["lr_scheduler"]
    batch = ("devices", "per_device_batch_size", "gradient_accumulation_steps")
    assert sft.effective_batch == float(told[batch[0]]) * float(told[batch[1]]) * float(told[batch[2]])


def test_the_stages_of_distilqwen2_are_its_files(cfg):
    """distilqwen2_stage1.json and distilqwen2_stage2.json of EasyDistill"""
    composed = cfg(
        *("+trainer@sft=sft", "trainer_preset@sft=distilqwen2_stage1"),
        *("+trainer@dpo=dpo", "trainer_preset@dpo=distilqwen2_stage2"),
    )
    for stage in (composed.sft, composed.dpo):
        told = [stage.args[key] for key in ("learning_rate", "num_train_epochs", "warmup_steps", "weight_decay")]
        assert told == [2e-5, 3, 0.1, 0.05] and stage.effective_batch == 64
    assert composed.dpo.args.beta == 0.1


def test_the_command_line_wins_over_a_preset(cfg):
    told = cfg("+trainer@sft=sft", "trainer_preset@sft=modern", "sft.truncate=true", "sft.args.learning_rate=1e-4")
    assert told.sft.truncate is True and told.sft.args.learning_rate == 1e-4
    assert cfg("+trainer@sft=sft", "trainer_preset@sft=modern").sft.truncate is False
