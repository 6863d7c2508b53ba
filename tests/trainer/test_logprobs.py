import json
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from evodistill import RunError
from evodistill.trainer.logprobs import SAMPLES, TYPES, About, Logprobs, Sample, Writer

K = 8
ABOUT = About(K, 1.0, 1000)


def sample(number: int, n: int = 0) -> Sample:
    return Sample(f"s{number}", [1, 2, 3, *range(number, number + (n or 1 + number % 5))], n or 1 + number % 5)


def values(one: Sample) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(one.ids[3])
    return draw.integers(0, 1000, (one.n, K)), draw.normal(size=(one.n, K + 1)).astype(np.float16)


def write(folder: Path, samples: list[Sample]) -> None:
    with Writer(folder, ABOUT) as out:
        for one in samples:
            if one.id not in out.known:
                out.add(one, *values(one))


def test_each_sample_is_found_by_its_id(tmp_path):
    """W1: whatever the order in which it is asked for"""
    samples = [sample(number) for number in range(30)]
    write(tmp_path, samples)
    found = Logprobs(tmp_path)
    assert len(found) == 30
    for one in random.Random(0).sample(samples, 30):
        tokens, logprobs = values(one)
        assert (found.of(one.id, "tokens.i32") == tokens).all() and (found.of(one.id, "logprobs.f16") == logprobs).all()
        assert found.of(one.id, "answers.i32")[:, 0].tolist() == one.answer  # W6


def test_a_kept_logit_costs_at_most_12_bytes(tmp_path):
    """W7"""
    samples = [sample(number, n=100) for number in range(50)]
    write(tmp_path, samples)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 12 * K * 100 * 50


def test_memory_does_not_grow_with_the_file(tmp_path):
    """W7: what is read is mapped; only an id and two numbers a sample are held"""
    peaks = {}
    for n in (20, 200):
        samples = [sample(0, n=n)] + [sample(number, n=n) for number in range(1, 100)]
        write(tmp_path / str(n), samples)
        tracemalloc.start()
        found = Logprobs(tmp_path / str(n))
        total = sum(float(found.of(one.id, "logprobs.f16").sum()) for one in samples)
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.isfinite(total) and all(isinstance(array, np.memmap) for array in found.arrays.values())
    assert peaks[200] < 1.2 * peaks[20]


@pytest.mark.parametrize("file", [SAMPLES, *TYPES])
def test_a_writer_that_was_killed_goes_on_behind_the_last_whole_sample(tmp_path, file):
    samples = [sample(number) for number in range(20)]
    write(tmp_path / "whole", samples)
    write(tmp_path / "cut", samples[:10])
    path = tmp_path / "cut" / file
    path.write_bytes(path.read_bytes()[:-3])
    write(tmp_path / "cut", samples)
    assert [(tmp_path / "cut" / name).read_bytes() for name in (SAMPLES, *TYPES)] == [
        (tmp_path / "whole" / name).read_bytes() for name in (SAMPLES, *TYPES)
    ]


def test_values_of_another_number_of_tokens_are_refused(tmp_path):
    with Writer(tmp_path, ABOUT) as out, pytest.raises(RuntimeError, match=r"tokens.i32: .* for 3 positions"):
        out.add(sample(2), *values(sample(1)))


def test_samples_that_are_missing_or_have_changed_are_named(tmp_path):
    """W6: what the teacher read is what is trained on"""
    write(tmp_path, [sample(1), sample(2)])
    Logprobs(tmp_path).check([sample(1), sample(2)])
    changed = Sample("s2", [*sample(2).ids[:-1], 999], sample(2).n)
    with pytest.raises(RunError, match=r"of 3 samples 1 are not there \(s7 for one\) and 1 have other tokens .* \(s2"):
        Logprobs(tmp_path).check([sample(1), changed, sample(7)])


def test_a_folder_without_log_probabilities_is_one_line(tmp_path):
    with pytest.raises(RunError, match="holds no log-probabilities of a teacher"):
        Logprobs(tmp_path)


def test_an_empty_file_has_no_samples(tmp_path):
    write(tmp_path, [])
    assert len(Logprobs(tmp_path)) == 0 and json.loads((tmp_path / "about.json").read_text())["k"] == K
