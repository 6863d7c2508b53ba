from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from evodistill.backend import Backend, Logprobs
from evodistill.metric import Score
from evodistill.metric.ifd import IFD
from evodistill.record import Record
from evodistill.results import summarize


class Given(Backend):
    """Gives each text the arrays it is told to; remembers what it was asked."""

    def __init__(self, *texts: Sequence[Sequence[float]] | str):
        super().__init__("given")
        self.given, self.asked = texts, []

    identity = "given"

    def score(self, texts, limit=None):
        self.asked, self.limit = list(texts), limit
        yield [
            (
                i,
                Logprobs((), given)
                if isinstance(given, str)
                else given
                if isinstance(given, Logprobs)
                else Logprobs(tuple(np.array(part, np.float32) for part in given)),
            )
            for i, given in enumerate(self.given)
        ]


def answered(seeds, n=1):
    return [replace(seed, output=f"Answer {number}.") for number, seed in enumerate(seeds[:n])]


def ifd(records, *texts, **settings):
    reader = Given(*texts)
    return IFD(model="student", **settings)(records, {"student": reader}), reader


# L(Q) = 2, L(A|Q) = 1, L(A) = 1.6: one record by hand
GIVEN, ALONE = [[-1, -3], [-9], [-0.5, -1.5]], [[], [-1.2, -2.0]]


def test_ifd_and_ic_ifd_by_hand(seeds):
    """arXiv 2412.11231 §5; IFD7: losses, not perplexities"""
    (score,), _ = ifd(answered(seeds), GIVEN, ALONE)
    assert score.values == pytest.approx(
        {
            "ifd": 1 / 1.6,
            "ic_ifd": 1 / (2 * 1.6),
            "loss_instruction": 2,
            "loss_answer": 1.6,
            "loss_answer_given_instruction": 1,
        }
    )


def test_the_perplexity_ratio_by_hand(seeds):
    """Superfiltering: exp(L(A|Q)) / exp(L(A))"""
    (score,), _ = ifd(answered(seeds), GIVEN, ALONE, variant="ppl_ratio")
    assert score.values["ifd"] == pytest.approx(np.exp(1 - 1.6))
    assert score.values["ic_ifd"] == pytest.approx(np.exp(1 - 1.6 - 2))


def test_the_answer_is_the_same_text_in_both_passes_and_the_separator_is_no_part_of_it(seeds):
    """IFD1, IFD2: parts are tokenised one by one"""
    records = answered(seeds, 2)
    _, reader = ifd(records, GIVEN, GIVEN, ALONE, ALONE)
    assert reader.asked == [
        (records[0].instruction, "\n", "Answer 0."),
        (f"{records[1].instruction}\n{records[1].input}", "\n", "Answer 1."),
        ("", "Answer 0."),
        ("", "Answer 1."),
    ]


def test_the_header_stands_before_the_answer_in_both_passes_unscored(seeds):
    _, reader = ifd(answered(seeds), GIVEN, ALONE, header="### Response:\n")
    assert [text[-2] for text in reader.asked] == ["\n### Response:\n", "### Response:\n"]


def test_each_record_is_a_mean_over_its_own_tokens(seeds):
    """IFD3: not one number per batch"""
    records = answered(seeds, 2)
    long = [[-1, -3], [-9], [-0.5] * 9 + [-1.5]]
    scores, _ = ifd(records, GIVEN, long, ALONE, [[], [-1.6] * 10])
    assert [score.values["loss_answer_given_instruction"] for score in scores] == pytest.approx([1, 0.6])


def test_a_text_beyond_the_context_is_a_reason(seeds):
    """IFD4"""
    scores, _ = ifd(answered(seeds, 2), "9000 tokens do not fit the context of 8192", GIVEN, ALONE, ALONE)
    assert (scores[0].reason, scores[0].values["ifd"]) == ("not_scored", None)
    assert "9000 tokens" in scores[0].raw and scores[1].reason == ""


def test_one_bad_record_does_not_destroy_the_mean(seeds):
    """IFD5: empty answer, one-token answer, empty part, zero loss"""
    records = [replace(answered(seeds)[0], output=" "), *answered(seeds[1:], 4)]
    zero, one, nothing = [[-1], [-1], [0.0]], [[-2.0], [-1], [-1.0]], [[-1], [-1], []]
    scores, _ = ifd(records, one, zero, nothing, GIVEN, [[], [-2.0]], [[], [0.0]], [[], []], ALONE)
    assert [score.reason for score in scores] == ["no_answer", "", "no_loss", "no_loss", ""]
    assert scores[1].values["ifd"] == pytest.approx(0.5), (
        "an answer of one token has a ratio: it is scored after the BOS"
    )
    summary = summarize([score.to_dict() for score in scores], 0)["ifd"]["0"]
    assert summary["mean"] == pytest.approx((0.5 + 1 / 1.6) / 2) and summary["unparsed"] == 3


def test_ratios_of_one_and_more_stay_unless_told_otherwise(seeds):
    """IFD6"""
    worse = [[-1, -3], [-9], [-2.0, -2.0]]
    (kept,), _ = ifd(answered(seeds), worse, ALONE)
    assert kept.values["ifd"] == pytest.approx(2 / 1.6)
    (dropped,), _ = ifd(answered(seeds), worse, ALONE, drop_ge_1=True)
    assert (dropped.reason, dropped.values["ifd"], dropped.values["loss_answer"]) == (
        "ifd_ge_1",
        None,
        pytest.approx(1.6),
    )


