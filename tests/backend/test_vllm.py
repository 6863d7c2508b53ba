"""vLLM against transformers, on the packaged SmolLM2-135M in float32, where both must give the same numbers."""

import os
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from omegaconf import OmegaConf

from evodistill import RunError
from evodistill.backend import Sampling, chat
from evodistill.backend.tokens import encode, encode_parts
from evodistill.backend.vllm import VLLM

CONF = Path(__file__).parents[2] / "conf/backend/vllm.yaml"
CONTEXT = 512
CHATS = [chat("Name a tea."), chat("What is the capital of France?"), chat("Count to five.", system="Be brief.")]
LONG = "The tide comes in and the tide goes out, and nobody on the pier looks up. " * 12  # longer than a block of cache


def shipped(folder: Path, **engine: object) -> VLLM:
    """A model under the shipped engine settings, with some of them changed."""
    node = OmegaConf.to_container(OmegaConf.load(CONF))
    return VLLM("smollm2-135m", path=str(folder), engine=node["engine"] | engine, environment=node["environment"])


@pytest.fixture(scope="module")
def model(needs_vllm, smollm2):
    # little memory and few requests at once: a test machine has no more
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1"}
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    model = shipped(smollm2.folder, dtype="float32", max_model_len=CONTEXT, max_num_seqs=8, gpu_memory_utilization=0.3)
    yield model
    model.close()
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})


