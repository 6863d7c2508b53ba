"""A reward is what transformers gives at batch 1 for the ids of the tokenizer's own template, in any company."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from backend.tiny_models import WORDS, llama, tokenizer

from evodistill import RunError
from evodistill.backend import Rewarded, chat
from evodistill.backend.local import Placement
from evodistill.backend.reward import Reward

ROOT = Path(__file__).parents[2]
ENGINE = {"dtype": "float32", "device": "cpu", "threads": 1}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "home"))


def talk(question: str, answer: str) -> list[dict[str, str]]:
    return [*chat(question), {"role": "assistant", "content": answer}]


CHATS = [talk(" ".join(WORDS[:n]), " ".join(WORDS[-n:])) for n in (1, 5, 2, 7, 3, 6, 4)]


def expected(folder: Path, chats: list[list[dict[str, str]]]) -> list[float]:
    """One by one, without padding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        ids = [tokens.apply_chat_template(one, return_tensors="pt", return_dict=True) for one in chats]
        return [model(input_ids=one["input_ids"]).logits.item() for one in ids]


@pytest.mark.parametrize("pad", [None, 0, 3], ids=["no padding token", "its own", "the end token, as many have"])
@pytest.mark.parametrize("batch_tokens", [1, 30, 4096])
def test_rewards_are_those_of_batch_1_RW6(tmp_path: Path, pad: int | None, batch_tokens: int) -> None:
    folder = llama(tmp_path, pad_token_id=pad)
    model = Reward("tiny", path=str(folder), engine=ENGINE | {"batch_tokens": batch_tokens})
    found = model.reward(CHATS)
    assert [one.value for one in found] == pytest.approx(expected(folder, CHATS), abs=1e-5)
    assert [one.value for one in model.reward(CHATS[::-1])[::-1]] == pytest.approx([one.value for one in found])
    assert len({round(one.value, 6) for one in found}) == len(CHATS)


def test_the_prompt_holds_one_bos_and_the_whole_answer_RW6(tmp_path: Path) -> None:
    from evodistill.backend.tokens import encode

    tokens = tokenizer(tmp_path)
    assert tokens("tea")["input_ids"][0] == tokens.bos_token_id, "this tokenizer would add a second one"
    ids = encode(tokens, talk("tea", "cup"), ask=False)
    assert tokens.convert_ids_to_tokens(ids) == ["<s>", "user", ":", "tea", "</s>", "assistant", ":", "cup", "</s>"]


def test_a_model_with_two_logits_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"model two: it has 2 logits \(LABEL_0, LABEL_1\), a reward model has one"):
        Reward("two", path=str(llama(tmp_path, num_labels=2)), engine=ENGINE).reward(CHATS)


