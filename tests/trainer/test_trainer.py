import sys
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
from trainer.tiny import ARGS, llama, records, tokenizer

from evodistill import RunError, config
from evodistill.record import Record
from evodistill.trainer.job import Job
from evodistill.trainer.launch import Launch
from evodistill.trainer.sft import SFT


def sft(folder: Path | str = "", **given) -> SFT:
    return SFT("student", "tuned", folder=str(folder), **{"args": ARGS} | given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"effective_batch": 64, "engine": {"per_device_train_batch_size": 3}},
            "effective_batch=64 cannot be divided by 1 processes × 3 rows each",
        ),
        ({"effective_batch": 4, "launch": Launch(num_processes=8)}, "by 8 processes × 1 rows each"),
        ({"effective_batch": 0}, "effective_batch must be ≥ 1, got 0"),
        ({"effective_batch": -4}, "effective_batch must be ≥ 1, got -4: it is a number of rows"),
        (
            {"engine": {"per_device_train_batch_size": 0}},
            "engine.per_device_train_batch_size must be ≥ 1, got 0",
        ),
        ({"args": {"per_device_train_batch_size": 8}}, "per_device_train_batch_size belongs to engine"),
        ({"args": {"gradient_accumulation_steps": 8}}, "follows from effective_batch; leave it out"),
        ({"engine": {"report_to": "wandb"}}, "report_to follows from tracker"),
        (
            {"engine": {"learning_rate": 1e-3}},
            "engine.learning_rate belongs to args: engine is no part of the identity",
        ),
        ({"engine": {"max_length": 16}}, "engine.max_length belongs to args"),
        ({"args": {"auto_find_batch_size": True}}, "auto_find_batch_size follows from effective_batch"),
        ({"args": {"save_steps": 1}, "engine": {"save_steps": 2}}, "save_steps stands in args and in engine"),
        ({"held_out": 1.0}, r"held_out must be in \[0, 1\), got 1.0"),
        ({"best": True}, "set held_out"),
        ({"held_out": 0.1, "patience": 2}, "set best=true"),
        ({"held_out": 0.1, "best": True, "args": {"eval_strategy": "no"}}, "eval_strategy=no alone does not say when"),
        (
            {"held_out": 0.1, "best": True, "args": {"eval_strategy": "steps"}, "engine": {"logging_steps": 10}},
            "eval_strategy=steps alone does not say when it is measured: set .* args.eval_steps",
        ),
        ({"args": {"eval_strategy": "epoch"}}, "eval_strategy=epoch measures on rows that are held out: set held_out"),
        ({"args": {"max_length": -5}}, "args.max_length must be ≥ 1, or null, got -5: it is a number of tokens"),
        ({"args": {"max_length": "long"}}, "args.max_length must be ≥ 1, or null, got long"),
        ({"quantization": {"load_in_4bit": True}}, "lora must say what is trained instead"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sft(**settings)


def test_the_effective_batch_is_the_same_on_any_number_of_devices():
    from evodistill.trainer.fit import arguments

    for processes, rows in ((1, 1), (8, 1), (2, 4), (64, 1)):
        engine = {"per_device_train_batch_size": rows}
        trainer = sft(engine=engine, launch=Launch(num_processes=processes))
        told = arguments(Job(trainer, "base", 256), cpu=True)
        assert told["gradient_accumulation_steps"] * processes * rows == 64


def test_how_fast_it_trains_is_no_part_of_what_is_made():
    slow, fast = sft(), sft("elsewhere", engine={"save_steps": 7, "deepspeed": "x.json"}, launch=Launch(2))
    assert config.identity(slow) == config.identity(fast)
    assert config.identity(slow) != config.identity(sft(args={**ARGS, "learning_rate": 1e-4}))


LEARNED = """
    learning_rate num_train_epochs max_steps seed data_seed lr_scheduler_type lr_scheduler_kwargs warmup_steps optim
    optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor neftune_noise_alpha
    average_tokens_across_devices bf16 fp16 max_length truncation_mode packing packing_strategy padding_free loss_type
    completion_only_loss assistant_only_loss shuffle_dataset train_sampling_strategy dataloader_drop_last
    ignore_data_skip eval_strategy eval_steps eval_delay beta label_smoothing loss_weights f_divergence_type ld_alpha
    sync_ref_model ref_model_mixup_alpha disable_dropout use_weighting temperature top_p top_k max_completion_length
    generation_kwargs model_init_kwargs optim_target_modules router_aux_loss_coef repetition_penalty
""".split()  # noqa: SIM905


def test_what_is_learned_may_not_stand_in_engine():
    """It would be no part of the identity: other values would find the model that was made with the first"""
    import trl

    known = {item.name for kind in (trl.SFTConfig, trl.DPOConfig, trl.DistillationConfig) for item in fields(kind)}
    assert not [key for key in LEARNED if key not in known]
    for key in LEARNED:
        with pytest.raises(ValueError, match=f"engine.{key} belongs to args"):
            sft(engine={key: 1})
    fast = ["deepspeed", "fsdp", "gradient_checkpointing_kwargs", "logging_steps", "save_total_limit", "torch_compile"]
    for key in (*fast, "dataloader_num_workers", "use_liger_kernel", "use_vllm", "vllm_gpu_memory_utilization"):
        assert key in known and sft(engine={key: 1})


def test_the_text_of_a_stated_template_is_part_of_what_is_made(tmp_path):
    mine = tmp_path / "mine.jinja"
    found = []
    for text in ("one", "two"):
        mine.write_text(text)
        found.append(sft(template=str(mine)).sources)
    assert found[0] != found[1] and sft().sources == []


def test_a_model_without_a_template_needs_a_stated_one(tmp_path):
    bare = llama(tmp_path, template=None)
    with pytest.raises(RunError, match=r"has no chat template; state one .* template=plain"):
        sft().tokenizer(bare)
    words = sft(template="plain").tokenizer(bare)
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Tea?"}]
    asked = words.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert asked == "### System:\nBe kind.\n\n### Instruction:\nTea?\n\n### Response:\n"
    told = words.apply_chat_template([*turns, {"role": "assistant", "content": "Yes."}], tokenize=False)
    assert told == asked + "Yes.<|end|>"


def test_an_unknown_template_names_those_there_are():
    with pytest.raises(RunError, match=r"template=alpaca: .* does not exist; give plain, or the path of a .jinja"):
        _ = sft(template="alpaca").sources


def test_rows_longer_than_the_context_are_refused_before_training(base):
    with pytest.raises(RunError, match=r"args.max_length=1024 is longer than the context of the role student, 512"):
        sft(args=ARGS | {"max_length": 1024}).limit(base)
    assert sft(args={}).limit(base) == 512


def test_records_that_cannot_be_learned_are_rejected_the_others_pass(base, tmp_path):
    (tmp_path / "rows").mkdir()
    given = [*records(3), Record.seed("No answer"), replace(records(9)[8]).reject("earlier")]
    out, facts = sft(tmp_path).rows(given[:4], tokenizer(base), 256)
    assert [record.id for record in out] == [record.id for record in given[:4]]
    assert [record.fault.reason if record.fault else "" for record in out] == ["", "", "", "no_answer"]
    assert facts["rows"] == 3 and facts["left out, no_answer"] == 1 and facts["cut"] == 0 and facts["tokens"] > 50


def test_records_that_are_not_to_be_learned_pass_untouched(base, tmp_path):
    given = [replace(record, extra={"mine": number == 1}) for number, record in enumerate(records(3))]
    (tmp_path / "rows").mkdir()
    made, facts = sft(tmp_path, only="mine").rows(given, tokenizer(base), 256)
    assert made == given and facts["rows"] == 1
    assert sft(only="mine").plan(given)[0].startswith("1 rows")


def test_no_row_left_says_why(base, tmp_path):
    (tmp_path / "rows").mkdir()
    with pytest.raises(RunError, match=r"tuned: 2 records give no row to train on \(no_answer 2\)"):
        sft(tmp_path).rows([Record.seed("a"), Record.seed("b")], tokenizer(base), 256)


def test_held_out_rows_follow_the_record_not_the_order(base, tmp_path):
    (tmp_path / "rows").mkdir()
    trainer = sft(tmp_path, held_out=0.3)
    _, facts = trainer.rows(records(40), tokenizer(base), 256)
    assert facts["rows"] + facts["held_out"] == 40 and 4 <= facts["held_out"] <= 20
    assert [trainer.holds_out(record) for record in records(40)] == [
        trainer.holds_out(record) for record in records(40)
    ]
    with pytest.raises(RunError, match=r"1 records give no row to hold out \(held_out=0.3\)|to train on"):
        trainer.rows(records(1), tokenizer(base), 256)


def test_a_misspelt_argument_is_found_before_anything_runs():
    with pytest.raises(RunError, match=r"args.learning_ratee: SFTConfig .* no such argument; near: learning_rate"):
        sft(args={"learning_ratee": 1}).ready()
    sft().ready()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"args": {"lr_scheduler_type": "cosin"}}, r"args.lr_scheduler_type=cosin: cosin is not a valid SchedulerType"),
        ({"args": {"optim": "adamx", "bf16": True}}, r"args.optim=adamx: adamx is not a valid OptimizerNames"),
        (
            {"args": {"optim": "adamx", "lr_scheduler_type": "cosin"}},
            r"args.(lr_scheduler_type=cosin|optim=adamx): (cosin|adamx) is not a valid",
        ),
        ({"args": {"learning_rate": "2x"}}, r"args.learning_rate=2x: SFTConfig of trl .* takes a number here"),
        ({"args": {"packing_strategy": "tight"}}, r"args.packing_strategy=tight: .* takes one of bfd"),
        ({"args": {"eval_strategy": "epochs"}, "held_out": 0.1}, r"args.eval_strategy=epochs: epochs is not a valid"),
        ({"engine": {"loging_steps": 1}}, r"engine.loging_steps: SFTConfig .* no such argument; near: logging_steps"),
        ({"engine": {"save_steps": "ten"}}, r"engine.save_steps=ten: SFTConfig .* takes a number here"),
        ({"lora": {"rank": 8}}, r"lora.rank: LoraConfig of peft .* has no such argument"),
        ({"lora": {"r": "eight"}}, r"lora.r=eight: LoraConfig of peft .* takes a number here"),
        (
            {"lora": {"r": 8, "layer_replication": [[0, 2]], "layers_pattern": "h"}},
            r"lora.layers_pattern=h: When `layers_pattern` is specified",
        ),
        (
            {"lora": {"r": 8}, "quantization": {"load_in_4bits": True}},
            r"quantization.load_in_4bits: BitsAndBytesConfig",
        ),
        (
            {"lora": {"r": 8}, "quantization": {"load_in_4bit": "yes"}},
            r"quantization.load_in_4bit=yes: load_in_4bit must be a boolean",
        ),
        (
            {"lora": {"r": 8}, "quantization": {"load_in_4bit": True, "bnb_4bit_compute_dtype": "half16"}},
            r"quantization.bnb_4bit_compute_dtype=half16: module 'torch' has no attribute",
        ),
    ],
)
def test_what_a_training_would_refuse_is_refused_before_anything_runs(monkeypatch, settings, message):
    monkeypatch.setattr("evodistill.trainer.find_spec", lambda name: sys)  # also without bitsandbytes
    with pytest.raises(RunError, match=message):
        sft(**{"args": {}} | settings).ready()