@pytest.fixture(scope="module")
def reference(smollm2):
    """(model, tokenizer) of transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(smollm2.folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(smollm2.folder)


def log_softmax(reference, ids: list[int]) -> np.ndarray:
    """Log-probabilities of every next token after each of `ids`: len(ids) × vocabulary."""
    import torch

    with torch.inference_mode():
        return reference[0](torch.tensor([ids])).logits[0].log_softmax(-1).numpy()


@pytest.mark.vllm
def test_greedy_text_is_that_of_transformers(model, reference):
    import torch

    network, tokenizer = reference
    for asked, found in zip(CHATS, model.generate(CHATS, Sampling(max_tokens=24)), strict=True):
        ids = encode(tokenizer, asked)
        with torch.inference_mode():
            made = network.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :]
        assert found.text == tokenizer.decode(made, skip_special_tokens=True)
        assert (found.prompt_tokens, found.completion_tokens) == (len(ids), len(made))


@pytest.mark.vllm
def test_a_draw_follows_from_its_request_whatever_is_computed_beside_it(model):
    sampling = Sampling(temperature=1.0, max_tokens=16, seed=7)
    together = model.generate([CHATS[0], *CHATS, CHATS[0]], sampling)
    assert [found.text for found in model.generate([CHATS[0]] * 3, sampling)] == [together[i].text for i in (0, 1, 4)]
    assert len({together[i].text for i in (0, 1, 4)}) == 3
    assert model.generate([CHATS[0]], replace(sampling, seed=8))[0].text != together[0].text


@pytest.mark.vllm
def test_seeded_prompts_may_fill_more_than_one_step(model):
    """On a CPU a prompt that is split over two steps ends the engine."""
    chats = [chat(f"{number} {LONG}{LONG}") for number in range(16)]  # no prefix in common, eight of them at once
    drawn = model.generate(chats, Sampling(temperature=0.7, max_tokens=4))
    assert sum(completion.prompt_tokens for completion in drawn) > 3 * 2048
    assert all(completion.text and not completion.error for completion in drawn)


@pytest.mark.vllm
def test_a_completion_says_why_it_ended(model):
    whole = model.generate([CHATS[1]], Sampling(max_tokens=64))[0]
    assert (whole.text, whole.finish_reason) == ("The capital of France is Paris.", "stop")
    cut = model.generate([CHATS[1]], Sampling(max_tokens=3))[0]
    assert (cut.text, cut.finish_reason, cut.completion_tokens) == ("The capital of", "length", 3)
    stopped = model.generate([CHATS[1]], Sampling(max_tokens=64, stop=[" of France"]))[0]
    assert (stopped.text, stopped.finish_reason) == ("The capital", "stop")


@pytest.mark.vllm
def test_log_probabilities_are_raw_and_list_the_chosen_token_first(model, reference):
    """LP3: those of the model, whatever the temperature."""
    found = model.generate([CHATS[0]], Sampling(temperature=1.9, max_tokens=6, seed=3, logprobs=4))[0]
    assert len(found.logprobs) == found.completion_tokens
    raw = np.sort(log_softmax(reference, encode(reference[1], CHATS[0]))[-1])[::-1]
    chosen, *others = found.logprobs[0]
    assert found.text.startswith(chosen[0])
    everything = sorted((value for _, value in found.logprobs[0]), reverse=True)
    np.testing.assert_allclose(everything[:4], raw[:4], atol=2e-3)
    assert others == sorted(others, key=lambda other: -other[1])
    assert chosen not in others


@pytest.mark.vllm
def test_scores_are_those_of_transformers(model, reference):
    texts = [["Name a tea.\n", "Assam."], ["", "x"], ["Ünïcödé ", "漢字", " end"], [LONG, "Why?"]]
    for parts, found in zip(texts, model.logprobs(texts), strict=True):
        ids, spans = encode_parts(reference[1], parts)
        after = log_softmax(reference, ids)
        assert [len(values) for values in found.parts] == [end - start for start, end in spans]
        for values, (start, end) in zip(found.parts, spans, strict=True):
            assert values.dtype == np.float32
            expected = [after[at - 1, ids[at]] for at in range(start, end)]
            np.testing.assert_allclose(values, expected, atol=2e-3)


@pytest.mark.vllm
def test_a_cached_prefix_changes_no_score(model):
    """vLLM issue 42019: what an engine has seen before must not show in its scores."""
    first = model.logprobs([[LONG, "Why?"]])[0]
    model.generate([chat(LONG), chat(LONG)], Sampling(max_tokens=2))
    for again in model.logprobs([[LONG, "Why?"], [LONG, "Why?"]]):
        for before, after in zip(first.parts, again.parts, strict=True):
            np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.vllm
def test_what_does_not_fit_the_context_fails_alone(model):
    overlong = "tide " * CONTEXT
    found = model.generate([CHATS[0], chat(overlong), CHATS[1]], Sampling(max_tokens=2))
    assert [completion.finish_reason for completion in found] == ["length", "error", "length"]
    assert f"context of {CONTEXT} tokens" in found[1].error
    assert found[1].text == ""
    scored = model.logprobs([["a"], [overlong, "b"]])
    assert [bool(values.error) for values in scored] == [False, True]
    assert scored[1].parts == ()


@pytest.mark.vllm
def test_a_completion_ends_where_the_context_does(model):
    question = chat("tide " * (CONTEXT - 60))
    found = model.generate([question], Sampling(max_tokens=CONTEXT, stop=["\0"]))[0]
    assert not found.error
    assert 0 < found.completion_tokens <= CONTEXT - found.prompt_tokens < 60


@pytest.mark.vllm
def test_requests_come_as_they_finish_and_an_abandoned_call_stops_the_rest(model):
    requests = [
        replace(request, sampling=Sampling(max_tokens=length, stop=["\0"]))
        for request, length in zip(model.requests([chat("Tell a long story.")] * 2, Sampling()), (200, 2), strict=True)
    ]
    groups = model.complete(requests)
    assert [position for position, _ in next(groups)] == [1]
    assert model.llm.llm_engine.get_num_unfinished_requests() == 1
    groups.close()
    assert model.llm.llm_engine.get_num_unfinished_requests() == 0


@pytest.mark.vllm
def test_close_ends_the_engine_and_the_model_can_be_asked_again(model):
    import psutil

    def engines() -> list[psutil.Process]:
        children = psutil.Process().children(recursive=True)
        return [child for child in children if child.status() != psutil.STATUS_ZOMBIE and "VLLM" in child.name()]

    before = model.generate(CHATS[1:2], Sampling(max_tokens=8))
    assert engines()
    model.close()
    assert not engines()
    assert model.generate(CHATS[1:2], Sampling(max_tokens=8)) == before


@pytest.mark.vllm
def test_null_leaves_the_choice_to_vllm_and_nothing_is_compiled_for_the_cpu(model):
    import torch

    assert model.engine["enforce_eager"] is None
    assert model.llm.model_config.enforce_eager is not torch.cuda.is_available()
    assert model.llm.llm_engine.vllm_config.cache_config.enable_prefix_caching


@pytest.mark.vllm
def test_a_refused_sampling_is_one_line(model):
    with pytest.raises(RunError, match="temperature must be in"):
        model.generate(CHATS, Sampling(temperature=2.5))
    with pytest.raises(RunError, match="logprobs"):
        model.generate(CHATS, Sampling(logprobs=1000))
    assert model.generate(CHATS, Sampling(max_tokens=1))[0].finish_reason == "length"


@pytest.mark.vllm
@pytest.mark.parametrize("engine", [{"dtyp": "auto"}, {"dtype": "float99"}, {"max_model_len": 10**6}])
def test_a_refused_engine_key_is_named(needs_vllm, smollm2, engine):
    with pytest.raises(RunError, match=f"smollm2-135m: vLLM refuses engine: .*{next(iter(engine))}"):
        shipped(smollm2.folder, **engine).generate(CHATS, Sampling())


def test_a_missing_vllm_is_one_line_with_the_cure(smollm2, monkeypatch):
    monkeypatch.setattr("evodistill.backend.vllm.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'evodistill\[vllm\]'.*make vllm"):
        shipped(smollm2.folder).generate(CHATS, Sampling())


@pytest.mark.vllm
def test_an_evolution_keeps_the_same_log_probabilities_through_every_backend_LP3(model, vllm_server, smollm2, seeds):
    """transformers, vllm and api: token by token where nothing is drawn, and raw where a temperature is"""
    from evodistill.backend.api import API
    from evodistill.backend.transformers import Transformers
    from evodistill.evolution.evol_instruct import EvolInstruct

    engine = {"dtype": "float32", "compile": False}
    backends = {
        "transformers": Transformers("smollm2-135m", path=str(smollm2.folder), engine=engine),
        "vllm": model,
        "api": API(name="smollm2-135m", base_url=vllm_server.base_url, served_name=vllm_server.model, key_env=None),
    }

    def kept(sampling: Sampling) -> dict[str, list[dict[str, list[float]]]]:
        step = EvolInstruct(model="evolver", rounds=1, sampling=sampling)
        made = {name: step(seeds[:2], {"evolver": backend}) for name, backend in backends.items()}
        return {name: [one.extra["logprobs"] for one in records if one.extra] for name, records in made.items()}

    greedy = kept(Sampling(max_tokens=16, logprobs=1))
    for name in ("vllm", "api"):
        for found, expected in zip(greedy[name], greedy["transformers"], strict=True):
            assert found["top"] == pytest.approx(expected["top"], abs=5e-3), name
            assert found["chosen"] == pytest.approx(expected["chosen"], abs=5e-3), name
    assert len(greedy["api"]) == 2 and len(greedy["api"][0]["top"]) == 16
    drawn = kept(Sampling(temperature=1.9, max_tokens=16, logprobs=1))
    for name in backends:  # the first position has the same past, whatever is drawn there
        assert [one["top"][0] for one in drawn[name]] == pytest.approx(
            [one["top"][0] for one in greedy["transformers"]], abs=5e-3
        ), name


@pytest.mark.vllm
def test_the_server_completes_a_chat(vllm_server):
    body = {"model": vllm_server.model, "messages": CHATS[1], "max_tokens": 32, "temperature": 0}
    reply = httpx.post(f"{vllm_server.base_url}/chat/completions", json=body, timeout=120, trust_env=False)
    assert reply.json()["choices"][0]["message"]["content"] == "The capital of France is Paris."