def test_a_model_without_a_head_is_refused_for_its_head_would_be_random(tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    folder = llama(tmp_path)
    config = LlamaForCausalLM.from_pretrained(folder).config
    LlamaForCausalLM(config).save_pretrained(folder)
    with pytest.raises(RunError, match=r"lacks score.weight, so its head would be random"):
        Reward("base", path=str(folder), engine=ENGINE).reward(CHATS)


def test_a_chat_beyond_the_context_is_a_reason_and_the_others_go_on(tmp_path: Path, caplog) -> None:
    folder = llama(tmp_path)
    long, fits = Reward("tiny", path=str(folder), engine=ENGINE).reward([talk("tea " * 40, "cup"), CHATS[0]])
    assert (long.value, long.reason) == (None, "text of 48 tokens does not fit the context of 40")
    assert fits.value == pytest.approx(expected(folder, CHATS[:1])[0], abs=1e-5)
    assert "model tiny: 1 of 2 texts are too long to be read" in caplog.text


def test_the_tokenizer_may_know_a_shorter_context(tmp_path: Path) -> None:
    folder = llama(tmp_path)
    tokenizer(tmp_path, model_max_length=8)
    assert Reward("tiny", path=str(folder), engine=ENGINE).reward([CHATS[0]])[0].reason


def test_a_reward_that_is_no_number_is_a_reason(tmp_path: Path) -> None:
    import torch

    model = Reward("tiny", path=str(llama(tmp_path)), engine=ENGINE)
    with torch.no_grad():
        model.model.score.weight.fill_(torch.nan)
    assert model.reward(CHATS[:1]) == [Rewarded(reason="the reward is nan")]


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = llama(tmp_path)
    tokenizer(tmp_path, chat_template=None)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(RunError, match="no chat template"):
        Reward("tiny", path=str(folder), engine=ENGINE).reward(CHATS)


def test_no_chats_open_no_model() -> None:
    assert Reward("nowhere", path="/nowhere").reward([]) == []


def test_closed_it_can_be_used_again(tmp_path: Path) -> None:
    model = Reward("tiny", path=str(llama(tmp_path)), engine=ENGINE)
    before = model.reward(CHATS)
    model.close()
    assert not {"model", "tokenizer", "context", "own_pad"} & set(vars(model))
    assert model.reward(CHATS) == before


CODE = '''
from transformers import LlamaModel


class Scoring(LlamaModel):
    """InternLM's kind: it is given the chats."""

    def get_scores(self, tokenizer, chats):
        return [float(len(chat[-1]["content"])) for chat in chats]
'''


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A model whose class is Python beside its weights."""
    from transformers import LlamaConfig, LlamaModel

    folder = llama(tmp_path / "remote")
    LlamaModel(LlamaConfig.from_pretrained(folder)).save_pretrained(folder)
    (folder / "scoring.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "scoring.Scoring"}, "num_labels": 2}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_get_scores_is_used_where_the_model_has_it(remote: Path, caplog) -> None:
    model = Reward("internlm", path=str(remote), engine=ENGINE, trust_remote_code=True)
    assert [one.value for one in model.reward(CHATS)] == [len(chat[-1]["content"]) for chat in CHATS]
    assert "running the code in" in caplog.text and "trust_remote_code=true" in caplog.text


def test_code_that_comes_with_weights_is_not_run_unasked(remote: Path) -> None:
    config = json.loads((remote / "config.json").read_text())
    config |= {"model_type": "none of transformers' own"}
    config["auto_map"] |= {"AutoConfig": "scoring.Config"}
    (remote / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"read that code, then set trust_remote_code=true"):
        Reward("internlm", path=str(remote), engine=ENGINE).reward(CHATS)


def test_trusted_code_is_part_of_the_identity(remote: Path) -> None:
    def identity() -> str:
        return Reward("m", path=str(remote), trust_remote_code=True).identity

    before = identity()
    (remote / "scoring.py").write_text(CODE + "# changed\n")
    assert before != identity()
    assert before.startswith(Reward("m", path=str(remote)).identity)


@pytest.mark.parametrize("name", ["reward", "classifier"])
def test_the_yaml_names_every_key(name: str) -> None:
    engine = yaml.safe_load((ROOT / "conf" / "backend" / f"{name}.yaml").read_text())["engine"]
    assert set(engine) == set(Placement.__dataclass_fields__) and Placement(**engine)


@pytest.mark.parametrize("engine", [{"batch_size": 4}, {"threads": 0}, {"dtype": "int4"}])
def test_bad_engine_settings_are_refused(engine: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"engine\."):
        Reward("tiny", path="x", engine=engine)


@pytest.mark.slow
def test_a_real_model_with_a_fresh_head(smollm2, tmp_path: Path) -> None:
    import shutil

    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    folder = tmp_path / "made"
    AutoModelForSequenceClassification.from_pretrained(smollm2.folder, num_labels=1).save_pretrained(folder)
    for file in smollm2.folder.iterdir():
        if file.name.startswith(("tokenizer", "special", "vocab", "merges", "chat")):
            shutil.copy(file, folder)
    chats = [talk("Name a tea.", "Assam."), talk("Name a tea.", "A long answer about tea. " * 9), talk("Hi", "Hello")]
    found = Reward("made", path=str(folder), engine=ENGINE).reward(chats)
    assert [one.value for one in found] == pytest.approx(expected(folder, chats), abs=1e-3)
