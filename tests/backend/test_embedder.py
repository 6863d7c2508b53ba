"""Vectors are unit length, belong to their text whatever the batches, and a text that is cut is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from evodistill import RunError
from evodistill.backend.embedder import Embedder

ROOT = Path(__file__).parents[2]
WORDS = ["tea", "cup", "river", "tree", "green", "blue", "sun", "moon"]
LIMIT = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with mean pooling that reads 16 tokens and puts "tea " before every text."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    base = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (base / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes)).save_pretrained(base)
    BertTokenizerFast(vocab_file=str(base / "vocab.txt")).save_pretrained(base)
    reader = Transformer(str(base), max_seq_length=LIMIT)
    model = SentenceTransformer(modules=[reader, Pooling(16)], prompts={"plain": "tea "}, default_prompt_name="plain")
    made = tmp_path_factory.mktemp("embedder")
    model.save(str(made))
    return made


@pytest.fixture
def embedder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedder:
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path))
    return Embedder("tiny", path=str(folder), engine={"batch_size": 2, "device": "cpu"})


def texts() -> list[str]:
    return [" ".join(WORDS[: 1 + i % 7]) for i in (3, 0, 5, 1, 6, 2, 4)]


def test_vectors_are_unit_length_float32(embedder: Embedder) -> None:
    made = embedder.embed(texts())
    assert {vector.dtype for vector in made} == {np.dtype("float32")}
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)


def test_a_vector_belongs_to_its_text_at_any_batch_size(embedder: Embedder, folder: Path) -> None:
    alone = [embedder.embed([text])[0] for text in texts()]
    assert len({vector.tobytes() for vector in alone}) == len(alone)
    for size in (1, 3, 64):
        other = Embedder("tiny", path=str(folder), engine={"batch_size": size, "device": "cpu"})
        np.testing.assert_allclose(other.embed(texts()), alone, atol=1e-6)


def test_groups_come_batch_by_batch_longest_first(embedder: Embedder) -> None:
    groups = [[position for position, _ in group] for group in embedder.vectors(texts())]
    assert groups == [[4, 2], [6, 0], [5, 3], [1]]


def test_texts_that_are_cut_are_counted_with_their_prefix(embedder: Embedder, caplog: pytest.LogCaptureFixture) -> None:
    fits = " ".join(["cup"] * (LIMIT - 3))  # beside [CLS], the prefix and [SEP]
    embedder.embed([fits])
    assert not caplog.records
    given = [fits, fits + " sun", fits + " moon" * 40]
    embedder.embed(given)
    assert [record.message for record in caplog.records] == [
        "model tiny: 2 of 3 texts are longer than 16 tokens, their ends are not seen"
    ]
    assert embedder.unread(given) == [0, 1, 40] and embedder.unread([]) == []


def test_the_cut_is_made_by_the_model_at_its_own_limit(embedder: Embedder) -> None:
    fits = " ".join(["cup"] * (LIMIT - 3))
    a, b, c = embedder.embed([fits, fits + " sun", fits + " moon moon"])
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(a, c, atol=1e-6)


def test_the_identity_is_known_without_loading_the_model(embedder: Embedder) -> None:
    assert embedder.identity.startswith("sha256:")
    assert "model" not in embedder.__dict__


def test_no_texts_load_no_model(embedder: Embedder) -> None:
    assert embedder.embed([]) == []
    assert "model" not in embedder.__dict__


def test_it_can_be_used_again_after_close(embedder: Embedder) -> None:
    before = embedder.embed(["river"])[0]
    embedder.close()
    assert "model" not in embedder.__dict__
    np.testing.assert_array_equal(embedder.embed(["river"])[0], before)


def test_a_model_that_is_no_embedder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "home"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match="choose an embedder"):
        Embedder("plain", path=str(tmp_path)).embed(["tea"])


@pytest.mark.parametrize("engine", [{"batch_size": 0}, {"batchsize": 4}])
def test_bad_engine_settings_are_refused(engine: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Embedder("tiny", path="x", engine=engine)


@pytest.mark.slow
def test_the_packaged_embedder_puts_like_beside_like() -> None:
    data = yaml.safe_load((ROOT / "conf" / "model" / "all-minilm-l6-v2.yaml").read_text())
    data.pop("defaults")
    cat, kitten, physics = Embedder(**data | {"source": "package"}).embed(["a cat", "a kitten", "quantum field theory"])
    assert cat @ kitten > 0.6 > 0.3 > cat @ physics
