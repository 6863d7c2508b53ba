"""Files of one's own: the column map and what makes a row malformed."""

import json

import pytest

from evodistill import RunError
from evodistill.dataset.jsonl import JSONL
from evodistill.record import split, to_line

COLUMNS = {"instruction": "instruction", "input": "input", "output": "output"}


@pytest.fixture
def load(tmp_path):
    """Writes rows (or text) to a file and loads it."""

    def load(content, name="seeds.jsonl", columns=COLUMNS, keep_extra=False):
        path = tmp_path / name
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return JSONL(path=str(path), columns=columns, keep_extra=keep_extra)([], {})

    return load


def row(instruction, input="", output="", **more):
    return {"instruction": instruction, "input": input, "output": output, **more}


def test_one_row_is_enough(load):
    [record] = load([row("Sort these.", "3, 1, 2", "1, 2, 3")])
    assert (record.instruction, record.input, record.output) == ("Sort these.", "3, 1, 2", "1, 2, 3")
    assert record.fault is None and record.origin.seed == record.id and record.origin.round == 0


def test_columns_are_renamed(load):
    columns = {"instruction": "question", "input": None, "output": "answer"}
    [record] = load([{"question": "2 + 2?", "answer": "4", "input": "not asked for"}], columns=columns)
    assert (record.instruction, record.input, record.output) == ("2 + 2?", "", "4")


def test_text_is_kept_to_the_letter(load):
    text = "  two  spaces\r\n\ttab\u2028separator\u00a0 \0 "
    [record] = load([row(text, text, text)])
    assert record.instruction == record.input == record.output == text


def test_other_columns_go_to_extra_only_if_asked(load):
    rows = [row("a", index=3, step="x", score=[1, None])]
    assert load(rows)[0].extra == {}
    [kept] = load(rows, keep_extra=True)
    assert kept.extra == {"index": 3, "step": "x", "score": [1, None]}
    assert kept.origin.index == 0 and kept.origin.step == "dataset"


def test_extra_is_no_part_of_the_id(load):
    rows = [row("a", score=1)]
    assert load(rows)[0].id == load(rows, keep_extra=True)[0].id


def test_null_and_missing_input_and_output_are_empty(load):
    records = load([row("a", None, None), {"instruction": "b"}, row("c")])
    assert [(record.input, record.output, record.fault) for record in records] == [("", "", None)] * 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"instruction": 5, "input": "", "output": ""}', "instruction is a number, not text"),
        ('{"instruction": ["a"]}', "instruction is a list, not text"),
        ('{"instruction": {"a": 1}}', "instruction is an object, not text"),
        ('{"instruction": true}', "instruction is true or false, not text"),
        ('{"instruction": null}', "instruction is empty"),
        ('{"instruction": NaN}', "instruction is empty"),
        ('{"instruction": " \\n"}', "instruction is empty"),
        ('{"input": "a"}', "no instruction"),
        ('{"instruction": "a", "input": 1.5}', "input is a number, not text"),
        ('{"instruction": "a", "output": ["b"]}', "output is a list, not text"),
        ('["a", "b"]', "the row is a list, not an object with columns"),
        ('"a"', "the row is a string, not an object with columns"),
        ("null", "the row is null, not an object with columns"),
        ('{"instruction": "a"', "broken JSON, Expecting ',' delimiter at column 20"),
        ("[1, 2", "broken JSON"),
        ('{"instruction": "a', "broken JSON, Unterminated string starting at column 17"),
        ('{"instruction": "a \\ud800 b"}', "instruction holds a lone surrogate"),
        (
            '{"instruction": "a", "output": "b \udcff"}',
            "a byte that is not UTF-8 at character 3; save the file as UTF-8",
        ),
    ],
)
def test_malformed_line_is_rejected_with_place_reason_and_text(load, tmp_path, line, reason):
    good = json.dumps(row("fine"))
    usable, rejected = split(load(f"{good}\n{line}\n"))
    assert [record.instruction for record in usable] == ["fine"]
    [fault] = [record.fault for record in rejected]
    assert fault.reason == "malformed"
    assert fault.detail.startswith(f"{tmp_path}/seeds.jsonl:2: ") and reason in fault.detail
    assert fault.raw == line
    to_line(rejected[0].to_dict()).encode("utf-8")  # can be written


def test_malformed_row_of_an_array_is_rejected_and_the_rest_is_read(load, tmp_path):
    text = '[\n{"instruction": "a", "input": "", "output": ""},\n{"instruction": 5},\n{"instruction": "b"}\n]'
    usable, rejected = split(load(text, "seeds.json"))
    assert [record.instruction for record in usable] == ["a", "b"]
    assert rejected[0].fault.detail == f"{tmp_path}/seeds.json:3: instruction is a number, not text"
    assert json.loads(rejected[0].fault.raw) == {"instruction": 5}


def test_csv_numbers_are_text(load):
    [record] = load("instruction,input,output\n42,7,\n", "seeds.csv")
    assert (record.instruction, record.input) == ("42", "7")


