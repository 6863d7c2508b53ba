import time

import pytest

from evodistill import follow
from evodistill.follow import followed


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(follow, "WAIT", 0.005)


def until(found: list, n: int) -> None:
    end = time.monotonic() + 10
    while len(found) < n and time.monotonic() < end:
        time.sleep(0.005)


def test_each_row_is_told_once_it_is_whole(tmp_path):
    file, found = tmp_path / "curve.jsonl", []
    with followed(file, found.append), file.open("w") as lines:
        lines.write('{"step": 1}\n{"st')
        lines.flush()
        until(found, 1)
        assert found == [{"step": 1}]
        lines.write('ep": 2}\n{"step": 3}\n')
    assert found == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_what_a_killed_process_left_is_not_told(tmp_path):
    file, found = tmp_path / "curve.jsonl", []
    file.write_text('{"step": 1}\n{"step": 2}\n')
    with followed(file, found.append):
        file.write_text('{"step": 1}\n')
    assert found == [{"step": 1}]


def test_no_file_and_a_file_that_goes_are_no_failure(tmp_path):
    file, found = tmp_path / "curve.jsonl", []
    with followed(tmp_path / "nowhere" / "curve.jsonl", found.append):
        pass
    with followed(file, found.append):
        file.write_text('{"step": 1}\n')
        until(found, 1)
        file.unlink()
    assert found == [{"step": 1}]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_that_fails_stops_nothing(tmp_path):
    file = tmp_path / "curve.jsonl"
    with followed(file, lambda row: row["missing"]):
        file.write_text('{"step": 1}\n')
    with pytest.raises(KeyboardInterrupt), followed(file, lambda row: None):
        raise KeyboardInterrupt
