"""Label probabilities are the model's own, by the names in its config, in any company."""

from __future__ import annotations

from pathlib import Path

import pytest
from backend.tiny_models import WORDS, bert

from evodistill import RunError
from evodistill.backend.classifier import Classifier

ENGINE = {"dtype": "float32", "device": "cpu", "threads": 1}
LABELS = {0: "entailment", 1: "neutral", 2: "contradiction"}
PAIRS = [(" ".join(WORDS[:n]), " ".join(WORDS[n : 2 * n])) for n in (1, 4, 2, 3, 5)] + [("tea", ""), ("cup", "tea")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("batch_tokens", [1, 30, 4096])
def test_probabilities_are_those_of_batch_1(tmp_path: Path, batch_tokens: int) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = bert(tmp_path, LABELS)
    found = Classifier("nli", path=str(folder), engine=ENGINE | {"batch_tokens": batch_tokens}).classify(PAIRS)
    model, tokens = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for (premise, hypothesis), one in zip(PAIRS, found, strict=True):
        with torch.inference_mode():
            chances = model(**tokens([premise], [hypothesis], return_tensors="pt")).logits.softmax(-1)[0].tolist()
        assert list(one.labels) == list(LABELS.values()) and not one.reason
        assert list(one.labels.values()) == pytest.approx(chances, abs=1e-5)
    assert len({round(one.labels["neutral"], 6) for one in found}) == len(PAIRS)


def test_labels_that_do_not_exclude_each_other_are_judged_one_by_one(tmp_path: Path) -> None:
    folder = bert(tmp_path, LABELS, problem_type="multi_label_classification")
    (one,) = Classifier("nli", path=str(folder), engine=ENGINE).classify(PAIRS[:1])
    assert sum(one.labels.values()) != pytest.approx(1)


def test_a_pair_beyond_the_context_is_a_reason(tmp_path: Path) -> None:
    long, fits = Classifier("nli", path=str(bert(tmp_path, LABELS)), engine=ENGINE).classify(
        [("tea " * 40, "cup"), PAIRS[0]]
    )
    assert (dict(long.labels), long.reason) == ({}, "text of 44 tokens does not fit the context of 40")
    assert fits.labels


def test_a_reward_model_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="one logit and so no labels"):
        Classifier("one", path=str(bert(tmp_path, {0: "reward"})), engine=ENGINE).classify(PAIRS)


def test_no_pairs_open_no_model() -> None:
    assert Classifier("nowhere", path="/nowhere").classify([]) == []
