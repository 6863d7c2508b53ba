"""What our vLLM backend asks of the engine and makes of its replies, on a stand-in: vLLM need not be there."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from evodistill import config, prompt
from evodistill.backend import Sampling, chat
from evodistill.backend.vllm import VLLM, completion

BLOCK = 16  # tokens that vLLM's prefix cache keeps or forgets together


@dataclass
class Engine:
    """Answers one request a step and keeps the blocks of its prompts, as an engine with a prefix cache does."""

    asked: list[tuple[str, list[int], Any]] = field(default_factory=list)
    at_work: list[tuple[str, list[int], Any]] = field(default_factory=list)
    most: int = 0
    known: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def vllm_config(self) -> Any:
        return SimpleNamespace(scheduler_config=SimpleNamespace(max_num_seqs=4))

    def add_request(self, id: str, tokens: list[int], params: Any) -> None:
        self.asked.append((id, tokens, params))
        self.at_work.append((id, tokens, params))
        self.most = max(self.most, len(self.at_work))

    def step(self) -> list[Any]:
        id, tokens, params = self.at_work.pop(0)
        starts = [tuple(tokens[:end]) for end in range(BLOCK, len(tokens), BLOCK)]
        found = 0 if params.skip_reading_prefix_cache else BLOCK * sum(start in self.known for start in starts)
        self.known.update(starts)
        logprobs = [None] + [{token: SimpleNamespace(logprob=-1.0)} for token in tokens[1:]]
        made = SimpleNamespace(text="Yes.", finish_reason="stop", token_ids=[1], logprobs=None)
        given = {"prompt_token_ids": tokens, "num_cached_tokens": found, "prompt_logprobs": logprobs, "outputs": [made]}
        return [SimpleNamespace(request_id=id, finished=True, **given)]


class Tokenizer:
    """A character is a token."""

    bos_token_id = 0

    def apply_chat_template(self, chat, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for message in chat for letter in message["content"]]}

    def __call__(self, text: str, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[ord(letter) for letter in text])


@pytest.fixture
def model(monkeypatch) -> VLLM:
    """The backend over the stand-in."""

    class SamplingParams(SimpleNamespace):
        skip_reading_prefix_cache = False

    modules = {
        "vllm": {"SamplingParams": SamplingParams},
        "vllm.sampling_params": {"RequestOutputKind": SimpleNamespace(FINAL_ONLY="final")},
        "vllm.exceptions": {"VLLMClientError": KeyError},
        "vllm.inputs": {"tokens_input": list},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.exceptions": {"EngineDeadError": KeyError},
    }
    for name, values in modules.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    made = VLLM("stand-in")
    made.__dict__["weights"] = SimpleNamespace(identity="stand-in")
    made.__dict__["llm"] = SimpleNamespace(
        llm_engine=Engine(),
        get_tokenizer=Tokenizer,
        model_config=SimpleNamespace(max_model_len=10_000),
    )
    monkeypatch.setattr(
        "evodistill.backend.vllm.encode", lambda tokenizer, chat: tokenizer.apply_chat_template(chat)["input_ids"]
    )
    monkeypatch.setattr(
        "evodistill.backend.vllm.encode_parts",
        lambda tokenizer, parts: ([0, *map(ord, "".join(parts))], [(1, 1 + len("".join(parts)))]),
    )
    return made


def evolving(seeds) -> list:
    """What a round of Evol-Instruct asks: the operations take turns."""
    names = ("constraints", "deepening", "concretizing", "reasoning", "breadth")
    return [
        chat(prompt.render(f"evol_instruct/{names[n % 5]}", instruction=f"{seed.instruction} ({n})", input=""))
        for n, seed in enumerate(seeds * 8)
    ]


def test_what_a_reply_may_be_is_told_to_the_engine(model):
    sys.modules["vllm.sampling_params"].StructuredOutputsParams = SimpleNamespace  # type: ignore[attr-defined]
    model.generate([chat("Which?")], Sampling(), ["tea", "coffee"])
    model.generate([chat("Which?")], Sampling())
    held, free = (params for _, _, params in model.llm.llm_engine.asked)
    assert held.structured_outputs.choice == ["tea", "coffee"] and not hasattr(free, "structured_outputs")


def test_requests_of_one_template_follow_one_another_and_the_log_says_what_the_prefix_cache_saved(model, seeds, caplog):
    chats = evolving(seeds)
    with caplog.at_level("INFO", "evodistill.backend.vllm"):
        answers = model.generate(chats, Sampling(temperature=0.7))
    assert [answer.text for answer in answers] == ["Yes."] * 40
    engine = model.llm.llm_engine
    order = ["".join(map(chr, tokens[:200])) for _, tokens, _ in engine.asked]
    assert order == sorted(order), "grouped by what they begin with"
    (line,) = [record.getMessage() for record in caplog.records if "prefix cache" in record.getMessage()]
    share = int(line.split("%")[0].split()[-1])
    assert share >= 60, "static text first, the instruction last: most of each prompt is shared"


def test_the_engine_is_never_given_more_than_it_has_room_for(model, seeds):
    model.generate(evolving(seeds), Sampling(temperature=0.7))
    assert model.llm.llm_engine.most <= 8


def test_scoring_never_reads_the_prefix_cache(model):
    """vLLM issue 42019: a cached prefix leaves its log-probabilities unset"""
    text = ["A question that is long enough for some blocks. ", "And an answer."]
    for _ in range(2):
        (scored,) = model.logprobs([text])
    assert len(scored.parts[0]) == sum(map(len, text))
    assert all(params.skip_reading_prefix_cache for _, _, params in model.llm.llm_engine.asked)


@pytest.mark.parametrize("name", ["constraints", "deepening", "concretizing", "reasoning", "breadth", "equality"])
def test_a_prompt_begins_with_its_static_text(name):
    fields = [dict.fromkeys(("instruction", "input", "parent", "child"), text) for text in ("Name a tea.", "Count.")]
    one, other = (prompt.render(f"evol_instruct/{name}", **values) for values in fields)
    shared = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert shared > 0.6 * len(prompt.render(f"evol_instruct/{name}", **dict.fromkeys(fields[0], "")))


def test_data_parallel_is_sent_to_ray(cfg):
    composed = cfg("backend@teacher=vllm", "teacher.engine.data_parallel_size=4")
    with pytest.raises(Exception, match=r"teacher.*data_parallel_size must be 1 .* choose backend ray"):
        config.build(composed.teacher)


@pytest.mark.parametrize("key", ["tensor_parallel_size", "pipeline_parallel_size", "enable_prefix_caching"])
def test_sizes_stand_in_the_yaml_and_are_no_part_of_the_identity(cfg, key, smollm2):
    small = "model@teacher=smollm2-135m"
    assert key in cfg(small, "backend@teacher=vllm").teacher.engine
    changed = cfg(small, "backend@teacher=vllm", f"teacher.engine.{key}=4").teacher
    assert config.build(changed).identity == config.build(cfg(small).teacher).identity


@pytest.mark.parametrize(("reason", "passing"), [("abort", True), ("error", True), ("repetition", False)])
def test_what_the_engine_broke_off_may_be_asked_again(reason, passing):
    made = SimpleNamespace(text="Ye", finish_reason=reason, token_ids=[1], logprobs=None)
    found: Any = SimpleNamespace(prompt_token_ids=[1, 2], outputs=[made])
    assert completion(found).error and completion(found).passing is passing