def test_what_a_training_takes_passes_and_sets_up_no_device():
    from accelerate.state import PartialState

    PartialState._reset_state()
    args = {"bf16": True, "optim": "adafactor", "eval_strategy": "steps", "eval_steps": 0.1, "max_length": None}
    sft(args=args, held_out=0.1, lora={"r": 8, "init_lora_weights": "pissa"}).ready()
    assert not PartialState._shared_state


@pytest.mark.parametrize(
    ("settings", "gone", "message"),
    [
        ({}, "trl", "a trainer needs trl: pip install trl"),
        ({"lora": {"r": 8}}, "peft", "a trainer needs peft"),
        ({"engine": {"deepspeed": "zero9.json"}}, "deepspeed", "engine.deepspeed needs DeepSpeed: make train"),
    ],
)
def test_a_missing_package_is_one_line(monkeypatch, settings, gone, message):
    monkeypatch.setattr("evodistill.trainer.find_spec", lambda name: None if name == gone else sys)
    with pytest.raises(RunError, match=message):
        sft(**settings).ready()


def test_fsdp_that_would_be_left_out_is_refused(monkeypatch):
    """accelerate trains whole copies on a CPU, and one process has nobody to share with"""
    for gpus, n in ((False, 2), (True, 1)):
        monkeypatch.setattr("torch.cuda.is_available", lambda gpus=gpus: gpus)
        with pytest.raises(RunError, match=r"engine.fsdp shares the weights of several GPUs"):
            sft(engine={"fsdp": True}, launch=Launch(n)).ready()
    sft(engine={"fsdp": True}, launch=Launch(2)).ready()


