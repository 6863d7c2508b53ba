from pathlib import Path

import numpy as np
import pytest
import torch
from trainer.tiny import llama, tokenizer

from evodistill import RunError
from evodistill.trainer import teacher
from evodistill.trainer.logprobs import About, Logprobs, Sample

ABOUT = About(6, 1.0, 500)


def samples() -> list[Sample]:
    draw = np.random.default_rng(0)
    return [
        Sample(f"s{number}", draw.integers(3, 400, 20 + 7 * number).tolist(), n=5 + 3 * number) for number in range(6)
    ]


def ask(folder: Path, base: Path, given: list[Sample], about: About = ABOUT, batch_tokens: int = 120) -> Logprobs:
    teacher.ask(teacher.load(base, "float32"), given, folder, about, batch_tokens)
    return Logprobs(folder)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_what_is_stored_is_the_models_distribution_of_each_token_of_the_answer(base, tmp_path, temperature):
    """W3: one sample at a time, one position at a time, over the whole vocabulary"""
    found = ask(tmp_path, base, samples(), About(6, temperature, 500))
    model = teacher.load(base, "float32")
    for one in samples():
        with torch.inference_mode():
            logits = model(torch.tensor([one.ids])).logits[0]
        for number in range(one.n):
            before = len(one.ids) - one.n + number  # tokens read when this one is said
            whole = (logits[before - 1] / temperature).log_softmax(-1)
            tokens, values = (found.of(one.id, name)[number] for name in ("tokens.i32", "logprobs.f16"))
            assert whole[tokens.tolist()].numpy() == pytest.approx(values[:-1].astype(float), abs=0.01)
            assert whole.sort(descending=True).values[5] == pytest.approx(float(values[-2]), abs=0.01)
            assert np.exp(values.astype(float)).sum() == pytest.approx(1, abs=0.01)


def test_positions_are_given_as_a_number(base):
    """Which lies on no GPU, while the layer that reads it may lie on another than the first"""
    model = teacher.load(base, "float32")
    kept = []
    model.register_forward_pre_hook(lambda _, args, given: kept.append(given["logits_to_keep"]), with_kwargs=True)
    found = list(teacher.read(model, samples()[:3], ABOUT))
    assert kept == [20] and [len(tokens) for tokens, _ in found] == [5, 8, 11]
    for one, (tokens, values) in zip(samples(), found, strict=False):
        columns = torch.arange(len(one.ids) - one.n - 1, len(one.ids) - 1)
        with torch.inference_mode():
            logits = model(torch.tensor([one.ids]), logits_to_keep=columns).logits[0].log_softmax(-1)
        assert torch.allclose(logits.gather(1, tokens), values[:, :-1], atol=1e-4)


def test_neither_order_nor_batch_changes_what_a_sample_is_told(base, tmp_path):
    one = ask(tmp_path / "one", base, samples(), batch_tokens=1)
    other = ask(tmp_path / "other", base, samples()[::-1], batch_tokens=100_000)
    for given in samples():
        values = [found.of(given.id, "logprobs.f16").astype(float) for found in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=0.01)


def test_a_pass_that_was_killed_reads_only_what_is_missing(base, tmp_path):
    ask(tmp_path, base, samples()[:4])
    model = teacher.load(base, "float32")
    read = []
    model.register_forward_pre_hook(lambda module, args, given: read.append(given["input_ids"].shape), with_kwargs=True)
    teacher.ask(model, samples(), tmp_path, ABOUT, 1)
    assert len(read) == 2 and len(Logprobs(tmp_path)) == 6


def test_equal_vocabularies_are_compared_whole(base):
    assert teacher.common(base, base, "error") == len(tokenizer(base))


def test_padding_of_a_vocabulary_is_sliced_where_that_is_asked_for(base, tmp_path):
    """Qwen2.5: 151,936 tokens below 7B, 152,064 from there on; what is behind the common ones is padding"""
    wide = llama(tmp_path / "wide", padding=28)
    with pytest.raises(RunError, match=r"vocabularies of 500 and 528 tokens, .* vocab_policy=common_slice"):
        teacher.common(base, wide, "error")
    assert teacher.common(base, wide, "common_slice") == teacher.common(wide, base, "common_slice") == 500


def test_ids_that_mean_other_tokens_are_refused_whatever_the_policy(base, tmp_path):
    other = llama(tmp_path / "other", words=480)
    for policy in ("error", "common_slice"):
        with pytest.raises(RunError, match=r"different vocabularies: \d+ ids mean other tokens, id \d+ is"):
            teacher.common(base, other, policy)


def test_a_token_that_only_the_student_knows_is_refused(base, tmp_path):
    """The teacher has no weights for it."""
    more = llama(tmp_path / "more")
    words = tokenizer(more)
    words.add_tokens(["<|mine|>"])
    words.save_pretrained(more)
    with pytest.raises(RunError, match=r"1 ids mean other tokens, id 500 is '<\|mine\|>' to one and None to the other"):
        teacher.common(more, base, "common_slice")
