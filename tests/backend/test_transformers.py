"""Against the real SmolLM2-135M in float32, where rounding is small enough to ask for equal text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evodistill import RunError
from evodistill.backend import Completion, Logprobs, Request, Sampling, chat
from evodistill.backend.tokens import encode, encode_parts
from evodistill.backend.transformers import Engine, Transformers, can_compile
from evodistill.weights import Weights, resolve

CONF = Path(__file__).parents[2] / "conf" / "backend" / "transformers.yaml"
ENGINE = {"dtype": "float32", "compile": False, "threads": 1}
ASKS = [
    "Name a tea.",
    "Write one sentence about a lighthouse that stands at the end of a long road by the cold northern sea.",
    "Count from one to five.",
    "What colour is the sky at noon, and why is it that colour? Answer in a few words, please.",
    "Say hello.",
    "Name a tea and a cup.",
]
DRAWN = Sampling(temperature=0.9, top_p=0.95, max_tokens=8)


@pytest.fixture(scope="module")
def model(smollm2: Weights) -> Transformers:
    return Transformers("smollm2-135m", path=str(smollm2.folder), engine=ENGINE)


@pytest.fixture(scope="module")
def four(smollm2: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first four layers: what does not depend on what a model says is as true of them, in a third of the time."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("four")
    AutoModelForCausalLM.from_pretrained(smollm2.folder, num_hidden_layers=4).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm2.folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def shallow(four: Path) -> Transformers:
    return Transformers("four layers", path=str(four), engine=ENGINE)


def texts(completions: list[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def test_the_yaml_names_every_key_and_its_default() -> None:
    assert Engine(**yaml.safe_load(CONF.read_text())["engine"]) == Engine()
    assert set(yaml.safe_load(CONF.read_text())["engine"]) == set(Engine.__dataclass_fields__)


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        ({"dtypes": "float32"}, "engine.dtypes is unknown.*known: dtype"),
        ({"dtype": "int3"}, "engine.dtype must be one of"),
        ({"batch_size": 0}, "engine.batch_size must be ≥ 1, got 0"),
        ({"compile": "maybe"}, "engine.compile must be auto, true or false"),
    ],
)
def test_a_bad_engine_setting_is_named_with_its_cure(engine: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Transformers("m", engine=engine)


def test_a_device_that_is_not_there_is_named(smollm2: Weights) -> None:
    model = Transformers("m", path=str(smollm2.folder), engine={"device": "cuda:99"})
    with pytest.raises(RunError, match=r"engine\.device=cuda:99 cannot be used"):
        model.generate([chat("Hi")], Sampling(max_tokens=1))


@pytest.mark.parametrize(("known", "read"), [(True, "torch.bfloat16"), (False, "torch.float32")])
def test_auto_reads_weights_as_what_the_cpu_multiplies(monkeypatch: pytest.MonkeyPatch, known: bool, read: str) -> None:
    monkeypatch.setattr("evodistill.backend.local.multiplies_bfloat16", lambda: known)
    assert str(Transformers("m", engine={"device": "cpu"}).dtype) == read
    assert str(Transformers("m", engine={"device": "cpu", "dtype": "float16"}).dtype) == "torch.float16"


def test_a_folder_that_is_no_model_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_model"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    model = Transformers("broken", path=str(tmp_path))
    with pytest.raises(RunError, match="model broken: cannot load"):
        model.generate([chat("Hi")], Sampling(max_tokens=1))


def test_the_identity_is_that_of_the_weights_and_opens_nothing(smollm2: Weights) -> None:
    model = Transformers("another name", path=str(smollm2.folder), engine={"dtype": "float16"})
    assert model.identity == resolve("m", str(smollm2.folder), None).identity
    assert not {"model", "tokenizer"} & set(vars(model))


def test_greedy_text_is_that_of_generate(model: Transformers) -> None:
    import torch

    expected = []
    for ask in ASKS:
        ids = torch.tensor([encode(model.tokenizer, chat(ask))])
        out = model.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        expected.append(model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    found = model.generate([chat(ask) for ask in ASKS], Sampling(max_tokens=12))
    assert texts(found) == expected
    assert len(set(expected)) > 1


def test_a_draw_depends_on_its_request_alone(shallow: Transformers) -> None:
    requests = shallow.requests([chat(ask) for ask in ASKS], DRAWN)
    together = dict(flat(shallow, requests))
    alone = {number: dict(flat(shallow, [request]))[0] for number, request in enumerate(requests)}
    backwards = {len(requests) - 1 - number: value for number, value in flat(shallow, requests[::-1])}
    assert together == alone == backwards
    assert len({completion.text for completion in together.values()}) == len(ASKS)


def test_batches_and_their_compaction_change_no_draw(four: Path, shallow: Transformers) -> None:
    chats = [chat(ask) for ask in ASKS]
    # rows that end early leave the batch: the others go on as if nothing had happened
    sampling = replace(DRAWN, stop=(" ", "."), max_tokens=12)
    small = Transformers("m", path=str(four), engine={**ENGINE, "batch_size": 2})
    assert small.generate(chats, sampling) == shallow.generate(chats, sampling)
    tight = Transformers("m", path=str(four), engine={**ENGINE, "cache_tokens": 1})
    assert tight.generate(chats, DRAWN) == shallow.generate(chats, DRAWN)


def test_equal_chats_are_different_draws_and_another_seed_draws_anew(shallow: Transformers) -> None:
    first, second = texts(shallow.generate([chat(ASKS[1])] * 2, DRAWN))
    assert first != second
    assert texts(shallow.generate([chat(ASKS[1])], DRAWN)) == [first]
    assert texts(shallow.generate([chat(ASKS[1])], replace(DRAWN, seed=1))) != [first]


def test_a_draw_follows_the_probabilities_inside_the_nucleus() -> None:
    import torch

    from evodistill.backend.decode import pick

    logits = torch.log(torch.tensor([[0.1, 0.5, 0.15, 0.25]])).repeat(1000, 1)
    numbers = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1, None]
    counts = torch.bincount(pick(logits, Sampling(temperature=1.0), numbers), minlength=4)
    assert torch.allclose(counts / 1000, torch.tensor([0.1, 0.5, 0.15, 0.25]), atol=2e-3)
    # 0.5 + 0.25 reach 0.7, the others are out
    counts = torch.bincount(pick(logits, Sampling(temperature=1.0, top_p=0.7), numbers), minlength=4)
    assert torch.allclose(counts / 1000, torch.tensor([0.0, 2 / 3, 0.0, 1 / 3]), atol=2e-3)
    cold = pick(logits, Sampling(temperature=0.01), numbers)
    assert cold.eq(1).all() and pick(logits, Sampling(), numbers).eq(1).all()


def test_a_flat_distribution_has_its_whole_nucleus() -> None:
    import torch

    from evodistill.backend.decode import edge

    chances = torch.arange(1, 40001, dtype=torch.float64).flip(0)[None]
    chances = (chances / chances.sum()).float()
    best = chances[0].double().cumsum(0)
    last = int((best < 0.9).sum())  # far beyond the tokens that are looked at first
    assert edge(chances, 0.9).item() == chances[0, last].item()


def test_text_ends_before_the_first_stop_string(model: Transformers) -> None:
    (whole,) = texts(model.generate([chat(ASKS[1])], Sampling(max_tokens=24)))
    stop, later = whole[8:13], whole[20:24]
    (cut,) = model.generate([chat(ASKS[1])], Sampling(max_tokens=24, stop=(later, stop)))
    assert (cut.text, cut.finish_reason) == (whole[: whole.index(stop)], "stop")
    assert 0 < cut.completion_tokens < 24


def test_the_models_end_token_stops_and_is_not_text(model: Transformers) -> None:
    (done,) = model.generate([chat("Say hello.")], Sampling(max_tokens=200))
    assert done.finish_reason == "stop" and done.completion_tokens < 200
    assert "<|im_end|>" not in done.text and done.text


def test_max_tokens_is_finish_reason_length(model: Transformers) -> None:
    (cut,) = model.generate([chat(ASKS[1])], Sampling(max_tokens=5))
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 5)
    assert cut.prompt_tokens == len(encode(model.tokenizer, chat(ASKS[1])))


def test_logprobs_are_the_models_own_whatever_the_temperature(model: Transformers) -> None:
    (drawn,) = model.generate([chat(ASKS[0])], Sampling(temperature=0.5, max_tokens=6, logprobs=3))
    assert len(drawn.logprobs) == drawn.completion_tokens
    for (_, chosen), *others in drawn.logprobs:
        values = [value for _, value in others]
        assert values == sorted(values, reverse=True) and len(values) in (2, 3) and chosen <= 0
    prompt = model.tokenizer.decode(encode(model.tokenizer, chat(ASKS[0]))[1:])  # scoring sets the BOS itself
    (scored,) = model.logprobs([[prompt, drawn.text]])
    assert len(scored.parts[1]) == 6, "another seed is needed: this text is made of other tokens"
    assert [at[0][1] for at in drawn.logprobs] == pytest.approx(scored.parts[1].tolist(), abs=1e-3)


def test_a_prompt_beyond_the_context_is_an_error_and_the_others_go_on(
    model: Transformers, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = len(encode(model.tokenizer, chat(ASKS[0])))
    monkeypatch.setattr(model, "context", short + 3)
    long, fits = model.generate([chat("tea " * 40), chat(ASKS[0])], Sampling(max_tokens=9))
    assert (long.finish_reason, long.text) == ("error", "")
    assert long.error == f"prompt of {long.prompt_tokens} tokens does not fit the context of {short + 3}"
    # what is left of the context bounds the completion
    assert (fits.finish_reason, fits.completion_tokens) == ("length", 3)
    over, okay = model.logprobs([["tea " * 40], ["tea"]])
    assert over.error.endswith(f"does not fit the context of {short + 3}") and over.parts == ()
    assert len(okay.parts[0]) and not okay.error


def test_a_text_may_lose_its_end_where_that_is_allowed(model: Transformers, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = model.logprobs([["Name a tea.", "\n", "Assam is a black tea."]])
    (cut,) = model.logprobs([["Name a tea.", "\n", "Assam is a black tea."]], limit=8)
    n = sum(map(len, whole.parts))
    assert (sum(map(len, cut.parts)), cut.cut) == (7, n - 7), "one of the eight is the BOS"
    for part, all_of_it in zip(cut.parts, whole.parts, strict=True):
        np.testing.assert_allclose(part, all_of_it[: len(part)], atol=1e-4)
    monkeypatch.setattr(model, "context", 6)
    (short,) = model.logprobs([["Name a tea.", "\n", "Assam is a black tea."]], limit=1000)
    assert (sum(map(len, short.parts)), short.error) == (5, "")


def test_a_model_without_a_chat_template_is_refused_at_first_use(model: Transformers, monkeypatch) -> None:
    monkeypatch.setattr(model.tokenizer, "chat_template", None)
    with pytest.raises(RunError, match="no chat template"):
        model.generate([chat("Hi")], Sampling(max_tokens=1))


def test_nothing_asked_is_nothing_answered(model: Transformers) -> None:
    assert model.generate([], Sampling()) == [] == model.logprobs([])


@pytest.fixture(scope="module")
def parts() -> list[tuple[str, ...]]:
    return [(ask, "\n", "An answer. " * (n % 4 + 1)) for n, ask in enumerate(ASKS)] + [(ask,) for ask in ASKS]


def test_scores_are_those_of_the_whole_model(model: Transformers, parts: list[tuple[str, ...]]) -> None:
    import torch

    for text, found in zip(parts, model.logprobs(parts), strict=True):
        ids, spans = encode_parts(model.tokenizer, text)
        with torch.inference_mode():
            rows = torch.log_softmax(model.model(torch.tensor([ids])).logits[0].float(), -1)
        expected = rows[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()
        assert [len(part) for part in found.parts] == [end - start for start, end in spans]
        assert np.concatenate(found.parts).dtype == np.float32
        np.testing.assert_allclose(np.concatenate(found.parts), expected, atol=1e-4)


def test_scores_are_the_same_one_by_one_and_in_any_batch_IFD3(
    four: Path, shallow: Transformers, parts: list[tuple[str, ...]]
) -> None:
    one = [shallow.logprobs([text])[0] for text in parts]
    for size in (1, 64, 4096):
        batched = Transformers("m", path=str(four), engine={**ENGINE, "batch_tokens": size}).logprobs(parts)
        agree(one, batched)
    agree(one[::-1], shallow.logprobs(parts[::-1]))


def test_an_empty_part_has_no_values_IFD5(model: Transformers) -> None:
    empty, half = model.logprobs([["", ""], ["", "tea"]])
    assert [len(part) for part in empty.parts] == [0, 0] and not empty.error
    assert [len(part) for part in half.parts] == [0, len(model.tokenizer.tokenize("tea"))]


def test_scoring_uses_the_causal_kernel_without_a_mask(model: Transformers, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn import functional

    calls, real = [], functional.scaled_dot_product_attention

    def spy(*args: object, **kwargs: object) -> object:
        calls.append((kwargs["attn_mask"], kwargs["is_causal"]))
        return real(*args, **kwargs)

    model.logprobs([["warm up"]])  # the check of the model's head is not counted
    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    model.logprobs([["Name a tea."], ["Name a cup of tea."]])
    assert calls and set(calls) == {(None, True)}


def test_a_model_that_caps_its_logits_is_not_scored_wrongly(smollm2: Weights, monkeypatch) -> None:
    model = Transformers("capped", path=str(smollm2.folder), engine=ENGINE)
    forward = model.model.lm_head.forward
    calls = iter([lambda states: forward(states) / 2])
    monkeypatch.setattr(model.model.lm_head, "forward", lambda states: next(calls, forward)(states))
    with pytest.raises(RunError, match="changes its logits"):
        model.logprobs([["tea"]])


def test_batches_hold_similar_lengths_and_follow_from_the_texts() -> None:
    from evodistill.backend.likelihood import PADDING, plan

    pool = [[token] * length for token, length in enumerate((3, 90, 100, 97, 2, 50, 100, 5000, 3, 3))]
    batches = plan(pool, 300)
    assert sorted(position for batch in batches for position in batch) == list(range(len(pool)))
    assert [7] in batches, "a text beyond the budget is a batch of its own"
    for batch in batches:
        cells = len(batch) * max(len(pool[position]) for position in batch)
        assert len(batch) == 1 or cells <= 300
        assert sum(len(pool[position]) for position in batch) >= (1 - PADDING) * cells
    back = plan(pool[::-1], 300)
    assert [[pool[p] for p in batch] for batch in batches] == [[pool[::-1][p] for p in batch] for batch in back]


def test_decoding_batches_are_even() -> None:
    from evodistill.backend.decode import Row, plan

    rows = [Row(number, [0] * (10 + number % 3), 5, seed=number) for number in range(65)]
    batches = plan(rows, 64, 10**6)
    assert [len(batch) for batch in batches] == [33, 32]
    assert [len(row.prompt) for batch in batches for row in batch] == sorted(
        (len(r.prompt) for r in rows), reverse=True
    )
    assert all(len(batch) * (max(len(row.prompt) for row in batch) + 5) <= 100 for batch in plan(rows, 64, 100))


def test_what_prompts_have_in_common_is_read_once(shallow: Transformers, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "Rewrite this instruction so that it asks for one more thing, and say nothing else.\n\nInstruction: "
    chats = [chat(template + ask) for ask in (*ASKS, ASKS[1], ASKS[1])]
    drawn = shallow.requests(chats, DRAWN)
    alone = [dict(flat(shallow, [request]))[0] for request in drawn]
    read: list[tuple[int, ...]] = []
    forward = shallow.model.forward

    def counted(inputs: Any, **kwargs: Any) -> Any:
        read.append(tuple(inputs.shape))
        return forward(inputs, **kwargs)

    monkeypatch.setattr(shallow.model, "forward", counted)
    assert [completion for _, completion in sorted(dict(flat(shallow, drawn)).items())] == alone
    prompts = [encode(shallow.tokenizer, ask) for ask in chats]
    (one, shared), (rows, rest), *steps = read
    assert one == 1
    assert shared > 20
    assert all(prompt[:shared] == prompts[0][:shared] for prompt in prompts)
    assert len({tuple(prompt[: shared + 1]) for prompt in prompts}) > 1
    assert (rows, shared + rest) == (len(ASKS), max(map(len, prompts)))  # the three equal ones are one row
    assert steps[0] == (len(chats), 1)


def test_one_prompt_may_begin_with_another(shallow: Transformers) -> None:
    from evodistill.backend.decode import Row, decode

    text = encode(shallow.tokenizer, chat(ASKS[3] + " " + ASKS[1]))
    prompts = [text[:20], text, text[:40], text[:20], *[text[:21]] * 4]

    def greedy(asked: list[list[int]]) -> dict[int, Completion]:
        rows = [Row(number, prompt, 6, seed=number) for number, prompt in enumerate(asked)]
        return dict(
            pair
            for group in decode(shallow.model, shallow.tokenizer, rows, Sampling(max_tokens=6), ())
            for pair in group
        )

    together = greedy(prompts)
    assert [together[number] for number in range(len(prompts))] == [greedy([prompt])[0] for prompt in prompts]


def test_closed_it_can_be_used_again(four: Path) -> None:
    model = Transformers("m", path=str(four), engine=ENGINE)
    before = model.logprobs([["tea"]])
    model.close()
    assert "model" not in vars(model)
    agree(before, model.logprobs([["tea"]]))


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_compiled_scores_are_the_same_and_leave_generation_alone(smollm2: Weights, model: Transformers, parts) -> None:
    compiled = Transformers("m", path=str(smollm2.folder), engine={**ENGINE, "compile": True})
    agree(model.logprobs(parts), compiled.logprobs(parts))
    chats = [chat(ask) for ask in ASKS[:2]]
    assert compiled.generate(chats, Sampling(max_tokens=8)) == model.generate(chats, Sampling(max_tokens=8))


@pytest.mark.gpu
def test_a_gpu_gives_the_text_and_the_scores_of_the_cpu(smollm2: Weights, model: Transformers, parts) -> None:
    gpu = Transformers("m", path=str(smollm2.folder), engine={**ENGINE, "device": "cuda"})
    agree(model.logprobs(parts), gpu.logprobs(parts), atol=1e-3)
    chats = [chat(ask) for ask in ASKS]
    assert texts(gpu.generate(chats, DRAWN)) == texts(model.generate(chats, DRAWN))


def flat(model: Transformers, requests: list[Request]) -> list[tuple[int, Completion]]:
    return [pair for group in model.complete(requests) for pair in group]


def agree(first: list[Logprobs], second: list[Logprobs], atol: float = 1e-4) -> None:
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.parts, other.parts, strict=True):
            np.testing.assert_allclose(a, b, atol=atol)
