"""What all datasets share: faults, duplicates, subsampling, shards."""

import json
import logging
import random
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from evodistill import RunError
from evodistill.dataset import Dataset
from evodistill.dataset.jsonl import JSONL
from evodistill.record import Record

COLUMNS = {"instruction": "instruction", "input": None, "output": None}


def write(path, texts):
    path.write_text("".join(json.dumps({"instruction": text}) + "\n" for text in texts), encoding="utf-8")
    return str(path)


def load(path, **settings):
    return JSONL(path=path, columns=COLUMNS, keep_extra=False, **settings)([], {})


def ids(records):
    return [record.id for record in records]


@pytest.fixture
def hundred(tmp_path):
    return write(tmp_path / "hundred.jsonl", [f"Task {n}" for n in range(100)])


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.jsonl"
    lines = [
        '{"instruction": "a"}',
        "oops",
        '{"instruction": "b"}',
        "oops",
        '{"instruction": "a"}',
        '{"instruction": ""}',
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_every_row_comes_back_usable_or_with_its_fault(broken):
    records = load(broken)
    assert [record.fault and record.fault.reason for record in records] == [
        None,
        "malformed",
        None,
        "malformed",
        "duplicate",
        "malformed",
    ]
    assert [record.origin.index for record in records] == [0, 1, 2, 3, 4, 5]


def test_malformed_row_names_file_and_line_and_keeps_its_text(broken):
    fault = load(broken)[1].fault
    assert fault.detail.startswith(f"{broken}:2: broken JSON, Expecting value at column 1")
    assert fault.raw == "oops"


def test_ids_are_unique_even_among_equal_malformed_and_duplicate_rows(broken):
    records = load(broken)
    assert len(set(ids(records))) == len(records)


def test_duplicate_names_the_line_of_the_first(broken):
    twin = load(broken)[4]
    assert twin.fault.detail == f"{broken}:5: the same row as {broken}:1"
    assert twin.origin.seed == load(broken)[0].id


def test_rows_that_differ_in_one_text_only_are_no_duplicates(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"i": "a", "o": "1"}\n{"i": "a", "o": "2"}\n')
    records = JSONL(path=str(path), columns={"instruction": "i", "input": None, "output": "o"}, keep_extra=False)(
        [], {}
    )
    assert [record.output for record in records if not record.fault] == ["1", "2"]


def test_malformed_rows_are_logged_up_to_ten_and_then_counted(tmp_path, caplog):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"instruction": "fine"}\n' + "oops\n" * 12)
    with caplog.at_level(logging.INFO, "evodistill.dataset"):
        load(str(path))
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert len(warnings) == 11
    assert f"{path}:2:" in warnings[0]
    assert "2 more" in warnings[-1]
    assert "1 row taken" in caplog.messages[-1] and "12 malformed" in caplog.messages[-1]


def test_limit_takes_that_many_rows_in_source_order(hundred):
    indices = [record.origin.index for record in load(hundred, limit=10)]
    assert len(indices) == 10
    assert indices == sorted(indices)
    assert indices != list(range(10))  # a draw, not the head of the file


def test_limit_takes_the_same_rows_after_shuffling_the_file(hundred, tmp_path):
    texts = [f"Task {n}" for n in range(100)]
    random.Random(1).shuffle(texts)
    shuffled = write(tmp_path / "shuffled.jsonl", texts)
    assert set(ids(load(hundred, limit=10))) == set(ids(load(shuffled, limit=10)))


def test_larger_limit_only_adds_rows(hundred):
    assert set(ids(load(hundred, limit=10))) < set(ids(load(hundred, limit=30)))


def test_limit_draws_other_rows_for_another_seed(hundred):
    assert set(ids(load(hundred, limit=10, seed=0))) != set(ids(load(hundred, limit=10, seed=1)))


def test_limit_at_or_above_the_number_of_rows_takes_all(hundred):
    assert ids(load(hundred, limit=100)) == ids(load(hundred, limit=1000)) == ids(load(hundred))


def test_limit_counts_usable_rows_and_keeps_all_rejects(broken):
    records = load(broken, limit=1)
    assert sum(record.fault is None for record in records) == 1
    assert sum(record.fault is not None for record in records) == 4


@pytest.mark.parametrize("n", [1, 2, 3, 7, 200])
@pytest.mark.parametrize("limit", [None, 40])
def test_shards_partition_the_sample(hundred, n, limit):
    shards = [ids(load(hundred, shard=f"{i}/{n}", limit=limit)) for i in range(n)]
    together = [id for shard in shards for id in shard]
    assert sorted(together) == sorted(ids(load(hundred, limit=limit)))


def test_a_row_stays_in_its_shard_when_the_file_is_shuffled(hundred, tmp_path):
    shuffled = write(tmp_path / "shuffled.jsonl", [f"Task {n}" for n in reversed(range(100))])
    assert set(ids(load(hundred, shard="1/3"))) == set(ids(load(shuffled, shard="1/3")))


def test_shards_partition_the_rejects_too(broken):
    together = [id for i in range(3) for id in ids(load(broken, shard=f"{i}/3"))]
    assert sorted(together) == sorted(ids(load(broken)))


@pytest.mark.parametrize("shard", ["4/4", "1", "a/b", "-1/2", "0/0", ""])
def test_bad_shard_is_refused(hundred, shard):
    with pytest.raises(ValueError, match="shard"):
        load(hundred, shard=shard)


@pytest.mark.parametrize("limit", [0, -1])
def test_bad_limit_is_refused(hundred, limit):
    with pytest.raises(ValueError, match="limit must be"):
        load(hundred, limit=limit)


def test_dataset_must_be_the_first_step(hundred):
    dataset = JSONL(path=hundred, columns=COLUMNS, keep_extra=False)
    with pytest.raises(RunError, match="must come first"):
        dataset([Record.seed("from before")], {})


def test_no_usable_row_is_an_error_that_names_the_first_fault(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"instruction": 5}\n{"instruction": 6}\n')
    with pytest.raises(RunError, match=r"no usable row among 2 .*bad.jsonl:1: instruction is a number, not text"):
        load(str(path))


def test_dataset_names_no_role_and_no_prompt(hundred):
    dataset = JSONL(path=hundred, columns=COLUMNS, keep_extra=False)
    assert dataset.roles == () and dataset.prompts == ()


@pytest.mark.parametrize(
    "option", sorted((Path(__file__).parents[2] / "conf/dataset").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_option_builds_the_class_of_its_name(option):
    config = OmegaConf.create({"seed": 7, "path": None, "dataset": OmegaConf.load(option)})
    dataset = instantiate(config.dataset, _convert_="all")
    assert isinstance(dataset, Dataset) and dataset.seed == 7
    assert type(dataset).__module__ == f"evodistill.dataset.{option.stem}"
    assert type(dataset).__name__.lower() == option.stem.replace("_", "")
