import math
import random
from collections import Counter

import numpy as np
import pytest

from evodistill.backend import Backend, Completion
from evodistill.backend.fake import Fake
from evodistill.metric.keywords import Keywords, by_meaning, by_spelling, parse_phrase, rarefied


class Judge(Backend):
    """Says what it is told of each method; remembers what it was asked."""

    identity = "judge"

    def __init__(self, **phrases: str):
        super().__init__("judge")
        self.phrases, self.asked = phrases, []

    def complete(self, requests):
        asked = [request.chat[0]["content"] for request in requests]
        self.asked += asked
        found = [next(word for word in self.phrases if f"Line: {word}\n" in text) for text in asked]
        yield [(i, Completion(self.phrases[word], "stop")) for i, word in enumerate(found)]


class Embedder(Backend):
    """The angle that each phrase is told, as a vector of the plane."""

    identity = "embedder"

    def __init__(self, **degrees: float):
        super().__init__("embedder")
        self.degrees = degrees

    def vectors(self, texts):
        angles = [math.radians(self.degrees[text]) for text in texts]
        yield [(i, np.array([math.cos(a), math.sin(a)], np.float32)) for i, a in enumerate(angles)]


def child(seed, *methods, round=1, operation="universal"):
    extra = {"trajectory": list(methods)} if methods else {}
    return seed.child(f"{seed.instruction} Harder.", extra=extra, step="auto_evol", operation=operation, round=round)


def measured(records, judge, embedder=None, **settings):
    metric = Keywords(model="judge", embedder="embedder" if embedder else None, **settings)
    scores = metric(records, {"judge": judge, "embedder": embedder} if embedder else {"judge": judge})
    return scores, metric.whole(records, scores)


def test_each_method_becomes_a_phrase_and_equal_phrases_count_once(seeds):
    """AE10: distinct and total"""
    judge = Judge(a="add a constraint", b="Adding examples.", c="Add a constraint")
    records = [child(seeds[0], "a", "b"), child(seeds[2], "c"), child(seeds[3], "a")]
    scores, whole = measured(records, judge)
    assert [score.values for score in scores] == [{"keywords_per_record": n} for n in (2.0, 1.0, 1.0)]
    assert scores[0].extra == {
        "phrases": ["add a constraint", "adding examples"],
        "keywords": ["add a constraint", "adding examples"],
        "unparsed": 0,
    }
    assert {name: rounds[1]["mean"] for name, rounds in whole.items()} == {
        "keywords_total": 4,
        "keywords_distinct": 2,
        "keywords_rarefied": 2,
    }
    assert len(judge.asked) == 3  # each method once


def test_phrases_of_one_meaning_are_one_keyword_named_by_the_most_frequent(seeds):
    """AE10"""
    judge = Judge(a="limit", b="constraint", c="examples")
    embedder = Embedder(limit=0, constraint=20, examples=90)
    records = [child(seeds[0], "a"), child(seeds[2], "b", "c"), child(seeds[3], "b")]
    scores, whole = measured(records, judge, embedder, threshold=0.9)
    assert [score.extra["keywords"] for score in scores] == [["constraint"], ["constraint", "examples"], ["constraint"]]
    assert whole["keywords_distinct"][1] == {"mean": 2.0, "ci95": None, "n": 4, "unparsed": 0}
    assert measured(records, judge, embedder, threshold=0.95)[1]["keywords_distinct"][1]["mean"] == 3


def test_the_order_of_the_records_changes_nothing(seeds):
    words = {f"m{i}": f"phrase {'abcdefgh'[i % 8] * 3}{i % 3}" for i in range(24)}
    rng = random.Random(0)
    records = [child(seed, *rng.sample(sorted(words), 6), round=r) for seed in seeds for r in (1, 2)]
    first, whole = measured(records, Judge(**words))
    second, again = measured(records[::-1], Judge(**words))
    assert {score.id: score.extra for score in first} == {score.id: score.extra for score in second}
    assert whole == again


