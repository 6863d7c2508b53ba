"""Reading foreign files: every format, every kind of damage."""

import csv
import datetime
import json
import time
import tracemalloc

import pyarrow
import pyarrow.parquet
import pytest

from evodistill import RunError
from evodistill.dataset import rows
from evodistill.dataset.jsonl import JSONL

ROWS = [{"instruction": "Name a tea.", "input": "", "output": "Oolong"}, {"instruction": "Say «hi»", "input": "x\ny"}]


def values(path):
    return [row.value for row in rows.read(path)]


def places(path):
    return [int(row.place.rpartition(":")[2]) for row in rows.read(path)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.txt", "noending"])
def test_json_lines_are_recognised(tmp_path, name):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert values(path) == ROWS
    assert places(path) == [1, 2]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "noending"])
@pytest.mark.parametrize("indent", [None, 0, 6])
def test_json_array_is_recognised(tmp_path, name, indent):
    path = tmp_path / name
    path.write_text(json.dumps(ROWS, indent=indent))
    assert values(path) == ROWS


def test_array_rows_name_the_line_they_start_on(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[\n\n  {"a":\n 1},\n  {"a": 2}, 7\n, {"a": 3}]\n')
    assert values(path) == [{"a": 1}, {"a": 2}, 7, {"a": 3}]
    assert places(path) == [3, 5, 5, 6]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_array_reads_the_same_whatever_the_size_of_its_window(tmp_path, monkeypatch, chunk):
    path = tmp_path / "a.json"
    rows_with_all = [{"a": [1, 2.5e3, 'é \u2028 \\ " ]}', None, True], "b": {"c": "[{"}}, 12345, "text", [], {}, -0.5]
    path.write_text(json.dumps(rows_with_all, indent=1, ensure_ascii=False), encoding="utf-8")
    whole, lines = values(path), places(path)
    monkeypatch.setattr(rows, "CHUNK", chunk)
    assert values(path) == whole == rows_with_all
    assert places(path) == lines


@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"a": 1},\n {"a": 2\n', ":3:1: "),  # cut off
        ('[{"a": 1},\n {"a": oops}]', ":2:8: "),
        ('[{"a": 1}\n {"a": 2}]', ":2:2: "),  # no comma
        ('[{"a": 1}]\n[{"a": 2}]', ":2:1: "),
        ('[{"a": 1},]', ":1:11: "),
        ('[{"a": 1}', ":1:10: "),
    ],
)
def test_broken_array_is_an_error_with_line_and_column(tmp_path, monkeypatch, chunk, text, place):
    monkeypatch.setattr(rows, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(RunError) as error:
        values(path)
    assert f"{path}{place}broken JSON array" in str(error.value)


def test_empty_array_has_no_rows(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(" [ ]\n")
    assert values(path) == []


def test_array_is_streamed(tmp_path):
    path = tmp_path / "a.json"
    row = {"instruction": "x" * 1000}
    path.write_text(json.dumps([row] * 20_000))  # 20 MB
    tracemalloc.start()
    n = sum(1 for _ in rows.read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 20_000
    assert peak < 10e6


def test_broken_line_is_a_fault_and_reading_goes_on(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"a": 1}\n{"a": \n\n{"a": 2}\n' + "[" * 100_000 + "\n" + '{"a": ' + "9" * 5000 + "}\n" + '{"a": 3}'
    )
    found = list(rows.read(path))
    assert [row.value for row in found if not row.fault] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [row.place for row in found if row.fault] == [f"{path}:{line}" for line in (2, 5, 6)]
    assert "too deeply nested" in found[3].fault


def test_line_separators_inside_strings_are_text(tmp_path):
    path = tmp_path / "a.jsonl"
    text = "one\u2028two\u2029three\x85four"
    path.write_text(json.dumps({"a": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert values(path) == [{"a": text}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_byte_order_mark_and_crlf_are_no_text(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b'\xef\xbb\xbf{"a": "x\\r\\ny"}\r\n\r\n{"a": "z"}\r\n')
    assert values(path) == [{"a": "x\r\ny"}, {"a": "z"}]
    assert places(path) == [1, 3]


def test_a_lone_carriage_return_ends_no_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":\r1}\n{"a": 2}')
    assert values(path) == [{"a": 1}, {"a": 2}]


def test_escaped_nul_is_text_and_a_raw_one_is_a_fault(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "x\\u0000y"}\n{"a": "x\x00y"}\n\x00\x00\x00\n')
    found = list(rows.read(path))
    assert found[0].value == {"a": "x\0y"}
    assert found[1].fault and found[2].fault


def test_ten_megabyte_line_is_one_row(tmp_path):
    big = {"a": "ab é" * 2_500_000}
    for name, text in [("a.jsonl", json.dumps(big)), ("a.json", json.dumps([big, big]))]:
        (tmp_path / name).write_text(text)
        assert values(tmp_path / name)[0] == big
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a"], [big["a"]]])
    assert values(tmp_path / "a.csv") == [big]


def test_nan_is_null(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"a": NaN, "b": -Infinity}]')
    assert values(path) == [{"a": None, "b": None}]


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
def test_csv_keeps_quotes_line_breaks_and_numbers_as_text(tmp_path, name, delimiter):
    path = tmp_path / name
    table = [["a", "b"], ['say "hi", ok\tso', "1\n2\r\n3"], ["42", ""], ["\u2028", "\0"]]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows(table)
    assert values(path) == [dict(zip(table[0], line, strict=True)) for line in table[1:]]
    assert places(path) == [2, 5, 6]


def test_csv_row_of_another_width_is_a_fault_with_its_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n\n1\n1,2,3\n3,4\n")
    found = list(rows.read(path))
    assert [row.value for row in found if not row.fault] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert [(row.place, row.fault, row.raw) for row in found if row.fault] == [
        (f"{path}:4", "1 fields, the header has 2", "1\n"),
        (f"{path}:5", "3 fields, the header has 2", "1,2,3\n"),
    ]


def test_csv_open_quote_is_a_fault_that_holds_what_it_swallowed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n"3,4\n5,6\n')
    found = list(rows.read(path))
    assert found[0].value == {"a": "1", "b": "2"}
    assert found[1].place == f"{path}:3" and "up to line 4" in found[1].fault
    assert found[1].raw == '"3,4\n5,6\n'


def test_csv_goes_on_after_a_broken_quote_inside_a_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n"1" x,2\n3,4\n')
    found = list(rows.read(path))
    assert found[0].fault and found[1].value == {"a": "3", "b": "4"}


def test_parquet_gives_json_values(tmp_path):
    path = tmp_path / "a.bin"  # known by its content
    table = pyarrow.table({"a": ["x", None], "n": [1.5, float("nan")], "day": [datetime.date(2024, 2, 29), None]})
    pyarrow.parquet.write_table(table, path)
    assert values(path) == [{"a": "x", "n": 1.5, "day": "2024-02-29"}, {"a": None, "n": None, "day": None}]


def test_damaged_parquet_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(RunError, match="damaged Parquet"):
        values(path)


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08 gzip", b"PK\x03\x04", b"just words\n"])
def test_unknown_format_is_an_error(tmp_path, content):
    path = tmp_path / "a.dat"
    path.write_bytes(content)
    with pytest.raises(RunError, match="format not recognised"):
        values(path)


def test_utf16_is_an_error_with_its_cure(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n', encoding="utf-16")
    with pytest.raises(RunError, match="iconv"):
        values(path)


def test_find_takes_files_lists_and_globs_in_order(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "c[1].jsonl"):
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "d.jsonl").mkdir()
    names = lambda path: [found.name for found in rows.find(path)]  # noqa: E731
    assert names(str(tmp_path / "*.jsonl")) == ["a.jsonl", "b.jsonl", "c[1].jsonl"]
    assert names([str(tmp_path / "b.jsonl"), str(tmp_path / "a.jsonl")]) == ["b.jsonl", "a.jsonl"]
    assert names(str(tmp_path / "c[1].jsonl")) == ["c[1].jsonl"]


@pytest.mark.parametrize("path", [None, [], ""])
def test_no_path_is_an_error(path):
    with pytest.raises(RunError, match=r"dataset\.path"):
        rows.find(path)


def test_missing_empty_and_folder_are_errors_that_name_the_path(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for name, message in [
        ("no.jsonl", "no such file"),
        ("*.csv", "no such file"),
        ("empty.jsonl", "is empty"),
        ("", "is a folder"),
    ]:
        with pytest.raises(RunError, match=message) as error:
            rows.find(str(tmp_path / name))
        assert str(tmp_path) in str(error.value)


def test_sha256_is_that_of_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert rows.sha256(path) == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_half_of_fifty_two_thousand_rows_are_drawn(tmp_path, capsys):
    columns = {"instruction": "instruction", "input": "input", "output": "output"}
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for n in range(52_000):
            row = {"instruction": f"Task {n}: " + "do it well. " * 5, "input": "", "output": "A long answer. " * 25}
            file.write(json.dumps(row) + "\n")
    wall, cpu = time.perf_counter(), time.process_time()
    records = JSONL(path=str(path), columns=columns, keep_extra=True, limit=26_000)([], {})
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert len(records) == 26_000
    with capsys.disabled():
        print(f"\n52,000 rows of JSONL, half of them drawn: {wall:.2f} s, {cpu:.2f} s of CPU")