def test_tsv_is_read(load):
    [record] = load("instruction\tinput\toutput\nName a tea, please\t\tOolong\n", "seeds.tsv")
    assert (record.instruction, record.output) == ("Name a tea, please", "Oolong")


@pytest.mark.parametrize("key", ["instruction", "input", "output"])
def test_wrong_column_is_an_error_that_lists_the_columns(load, key):
    with pytest.raises(RunError) as error:
        load([row("a"), row("b", tags=[])], columns={**COLUMNS, key: "misspelt"})
    assert "no column 'misspelt'" in str(error.value)
    assert "the file has: instruction, input, output, tags;" in str(error.value)
    assert f"dataset.columns.{key}=" in str(error.value)
    assert ("=null" in str(error.value)) == (key != "instruction")


def test_all_wrong_columns_are_one_error_with_one_complete_cure(load, caplog):
    """… and rows are malformed only where the column map is right"""
    with pytest.raises(RunError) as error:
        load([{"question": "a", "instruction": ""}, {"question": 5}])
    assert "no column 'input' (dataset.columns.input), no column 'output' (dataset.columns.output)" in str(error.value)
    cure = "set dataset.columns.input=null dataset.columns.output=null, or …=NAME of a column in the place of null"
    assert str(error.value).endswith(f"the file has: question, instruction; {cure}")
    assert "rejected" not in caplog.text
    with pytest.raises(RunError, match=r"set dataset.columns.instruction=NAME dataset.columns.input=null"):
        load([{"question": "a"}])


def test_a_column_whose_name_is_not_utf8_can_be_told(load):
    with pytest.raises(RunError) as error:
        load("pr\udce9nom,instruction\nx,y\n", "seeds.csv")
    assert "pr\\udce9nom, instruction" in str(error.value)
    str(error.value).encode("utf-8")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "instruction;input;output\nSort, please;;\n", "separated by ';': save it with commas"),
        ("a.csv", '"instruction";"input"\n"Sort";""\n', "separated by ';': save it with commas"),
        ("a.csv", "instruction\tinput\nSort\t\n", "separated by tabs: save it with commas, or name it .tsv"),
        ("a.tsv", "instruction,input\nSort,\n", "separated by ',': name it .csv"),
    ],
)
def test_another_separator_is_an_error_with_its_cure(load, name, text, told):
    with pytest.raises(RunError, match=rf"{name}:1: the header looks like that of a file {told}"):
        load(text, name)


@pytest.mark.parametrize("columns", [{"instruction": "a"}, {**COLUMNS, "instruction": None}, {**COLUMNS, "more": "b"}])
def test_column_map_needs_its_three_keys_and_an_instruction(columns):
    with pytest.raises(ValueError, match="columns"):
        JSONL(path="x", columns=columns, keep_extra=False)


def test_path_null_is_an_error_with_its_cure():
    dataset = JSONL(path=None, columns=COLUMNS, keep_extra=False)
    for act in (lambda: dataset([], {}), lambda: dataset.sources):
        with pytest.raises(RunError, match=r"dataset\.path=seeds\.jsonl"):
            act()


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "[]"), ("a.jsonl", "\n\n"), ("a.csv", "instruction,input,output\n")]
)
def test_file_without_a_row_is_an_error_that_names_it(load, name, text):
    with pytest.raises(RunError, match=rf"{name}: no usable row among 0"):
        load(text, name)


def test_several_files_are_one_source(tmp_path):
    for name, text in [("b.jsonl", "late"), ("a.jsonl", "early"), ("c.jsonl", "early")]:
        (tmp_path / name).write_text(json.dumps(row(text)) + "\n")
    dataset = JSONL(path=str(tmp_path / "*.jsonl"), columns=COLUMNS, keep_extra=False)
    records = dataset([], {})
    assert [(record.instruction, record.origin.index) for record in records] == [
        ("early", 0),
        ("late", 1),
        ("early", 2),
    ]
    assert records[2].fault.detail == f"{tmp_path}/c.jsonl:1: the same row as {tmp_path}/a.jsonl:1"
    assert len(dataset.sources) == 3 and dataset.sources[0] == dataset.sources[2] != dataset.sources[1]


def test_sources_follow_the_content_not_the_name(tmp_path):
    sources = []
    for name, text in [("a.jsonl", "one"), ("b.jsonl", "one"), ("c.jsonl", "two")]:
        (tmp_path / name).write_text(json.dumps(row(text)))
        sources.append(JSONL(path=str(tmp_path / name), columns=COLUMNS, keep_extra=False).sources)
    assert sources[0] == sources[1] != sources[2]
    assert sources[0][0].startswith("sha256:")


def test_the_same_row_has_the_same_id_in_every_format(load):
    rows = [row("Say «hi» — 你好", "x\ny", "z")]
    csv = 'instruction,input,output\nSay «hi» — 你好,"x\ny",z\n'
    ids = {load(rows)[0].id, load(json.dumps(rows, indent=4), "seeds.json")[0].id, load(csv, "seeds.csv")[0].id}
    assert len(ids) == 1