def test_records_without_a_trajectory_have_a_reason_and_seeds_no_value(seeds):
    records = [seeds[0], child(seeds[0]), child(seeds[0], operation="keep_parent"), child(seeds[2], "a")]
    scores, whole = measured(records, Judge(a="a long sentence of far too many words for it"))
    assert [(score.values, score.reason) for score in scores] == [
        ({}, "not_evolved"),
        ({"keywords_per_record": None}, "no_trajectory"),
        ({}, "not_evolved"),
        ({"keywords_per_record": None}, "too_long"),
    ]
    assert whole["keywords_total"][1] == {"mean": 0.0, "ci95": None, "n": 0, "unparsed": 1}
    assert whole["keywords_rarefied"][1]["mean"] is None


def test_no_trajectory_at_all(seeds):
    scores, whole = measured([seeds[0], child(seeds[0])], Fake.scripted())
    assert len(scores) == 2 and whole == {name: {} for name in whole}


def test_rounds_are_rarefied_to_the_smallest_of_them_or_to_a_number_of_yours(seeds):
    """AE10: a larger set always has more distinct ones"""
    judge = Judge(a="one", b="two", c="three")
    records = [child(seeds[0], "a", "b", "c"), child(seeds[2], "a"), child(seeds[0], "b", "c", round=2)]
    _, whole = measured(records, judge, threshold=1.0)
    assert {number: row["n"] for number, row in whole["keywords_rarefied"].items()} == {1: 2, 2: 2}
    assert whole["keywords_rarefied"][1]["mean"] == pytest.approx(1 + 5 / 6)
    _, whole = measured(records, judge, threshold=1.0, rarefy=3)
    assert whole["keywords_rarefied"][1]["mean"] == pytest.approx(2.5)
    assert whole["keywords_rarefied"][2] == {"mean": None, "ci95": None, "n": 3, "unparsed": 0}


def test_rarefaction_is_the_mean_over_all_draws():
    counts = [5, 3, 1, 1]
    things = [kind for kind, count in enumerate(counts) for _ in range(count)]
    rng = random.Random(0)
    for n in (1, 4, 9):
        drawn = [len(set(rng.sample(things, n))) for _ in range(20000)]
        assert rarefied(counts, n) == pytest.approx(np.mean(drawn), abs=0.03)
    assert rarefied(counts, 10) == pytest.approx(4)
    assert rarefied(counts, 11) is None and rarefied([], 0) is None
    assert rarefied([10**5] * 50, 1000) == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize(
    ("reply", "phrase"),
    [
        ("add a constraint", "add a constraint"),
        ("Add a Constraint.", "add a constraint"),
        ('**"Add a constraint"**', "add a constraint"),
        ("Words: add a constraint", "add a constraint"),
        ("Here are the words:\n\nadd a constraint\n", "add a constraint"),
        ("- multi-step reasoning\n- depth", "multi-step reasoning"),
        ("depth, breadth & detail", "depth breadth detail"),
        ("reader’s view", "reader's view"),
        ("增加限制", "增加限制"),
    ],
)
def test_a_phrase_is_read_whatever_its_clothes(reply, phrase):
    assert parse_phrase(reply, 6).value == phrase


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("...", "empty"),
        ("The line says that it should be made harder.", "too_long"),
        ("x = 3", "symbols"),
        ("add {x}", "symbols"),
    ],
)
def test_what_is_no_phrase_has_a_reason(reply, reason):
    assert parse_phrase(reply, 6).reason == reason


def test_a_phrase_joins_the_nearest_leader_also_beyond_one_block():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 64))
    vectors = centres[rng.integers(0, 40, 700)] + 0.05 * rng.standard_normal((700, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = by_meaning(vectors.astype(np.float32), 0.8)
    slow: list[int] = []
    for i, vector in enumerate(vectors):
        leaders = sorted(set(slow))
        near = [(float(vectors[j] @ vector), -j) for j in leaders if vectors[j] @ vector >= 0.8]
        slow.append(-max(near)[1] if near else i)
    assert found == slow and len(Counter(found)) == 40


def test_spelling_groups_words_in_any_order():
    assert by_spelling(["add a constraint", "a constraint add", "add constraints", "depth"], 0.8) == [0, 0, 0, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"threshold": 0}, "threshold"), ({"max_words": 0}, "max_words"), ({"rarefy": 0}, "rarefy")],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Keywords(model="judge", **settings)