def test_rows_carry_id_seed_and_round(seeds):
    """IFD8: one JSON object a record, no hard-coded label"""
    (score,), _ = ifd(answered(seeds), GIVEN, ALONE)
    assert {"id": seeds[0].id, "seed": seeds[0].id, "round": 0}.items() <= score.to_dict().items()


def test_two_texts_a_record_in_one_call(seeds):
    """IFD9: L(Q) and L(A|Q) are one pass"""
    _, reader = ifd(answered(seeds, 3), *[GIVEN] * 3, *[ALONE] * 3)
    assert len(reader.asked) == 6


def parts(*given, cut=0):
    return Logprobs(tuple(np.array(part, np.float32) for part in given), cut=cut)


def test_an_answer_beyond_the_context_loses_its_end_in_both_passes_and_is_counted(seeds):
    """IFD4, by hand: two of four tokens of the answer fit behind the instruction, so two are compared"""
    records = answered(seeds, 2)
    given, alone = parts([-1, -3], [-9], [-0.5, -1.5], cut=2), parts([], [-1.2, -2.0, -7.0, -7.0])
    metric = IFD(model="student")
    reader = Given(given, GIVEN, alone, ALONE)
    scores = metric(records, {"student": reader})
    assert reader.limit > 10**6
    assert [score.values["ifd"] for score in scores] == pytest.approx([1 / 1.6] * 2)
    assert [dict(score.extra) for score in scores] == [{"cut": 2}, {}]
    assert metric.whole(records, scores) == {"ifd_truncated": {0: {"mean": 0.5, "ci95": None, "n": 2, "unparsed": 0}}}
    assert metric.whole(records, scores[1:]) == {}, "nothing was cut"
    unread = [Score.of(record, {"ifd": None}, reason="no_answer") for record in seeds[2:]]
    assert metric.whole(seeds, [*scores, *unread])["ifd_truncated"][0]["n"] == 2, "only what was read"


def test_an_instruction_that_fills_the_context_is_a_reason(seeds):
    (score,), _ = ifd(answered(seeds), parts([-1, -3], [-9], [], cut=5), parts([], [-1.2, -2.0]))
    assert (score.reason, score.raw) == ("no_room", "5 tokens beyond what the model reads")
    assert set(score.values.values()) == {None}


def test_truncation_can_be_refused_or_asked_for_earlier(seeds):
    _, reader = ifd(answered(seeds), GIVEN, ALONE, truncate=False)
    assert reader.limit is None
    _, reader = ifd(answered(seeds), GIVEN, ALONE, max_tokens=512)
    assert reader.limit == 512
    for wrong in ({"max_tokens": 1}, {"max_tokens": 512, "truncate": False}):
        with pytest.raises(ValueError, match="max_tokens must be ≥ 2 and goes with truncate=true"):
            IFD(model="student", **wrong)


def test_an_instruction_of_one_token_has_a_ratio(seeds):
    """IFD5: it is scored behind the BOS"""
    (score,), _ = ifd(answered(seeds), [[-2], [-9], [-0.5, -1.5]], ALONE)
    assert score.values["ic_ifd"] == pytest.approx(1 / (2 * 1.6))


@pytest.mark.slow
def test_a_real_model_gives_the_same_values_at_any_batch_size_and_by_hand_IFD3(smollm2):
    """float32: batch 1 agrees with any batch to 2e-4, and with three plain passes of transformers (IFD1, IFD2)"""
    import torch

    from evodistill.backend.tokens import encode_parts
    from evodistill.backend.transformers import Transformers
    from evodistill.dataset.tiny import FILE
    from evodistill.record import read_jsonl

    rows = [row for row in read_jsonl(FILE) if row["language"] == "en"][:6]
    records = [Record.seed(row["instruction"], row.get("input", ""), " ".join([row["instruction"]] * (n % 3 + 1)))
               for n, row in enumerate(rows)]  # fmt: skip

    def values(tokens):
        engine = {"dtype": "float32", "compile": False, "threads": 2, "batch_tokens": tokens}
        model = Transformers("smollm2-135m", path=str(smollm2.folder), engine=engine)
        return model, [score.values for score in IFD(model="student")(records, {"student": model})]

    model, one = values(1)
    for a, b in zip(one, values(4096)[1], strict=True):
        assert a == pytest.approx(b, abs=2e-4)
    for record, found in zip(records[:2], one, strict=False):
        losses = {}
        for name, texts, part in (
            ("loss_instruction", (record.prompt, "\n", record.output), 0),
            ("loss_answer_given_instruction", (record.prompt, "\n", record.output), 2),
            ("loss_answer", (record.output,), 0),
        ):
            ids, spans = encode_parts(model.tokenizer, texts)
            labels = torch.full((1, len(ids)), -100)
            labels[0, slice(*spans[part])] = torch.tensor(ids)[slice(*spans[part])]
            with torch.inference_mode():
                losses[name] = model.model(torch.tensor([ids]), labels=labels).loss.item()
        assert {name: found[name] for name in losses} == pytest.approx(losses, abs=2e-4)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant must be loss_ratio or ppl_ratio"):
        IFD(model="student", variant="both")
