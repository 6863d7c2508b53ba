"""A converted model speaks, stops and splits its text as its family does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from evodistill.gguf import convert
from evodistill.weights import resolve

sys.path.insert(0, str(Path(__file__).parent))  # however pytest imports this file
from wheels import CHATML, tiny_gguf

ROOT = Path(__file__).parents[1]


def test_a_converted_file_keeps_what_gguf_says_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    convert(tiny_gguf(tmp_path / "tiny.gguf"), tmp_path)
    assert "\r" not in capfd.readouterr().err, "no bar in a log"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert model.dtype == torch.bfloat16
    assert model.generation_config.eos_token_id == [2, 0]  # the file's own, then <|endoftext|>
    assert tokenizer.model_max_length == 128
    assert tokenizer.chat_template == CHATML
    assert len(tokenizer("1111").input_ids) == 4, "digits stay apart although the vocabulary could merge them"
    assert tokenizer("a").input_ids[0] != tokenizer.bos_token_id


@pytest.fixture(scope="session")
def smollm() -> Path:
    data = yaml.safe_load((ROOT / "conf" / "model" / "smollm2-135m.yaml").read_text())
    return resolve(data["name"], data["path"], data["package"], "package").folder


def test_smollm_keeps_its_chat_format_and_its_end_tokens(smollm: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi 42"}], tokenize=False, add_generation_prompt=True
    )
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert text == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHi 42<|im_end|>\n<|im_start|>assistant\n"
    )
    assert json.loads((smollm / "generation_config.json").read_text())["eos_token_id"] == [2, 0]
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert tokenizer.bos_token_id == 1 and tokenizer("Hi").input_ids == [26843], "no BOS is put before a text"


def test_smollm_answers(smollm: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm)
    model = AutoModelForCausalLM.from_pretrained(smollm, dtype="auto")
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = model.generate(**prompt, max_new_tokens=10, do_sample=False)[0][prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(reply)
    assert reply[-1] == tokenizer.eos_token_id, "it stops by itself"
    assert model.config.tie_word_embeddings
