import pytest

from evodistill import RunError
from evodistill.autoif.back_translation import BackTranslation, inferred
from evodistill.backend import Classified, Completion
from evodistill.backend.fake import Fake
from evodistill.record import Record

CODES = [f"def evaluate(response):\n    return {number}" for number in range(5)]


class Judge(Fake):
    """An inference model that says what it is told to say."""

    def __init__(self, *labels):
        super().__init__("nli")
        self.labels, self.pairs = iter(labels), []

    def classes(self, pairs):
        self.pairs += pairs
        yield [(position, verdict(next(self.labels))) for position, _ in enumerate(pairs)]


def verdict(label):
    if label == "too long":
        return Classified(reason="too long")
    return Classified({name: 0.8 if name == label else 0.1 for name in ("entailment", "neutral", "Contradiction")})


def constraint(n=2):
    functions = [{"code": code, "replies": [i]} for i, code in enumerate(CODES[:n])]
    return Record.seed("Leave out all commas.", functions=functions, cases=[])


def translate(record, replies, *labels, **settings):
    fake, judge = Fake.scripted(*replies), Judge(*labels)
    nli = "nli" if labels else None
    (done,) = BackTranslation("teacher", nli=nli, **settings)([record], {"teacher": fake, "nli": judge})
    return done, fake, judge


def test_the_constraint_is_the_premise_and_each_back_translation_a_hypothesis():
    """AI17"""
    done, fake, judge = translate(constraint(), ["Avoid commas.", '- "No commas."'], "entailment", "neutral")
    assert judge.pairs == [("Leave out all commas.", "Avoid commas."), ("Leave out all commas.", "No commas.")]
    assert not done.fault and [entry["label"] for entry in done.extra["back_translations"]] == ["entailment", "neutral"]
    assert CODES[0] in fake.asked[0].chat[0]["content"]


def test_any_contradiction_drops_the_constraint():
    """AI17"""
    done, _, _ = translate(constraint(), ["Avoid commas.", "Use many commas."], "entailment", "Contradiction")
    assert done.fault.reason == "contradiction" and done.fault.detail == "Use many commas. (0.80)"


def test_no_more_functions_than_asked_for_are_translated():
    _, fake, _ = translate(constraint(5), ["a b"] * 3, *["neutral"] * 3)
    assert len(fake.asked) == 3
    _, fake, _ = translate(constraint(5), ["a b"], "neutral", functions=1)
    assert len(fake.asked) == 1


def test_without_a_classifier_nothing_is_dropped():
    done, _, judge = translate(constraint(), ["Use many commas.", ""])
    assert not done.fault and judge.pairs == []
    assert done.extra["back_translations"] == [{"text": "Use many commas."}, {"fault": "empty"}]


@pytest.mark.parametrize(
    ("replies", "labels", "detail"),
    [
        (["", Completion("Use", "length")], ["none is asked"], "empty 1, truncated 1"),
        (["Avoid commas.", Completion("", "error", error="x")], ["too long"], "no_reply 1, too long 1"),
    ],
)
def test_a_constraint_that_cannot_be_compared_is_dropped_too(replies, labels, detail):
    done, _, _ = translate(constraint(), replies, *labels)
    assert (done.fault.reason, done.fault.detail) == ("not_back_translated", detail)


def test_one_readable_back_translation_is_enough():
    done, _, _ = translate(constraint(), ["", "Avoid commas."], "entailment")
    assert not done.fault


def test_a_classifier_of_something_else_is_an_error_that_names_its_labels():
    class Topics(Judge):
        def classes(self, pairs):
            yield [(position, Classified({"sports": 0.9, "law": 0.1})) for position, _ in enumerate(pairs)]

    with pytest.raises(RunError, match="nli has no label 'contradiction' but sports, law"):
        BackTranslation("teacher", nli="nli")([constraint(1)], {"teacher": Fake.scripted("a b"), "nli": Topics()})


def test_a_label_is_known_by_the_whole_word():
    either = Classified({"not_contradiction": 0.9, "Contradiction": 0.1})
    assert inferred(either, "nli") == {"label": "not_contradiction", "probability": 0.9}
    with pytest.raises(RunError, match="nli has no label 'contradiction' but not_contradiction, other"):
        inferred(Classified({"not_contradiction": 0.9, "other": 0.1}), "nli")


def test_with_words_for_labels_the_fake_finds_contradictions():
    models = {"teacher": Fake.scripted("Do not leave out commas.", "Leave out commas."), "nli": Fake("nli")}
    other = Record.seed("Leave out commas, all of them.", functions=constraint(1).extra["functions"], cases=[])
    done = BackTranslation("teacher", nli="nli")([constraint(1), other], models)
    assert [record.fault.reason if record.fault else "" for record in done] == ["contradiction", ""]


def test_rejected_records_pass_through():
    bad = Record.seed("x").reject("empty")
    assert BackTranslation("teacher")([bad], {"teacher": Fake.scripted()}) == [bad]


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="functions must be ≥ 1"):
        BackTranslation("teacher", functions=0)
