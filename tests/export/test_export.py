"""What is exported can be read again, by the rules of those who read it."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from repository import FAKES, ROOT

from evodistill import RunError
from evodistill.export import card
from evodistill.export.__main__ import export
from evodistill.export.formats import ANSWERS, FORMATS, PAIRS
from evodistill.export.run import read
from evodistill.pipeline import run

ROWS: list[dict[str, str]] = [
    {"instruction": "Name a tea.", "input": "", "output": "Assam.", "rejected": "A cup.", "mine": "yes"},
    {"instruction": "Shorten it.", "input": "A long\u2028text.", "output": "Text \u2028 here.", "rejected": "Text."},
    {"instruction": "{{ 7 * 7 }} {% for x in y %} {0} $HOME", "input": "", "output": "{{ config }}", "rejected": "49"},
    {"instruction": "Quotes?", "input": " ", "output": '“Yes” \\ "no"\n\tτ\u0000', "rejected": "𝔑"},
    {"instruction": "Never answered.", "input": "", "output": "", "rejected": "No."},
    {"instruction": "The same twice.", "input": "", "output": "Same.", "rejected": "Same."},
]
ASKED = [f"{row['instruction']}\n{row['input']}" if row["input"] else row["instruction"] for row in ROWS]


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """The folder of a run as Hydra leaves it."""
    from hydra import compose, initialize_config_dir

    folder = tmp_path_factory.mktemp("ran")
    source = folder / "secret" / "mine.jsonl"
    source.parent.mkdir()
    source.write_text("\n".join(json.dumps(row) for row in ROWS))
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        words = ["+experiment=smoke", *FAKES, "steps=[dataset,respond]", "metric=[]", "instructions=null", "seed=7"]
        words += ["dataset=jsonl", f"dataset.path={source}", "dataset.keep_extra=true", f"artifacts={folder}/artifacts"]
        cfg = compose("config", overrides=[*words, "respond.overwrite=false", "name=mine", "+trainer@sft=sft"])
    run(cfg, folder / "run")
    (folder / "run" / ".hydra").mkdir()
    OmegaConf.save(cfg, folder / "run" / ".hydra" / "config.yaml")
    return folder / "run"


def exported(ran: Path, to: Path, format: str, **given) -> list[dict[str, Any]]:
    """The rows of the file, read as JSON."""
    file = export(ran, format, to, "dataset", **given)[0]
    text = file.read_text(encoding="utf-8")
    return json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]


def answers() -> list[tuple[str, str]]:
    return [(asked, row["output"]) for asked, row in zip(ASKED, ROWS, strict=True) if row["output"]]


def pairs() -> list[tuple[str, str, str]]:
    said = [(asked, row["output"], row["rejected"]) for asked, row in zip(ASKED, ROWS, strict=True)]
    return [pair for pair in said if pair[1] and pair[1] != pair[2]]


def said(turns: list[dict[str, str]]) -> str:
    (turn,) = turns
    return turn["content"]


def test_alpaca_is_read_again_as_it_was(ran, tmp_path, cfg):
    """By dataset=jsonl, and by anyone who reads JSON; braces are text"""
    rows = exported(ran, tmp_path, "alpaca")
    expected = [(row["instruction"], row["input"], row["output"]) for row in ROWS if row["output"]]
    assert [(row["instruction"], row["input"], row["output"]) for row in rows] == expected
    from evodistill.config import build

    records = build(cfg("dataset=jsonl", f"dataset.path={tmp_path}/mine.json").dataset)([], {})
    assert [(record.instruction, record.input, record.output) for record in records] == expected


def test_sharegpt_is_read_again_as_it_was(ran, tmp_path, cfg):
    from evodistill.config import build

    exported(ran, tmp_path, "sharegpt")
    words = [f"dataset.path={tmp_path}/mine.json", "dataset.language=null", "dataset.min_chars=0"]
    records = build(cfg("dataset=sharegpt", *words).dataset)([], {})
    assert [(record.prompt, record.output) for record in records] == answers()


def test_messages_and_completions_are_turns(ran, tmp_path):
    found = exported(ran, tmp_path, "messages")
    assert [tuple(turn["content"] for turn in row["messages"]) for row in found] == answers()
    assert {tuple(turn["role"] for turn in row["messages"]) for row in found} == {("user", "assistant")}
    found = exported(ran, tmp_path, "prompt_completion")
    assert [(said(row["prompt"]), said(row["completion"])) for row in found] == answers()


def test_pairs_that_say_nothing_are_left_out(ran, tmp_path):
    found = exported(ran, tmp_path, "dpo")
    assert [(said(row["prompt"]), said(row["chosen"]), said(row["rejected"])) for row in found] == pairs()


@pytest.mark.parametrize("format", ["messages", "dpo", "llama_factory_dpo"])
def test_the_library_that_trainers_use_reads_the_files(ran, tmp_path, format):
    from datasets import load_dataset

    file = export(ran, format, tmp_path, "dataset")[0]
    read = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(read) == len(answers() if format in ANSWERS else pairs())


def test_a_folder_of_datasets_keeps_the_lineage(ran, tmp_path):
    from datasets import load_from_disk

    (folder, *_) = export(ran, "datasets", tmp_path, "dataset")
    read = load_from_disk(str(folder))
    assert [tuple(turn["content"] for turn in turns) for turns in read["messages"]] == answers()
    assert read["id"] == read["seed"] and set(read["step"]) == {"dataset"}


@pytest.mark.parametrize("format", FORMATS)
def test_each_row_leads_back_to_its_record(ran, tmp_path, format):
    if format != "datasets":
        ids = [row["id"] for row in exported(ran, tmp_path, format)]
        assert len(set(ids)) == len(ids) == len(answers() if format in ANSWERS else pairs())


def llama_factory(folder: Path, name: str) -> list[tuple[str, list[str]]]:
    """What LLaMA-Factory 0.9.5 makes of a data set: `get_dataset_list`, `_load_single_dataset` and, of its converters,
    AlpacaDatasetConverter."""
    info = json.loads((folder / "dataset_info.json").read_text())[name]
    assert info["formatting"] == "alpaca"
    file = folder / info["file_name"]
    assert file.is_file() and file.suffix[1:] in ("arrow", "csv", "json", "jsonl", "parquet", "txt")
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    if "columns" in info:  # then each that is not named is none
        names = ("prompt", "query", "response", "history", "system", "chosen", "rejected")
        columns = {name: info["columns"].get(name) for name in names}
    made = []
    for row in json.loads(file.read_text(encoding="utf-8")):
        asked = [row[columns[key]] for key in ("prompt", "query") if columns[key] and row[columns[key]]]
        if info.get("ranking") and all(isinstance(row[columns[key]], str) for key in ("chosen", "rejected")):
            told = [row[columns["chosen"]], row[columns["rejected"]]]
        else:
            told = [row[columns["response"]]]
        made.append(("\n".join(asked), told))
    return made


# those of its arguments that may stand in the yaml (ModelArguments, DataArguments, FinetuningArguments, transformers)
ARGUMENTS = {
    *(
        "model_name_or_path",
        "dataset",
        "dataset_dir",
        "cutoff_len",
        "stage",
        "finetuning_type",
        "pref_beta",
        "pref_loss",
    ),
    *(
        "do_train",
        "output_dir",
        "bf16",
        "seed",
        "learning_rate",
        "num_train_epochs",
        "lr_scheduler_type",
        "weight_decay",
    ),
    *("warmup_steps", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_dora", "additional_target"),
    *("quantization_bit", "quantization_type", "double_quantization", "val_size", "early_stopping_steps"),
    *("eval_strategy", "eval_steps", "per_device_eval_batch_size", "save_strategy", "save_steps"),
    *("load_best_model_at_end", "dpo_label_smoothing", "packing", "neat_packing", "optim", "max_steps"),
}


def test_llama_factory_loads_answers_and_pairs(ran, tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"theirs": {"file_name": "theirs.json"}}')
    export(ran, "llama_factory", tmp_path, "dataset", "answers")
    export(ran, "llama_factory_dpo", tmp_path, "dataset", "pairs")
    assert llama_factory(tmp_path, "answers") == [(asked, [answer]) for asked, answer in answers()]
    assert llama_factory(tmp_path, "pairs") == [(asked, [chosen, rejected]) for asked, chosen, rejected in pairs()]
    assert "theirs" in json.loads((tmp_path / "dataset_info.json").read_text())
    for name, stage in (("answers", "sft"), ("pairs", "dpo")):
        told = yaml.safe_load((tmp_path / f"{name}.yaml").read_text())
        assert not told.keys() - ARGUMENTS and (told["stage"], told["dataset"]) == (stage, name)
        assert told["warmup_steps"] == 1 and told["gradient_accumulation_steps"] == 64
    assert "pref_beta" in told


def training(ran: Path, to: Path, cfg, words: list[str], ended: dict[str, Path] | None = None) -> Path:
    """The folder of the same run with trainers behind its steps; those in `ended` have left artifacts."""
    (to / ".hydra").mkdir(parents=True)
    words = ["+experiment=smoke", "dataset=jsonl", "dataset.path=mine.jsonl", "name=mine", *words]
    OmegaConf.save(cfg(*words), to / ".hydra" / "config.yaml")
    rows = (ran / "steps.jsonl").read_text()
    rows += "".join(json.dumps({"step": step, "path": str(path)}) + "\n" for step, path in (ended or {}).items())
    (to / "steps.jsonl").write_text(rows)
    shutil.copy(ran / "status.json", to)
    return to


def told(ran: Path, to: Path, format: str, **given) -> tuple[dict[str, Any], str]:
    """The yaml for LLaMA-Factory: what it says, and its comments."""
    text = next(file for file in export(ran, format, to, "dataset", **given) if file.suffix == ".yaml").read_text()
    return yaml.safe_load(text), "\n".join(line for line in text.split("\n") if line.startswith("#"))


STAGES = ["+trainer@sft=sft", "+trainer@dpo=dpo", "steps=[dataset,respond,sft,dpo]", "model@student=smollm2-135m"]


def test_each_trainer_starts_from_its_own_model(ran, tmp_path, cfg, caplog):
    """DPO from what SFT has made, by the path of its artifact; or the yaml says what is not there"""
    (tmp_path / "sft-1" / "model").mkdir(parents=True)
    whole = training(ran, tmp_path / "whole", cfg, STAGES, {"sft": tmp_path / "sft-1"})
    assert (
        told(whole, tmp_path / "a", "llama_factory")[0]["model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    )
    assert told(whole, tmp_path / "b", "llama_factory_dpo")[0]["model_name_or_path"] == str(
        tmp_path / "sft-1" / "model"
    )
    assert not caplog.records
    half = training(ran, tmp_path / "half", cfg, STAGES)
    found, comments = told(half, tmp_path / "c", "llama_factory_dpo")
    assert "model_name_or_path" not in found and caplog.messages[0] in [
        f"mine.yaml: {line[2:]}" for line in comments.split("\n")
    ]
    assert "model_name_or_path is to be set: the weights of the role tuned, which sft of this run makes" in comments


def test_a_yaml_that_is_uploaded_names_no_folder_of_this_machine(ran, tmp_path, cfg, monkeypatch):
    (tmp_path / "sft-1" / "model").mkdir(parents=True)
    monkeypatch.setattr("evodistill.export.push.push", lambda *given: "there")
    whole = training(ran, tmp_path / "whole", cfg, STAGES, {"sft": tmp_path / "sft-1"})
    found, comments = told(whole, tmp_path / "to", "llama_factory_dpo", repository="me/it")
    assert "model_name_or_path" not in found and "a folder of the machine that ran it" in comments
    assert str(tmp_path) not in comments


RIVALS = ["+trainer@sft_rival=sft", "+trainer@sft=sft", "steps=[dataset,respond,sft_rival,sft]"]
RIVALS += ["sft_rival.makes=rival", "sft.only=mine", "sft.effective_batch=8"]


@pytest.mark.parametrize("format", [format for format in ANSWERS if format != "datasets"])
def test_only_what_a_trainer_learns_is_exported(ran, tmp_path, cfg, format):
    """Its `only`, and what is left out by it is counted"""
    duel = training(ran, tmp_path / "run", cfg, RIVALS)
    rows = exported(duel, tmp_path / "a", format, trainer="sft")
    assert len(rows) == 1
    assert "left out: not_marked 5" in (tmp_path / "a" / "mine.md").read_text()
    for name in ("sft_rival", "none"):
        assert len(exported(duel, tmp_path / name, format, trainer=name)) == len(answers())


def test_of_several_trainers_one_must_be_named(ran, tmp_path, cfg):
    duel = training(ran, tmp_path / "run", cfg, RIVALS)
    for format in ("messages", "llama_factory"):
        with pytest.raises(
            RunError, match=r"trains 2 models.* choose one with --trainer sft_rival or sft; --trainer none"
        ):
            export(duel, format, tmp_path / "to", "dataset")
    with pytest.raises(RunError, match=r"--trainer dpo is no trainer of this run on answers; it has sft_rival, sft"):
        export(duel, "messages", tmp_path / "to", "dataset", trainer="dpo")
    with pytest.raises(RunError, match=r"--trainer sft is no trainer of this run on pairs; it has none"):
        export(duel, "dpo", tmp_path / "to", "dataset", trainer="sft")
    assert told(duel, tmp_path / "to", "llama_factory", trainer="sft")[0]["gradient_accumulation_steps"] == 8
    alike = training(ran, tmp_path / "alike", cfg, [*RIVALS, "sft.only=null"])
    assert len(exported(alike, tmp_path / "to", "messages")) == len(answers())  # both learn these


def test_records_that_were_not_marked_yet_say_what_takes_them(ran, tmp_path, cfg):
    run = training(ran, tmp_path / "run", cfg, ["+trainer@sft=sft", "steps=[dataset,respond,sft]", "sft.only=other"])
    with pytest.raises(RunError, match=r"none of 6 records .* \(not_marked 6\); --trainer none takes them all"):
        export(run, "messages", tmp_path / "to", "dataset")


def test_pairs_are_those_that_the_trainer_learns():
    """As its own filters say"""
    from evodistill.export import formats
    from evodistill.record import Record

    extra = {"rejected": "No", "rejected_finish_reason": "length", "margin": 1.0}
    record = replace(Record.seed("Tea?", output="Yes"), extra=extra)
    for settings, n in (({}, 0), ({"truncated": True}, 1), ({"truncated": True, "min_margin": 2.0}, 0)):
        assert len(formats.rows([record], "dpo", settings)[0]) == n


def test_answers_of_pairs_may_be_turns_and_what_is_no_text_is_counted():
    from evodistill.export import formats
    from evodistill.record import Record

    no = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No"}]
    given = {"pairs": ["Yes", {"rejected": no}, {"rejected": no * 2}, {"chosen": None, "rejected": "No"}]}
    record = replace(Record.seed("Tea?", output="Yes"), extra=given)
    for format in formats.PAIRS:
        (row,), left_out = formats.rows([record], format)
        assert left_out == {"pair_not_text": 3} and (row["rejected"] == "No" or said(row["rejected"]) == "No")


@pytest.mark.parametrize(
    ("paired", "trainer", "expected"),
    [
        (
            False,
            {"lora": {"r": 4, "lora_alpha": 32, "target_modules": "all-linear", "use_dora": True}},
            {"lora_rank": 4, "lora_alpha": 32, "lora_dropout": 0.0, "lora_target": "all", "use_dora": True},
        ),
        (
            False,
            {"lora": {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["lm_head"]}},
            {"lora_rank": 8, "lora_alpha": 8, "lora_target": "q_proj,v_proj", "additional_target": "lm_head"},
        ),
        (
            False,
            {"quantization": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}},
            {"quantization_bit": 4, "quantization_type": "nf4", "double_quantization": False},
        ),
        (False, {"quantization": {"load_in_8bit": True}}, {"quantization_bit": 8}),
        (False, {"held_out": 0.5}, {"val_size": 0.5, "eval_strategy": "epoch", "warmup_steps": 1}),
        (
            False,
            {"held_out": 0.1, "best": True, "patience": 2, "args": {"eval_strategy": "steps", "eval_steps": 5}},
            {"load_best_model_at_end": True, "save_strategy": "steps", "save_steps": 5, "early_stopping_steps": 2},
        ),
        (False, {"args": {"packing": True, "optim": "adafactor"}}, {"neat_packing": True, "optim": "adafactor"}),
        (False, {"args": {"max_steps": 200, "warmup_steps": 0.1}}, {"max_steps": 200, "warmup_steps": 20}),
        (
            True,
            {"args": {"beta": 0.3, "loss_type": ["ipo"], "label_smoothing": 0.1}},
            {"pref_beta": 0.3, "pref_loss": "ipo", "dpo_label_smoothing": 0.1},
        ),
        (True, {}, {"pref_beta": 0.1, "pref_loss": "sigmoid"}),
    ],
)
def test_the_numbers_of_the_run_are_taken_over(paired, trainer, expected):
    from evodistill.export.llama_factory import settings

    found, _ = settings("x", paired, 1000, trainer)
    assert {key: found.get(key) for key in expected} == expected and not found.keys() - ARGUMENTS


@pytest.mark.parametrize(
    ("paired", "trainer", "comment"),
    [
        (False, {"template": "plain"}, "template is to be set: the run states one .*, plain; alpaca is near"),
        (False, {"template": "/home/me/mine.jinja"}, "template is to be set: the run .* of its own, mine.jinja$"),
        (False, {}, "template is to be set where the model has no chat template"),
        (False, {"lora": {"r": 8}}, "lora_target is to be set"),
        (False, {"lora": {"r": 8, "target_modules": "all-linear", "bias": "all"}}, "lora.bias='all' of the run is not"),
        (False, {"args": {"train_sampling_strategy": "group_by_length"}}, "args.train_sampling_strategy='group_by_len"),
        (False, {"args": {"max_length": None}}, "cutoff_len is to be set: the run's is the context of the model"),
        (
            False,
            {"args": {"packing": True, "warmup_steps": 0.03}},
            "warmup_steps is to be set: the run's is 3% of the steps, of which there are fewer once rows are packed",
        ),
        (False, {"truncate": False}, "longer than cutoff_len are cut; the run leaves them out"),
        (False, {"_target_": "evodistill.trainer.kd.KD"}, "the answers alone are learned"),
        (True, {"args": {"loss_type": ["sigmoid", "sft"]}}, "pref_loss is to be set: the run's is sigmoid and sft"),
        (True, {"max_length_ratio": 4.0}, "leaves out pairs of much unlike length"),
    ],
)
def test_what_cannot_be_taken_over_is_told(paired, trainer, comment):
    from evodistill.export.llama_factory import settings

    args = {"max_length": 512, **trainer.get("args", {})}
    found, left = settings("x", paired, 1000, trainer and {**trainer, "args": args})
    assert len(left) == 1 and re.search(comment, left[0])
    assert "template" not in found and ("pref_loss" in found) == (paired and "args" not in trainer)


def test_a_damaged_dataset_info_is_left_alone(ran, tmp_path):
    (tmp_path / "dataset_info.json").write_text("[1")
    with pytest.raises(RunError, match=r"dataset_info.json cannot be read .* choose another folder with --to"):
        export(ran, "llama_factory", tmp_path, "dataset")
    assert (tmp_path / "dataset_info.json").read_text() == "[1"


def test_the_card_names_seeds_models_licences_and_counts(ran, tmp_path):
    readme = export(ran, "messages", tmp_path)[-1].read_text(encoding="utf-8")
    head, body = readme.removeprefix("---\n").split("\n---\n", 1)
    told = yaml.safe_load(head)
    assert told["license"] == "other" and told["configs"][0]["data_files"] == "mine.jsonl"
    assert told["size_categories"] == ["n<1K"] and told["pretty_name"] == "mine"
    assert "dataset → respond" in body and "6 rows of 6 records" in body and "descend from 6 seeds" in body
    assert "| mine.jsonl | 7 | not stated |" in body  # the seeds: file, seed of the draws, licence
    assert "| teacher | fake |" in body and "| Apache-2.0 | fake:" in body
    assert "| respond | 6 | 0 | 6 | 0 |" in body
    assert "secret" not in readme and str(tmp_path) not in readme  # where it lay is nobody's business


def test_the_card_counts_copies_that_stand_in_for_a_failed_rewrite(ran):
    made = read(ran)
    copies = [replace(record, origin=replace(record.origin, operation="keep_parent")) for record in made.records[:2]]
    told = card.card(replace(made, records=[*copies, *made.records[2:]]), "mine", "mine.jsonl", 6, {})
    assert "2 of the records stand in for a failed rewrite: they say what their parent says." in told
    assert "stand in" not in card.card(made, "mine", "mine.jsonl", 6, {})


def test_what_is_left_out_is_counted_in_the_card(ran, tmp_path):
    readme = export(ran, "dpo", tmp_path, "dataset")[-1].read_text(encoding="utf-8")
    assert "4 rows of 6 records; left out: pair_empty 1, pair_identical 1" in readme
    assert "No model had a part in it." in readme


UNNAMED = ("me/my--data", "me/-x", "me/my.", "me/é", f"me/{'x' * 97}", "me/it.git", "me/my/data", "/it")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": "evolution"}, r"--step evolution is no finished step of this run; it has dataset, respond"),
        ({"name": "a/b"}, r"--name 'a/b': letters, digits"),
        ({"repository": "no-owner"}, r"--push no-owner: name a dataset of the hub, OWNER/NAME"),
        *(({"repository": name}, f"--push {name}: name a dataset of the hub, OWNER/NAME \\(") for name in UNNAMED),
        ({"repository": "me/it", "format": "datasets"}, r"is not read from the hub; choose --format messages"),
    ],
)
def test_bad_input_is_one_line(ran, tmp_path, given, message):
    with pytest.raises(RunError, match=message):
        export(**{"folder": ran, "format": "messages", "to": tmp_path} | given)


def test_a_run_that_did_not_end_is_told(ran, tmp_path, caplog):
    copied = tmp_path / "failed"
    shutil.copytree(ran, copied)
    (copied / "status.json").write_text('{"status": "failed"}')
    export(copied, "messages", tmp_path / "out")
    assert f"{copied} is failed: its last finished step is" in caplog.text


def test_folders_that_are_no_run_say_what_is_wanted(ran, tmp_path):
    with pytest.raises(RunError, match=r"holds the jobs run; name one of them"):
        export(ran.parent, "messages", tmp_path)
    with pytest.raises(RunError, match=r"is no folder of a run; name a runs/<name>/<time>"):
        export(tmp_path, "messages", tmp_path)


def test_half_characters_become_whole_ones(tmp_path):
    """No file of UTF-8 holds them"""
    from evodistill.export import formats
    from evodistill.record import Record

    ((row,), _) = formats.rows([Record.seed("\ud83d?", output="Yes \udc00")], "alpaca")
    assert (row["instruction"], row["output"]) == ("\ufffd?", "Yes \ufffd")


def test_no_row_says_why(tmp_path, ran):
    from evodistill.export import formats
    from evodistill.record import Record

    rows, left_out = formats.rows([Record.seed("Tea?")], "messages")
    assert rows == [] and left_out == {"no_answer": 1}
    assert set(FORMATS) == {*ANSWERS, *PAIRS}


def test_the_command_writes_and_complains_in_one_line(ran, tmp_path):
    command = [sys.executable, "-m", "evodistill.export", str(ran), "--to", str(tmp_path / "out")]
    done = subprocess.run([*command, "--format", "alpaca"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == [
        str(tmp_path / "out" / name) for name in ("mine.json", "mine.md")
    ]
    done = subprocess.run([*command, "--step", "nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: --step nothing") and done.stderr.count("\n") == 1


@pytest.fixture
def measured(ran, tmp_path) -> Path:
    """The same run with scores, of a metric, of one that an earlier command left, and of a benchmark."""
    copied = tmp_path / "measured"
    shutil.copytree(ran, copied)
    (copied / "scores").mkdir()
    ids = [record.id for record in read(ran).records]
    rows = [{"id": id, "operation": "", "values": {"ifd": k / 8, "old": 1}} for k, id in enumerate(ids[:-1])]
    rows[1]["values"]["ifd"] = None
    rows += [{"id": ids[0], "operation": "benchmark", "values": {"gsm8k": 1}}]
    rows += [{"id": "of another step", "operation": "", "values": {"ifd": 9}}]
    (copied / "scores" / "ifd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (copied / "metrics.json").write_text('{"metrics": {"ifd": {}, "gsm8k": {}}}')
    return copied


@pytest.mark.parametrize("format", ["alpaca", "sharegpt", "messages", "prompt_completion"])
def test_scores_and_fields_of_extra_are_columns(measured, tmp_path, format):
    """Null where a record has none; values that metrics.json does not name and those of benchmarks are none"""
    plain = exported(measured, tmp_path / "plain", format)
    rows = exported(measured, tmp_path / "wide", format, scores=True, extra=["mine", "rejected"])
    assert [row["ifd"] for row in rows] == [0.0, None, 0.25, 0.375, None][: len(rows)]
    assert [row["mine"] for row in rows] == ["yes", *[None] * (len(rows) - 1)]
    added = ("ifd", "mine", "rejected")
    assert [{key: value for key, value in row.items() if key not in added} for row in rows] == plain
    card = (tmp_path / "wide" / "mine.md").read_text()
    assert "| ifd | metric | 3 |" in card and "| mine | extra | 1 |" in card
    assert "## Columns" not in (tmp_path / "plain" / "mine.md").read_text()


def test_columns_are_in_a_folder_of_datasets_too(measured, tmp_path):
    from datasets import load_from_disk

    (folder, *_) = export(measured, "datasets", tmp_path / "to", "dataset", scores=True, extra=["rejected"])
    table = load_from_disk(str(folder))
    assert table["ifd"][0] == 0.0 and table["rejected"][0] == ROWS[0]["rejected"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "dpo", "scores": True}, r"--format dpo has fixed columns.* go with alpaca, sharegpt, messages"),
        ({"format": "llama_factory", "extra": ["mine"]}, r"--format llama_factory has fixed columns"),
        ({"scores": True}, r"--scores: no metric of this run has measured these records"),
        ({"extra": ["nothing"]}, r"--extra nothing: no record has it in its extra; they have mine, rejected"),
    ],
)
def test_columns_that_cannot_be_are_one_line(ran, tmp_path, given, message):
    with pytest.raises(RunError, match=message):
        export(**{"folder": ran, "format": "messages", "to": tmp_path, "step": "dataset"} | given)


def test_no_column_takes_the_place_of_another(measured, tmp_path):
    from evodistill.export import columns

    with pytest.raises(RunError, match="id is a column of this format already"):
        columns.widened([{"id": "a", "messages": []}], {"id": {"a": 1}})
    records = [replace(record, extra={"ifd": 1}) for record in read(measured).records]
    with pytest.raises(RunError, match="--extra ifd is the name of a metric's value too"):
        columns.columns(measured, records, "messages", True, ["ifd"])


def test_a_column_of_several_types_is_told(tmp_path):
    from evodistill.export import formats

    with pytest.raises(RunError, match="a column has values of several types"):
        formats.write([{"id": "a", "x": 1}, {"id": "b", "x": ["one"]}], "datasets", tmp_path, "mine")