def test_a_missing_deepspeed_file_names_those_there_are(monkeypatch):
    monkeypatch.setattr("evodistill.trainer.find_spec", lambda name: sys)
    with pytest.raises(RunError, match=r"deepspeed=zero9.json does not exist; conf/trainer/deepspeed holds zero2"):
        sft(engine={"deepspeed": "zero9.json"}).ready()


@pytest.mark.parametrize(
    ("rows", "settings", "twice"),
    [
        (9, {"launch": Launch(2)}, 3),
        (1, {"launch": Launch(2)}, 3),
        (8, {"launch": Launch(2)}, 0),
        (9, {"launch": Launch(1)}, 0),
        (9, {"launch": Launch(4)}, 7),
        (9, {"launch": Launch(2), "args": {"dataloader_drop_last": True}}, 0),
        (9, {"launch": Launch(2), "engine": {"accelerator_config": {"even_batches": False}}}, 0),
    ],
)
def test_rows_that_several_processes_learn_twice_are_counted(base, tmp_path, rows, settings, twice):
    """As many as accelerate gives its processes above one epoch"""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    engine = settings.get("engine", {})
    trainer = sft(tmp_path, **settings | {"engine": {"per_device_train_batch_size": 2, **engine}})
    n, drop = trainer.launch.num_processes, trainer.args.get("dataloader_drop_last", False)
    even = engine.get("accelerator_config", {}).get("even_batches", True)
    read = Counter[int]()
    for number in range(n):
        batches = BatchSampler(range(rows), 2, drop)
        for batch in BatchSamplerShard(batches, n, number, even_batches=even) if n > 1 else batches:
            read.update(batch)
    assert max(0, read.total() - rows) == twice
    (tmp_path / "rows").mkdir()
    _, facts = trainer.rows(records(rows), tokenizer(base), 256)
    assert facts.get("learned twice in an epoch", 0) == twice


def test_settings_of_accelerate_in_a_file_are_not_read_for_it():
    assert sft(engine={"accelerator_config": "accelerate.json"}, launch=Launch(2)).twice(9) > 0


def test_rows_that_are_packed_are_not_said_to_be_learned_twice():
    assert sft(args={"packing": True}, launch=Launch(2)).twice(9) == 0 < sft(launch=Launch(2)).twice(9)


def test_a_job_comes_back_from_its_file(tmp_path):
    made = Job(sft(tmp_path, lora={"r": 4}, launch=Launch(num_processes=4)), "base", 99)
    assert Job.read(made.write()) == made


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    Job(sft(tmp_path), "base", 256).write()
    (tmp_path / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (tmp_path / "checkpoints" / "checkpoint-3" / "whole").touch()
    Job(sft(tmp_path), "base", 256).write()
    with pytest.raises(
        RunError, match=r"trainer.launch.num_processes was 1, is 2\): set them back to go on, or delete that folder"
    ):
        Job(sft(tmp_path, launch=Launch(num_processes=2)), "base", 256).write()


def test_checkpoints_whose_settings_cannot_be_read_are_refused(tmp_path):
    file = Job(sft(tmp_path), "base", 256).write()
    (tmp_path / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (tmp_path / "checkpoints" / "checkpoint-3" / "whole").touch()
    file.write_text("")
    with pytest.raises(
        RunError, match=r"job.json does not say with what settings .*: delete that folder to train anew"
    ):
        Job(sft(tmp_path), "base", 256).write()


def test_a_job_is_written_whole(tmp_path, monkeypatch):
    """A kill while it is written leaves the one before"""

    def killed(*paths):
        raise KeyboardInterrupt

    file = Job(sft(tmp_path), "base", 256).write()
    before = file.read_bytes()
    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Job(sft(tmp_path), "base", 99).write()
    assert file.read_bytes() == before


def test_a_checkpoint_that_was_cut_short_is_removed(tmp_path):
    for number in (3, 6):
        (tmp_path / "checkpoints" / f"checkpoint-{number}").mkdir(parents=True)
    (tmp_path / "checkpoints" / "checkpoint-3" / "whole").touch()
    Job(sft(tmp_path), "base", 256).write()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-3"]


def test_the_plan_counts_steps():
    told, _ = sft().plan(records(130))  # three steps of 64 an epoch
    assert "130 rows, about" in told and "2 epochs, 6 steps" in told


def test_a_number_of_steps_goes_before_a_number_of_epochs():
    (long, all_), (short, some) = (sft(args=ARGS | {"max_steps": n}).plan(records(130)) for n in (-1, 3))
    assert "2 epochs, 6 steps" in long and "1 epochs, 3 steps" in short and some == all_ / 2
