import math

import numpy as np
import pytest
from repository import FAKES

from evodistill.backend import Backend
from evodistill.config import build
from evodistill.metric.diversity import Diversity, distinct, near_duplicates, self_bleu
from evodistill.pipeline import run
from evodistill.record import Record, read_jsonl


class Given(Backend):
    """Gives each text the vector at its angle, in degrees; texts in `cut` are longer than it reads."""

    identity = "given"

    def __init__(self, angles, cut=()):
        super().__init__("given")
        self.angles, self.cut, self.asked = angles, cut, []

    def vectors(self, texts):
        self.asked = list(texts)
        turned = [math.radians(self.angles[text]) for text in texts]
        yield [(i, np.array([math.cos(a), math.sin(a)], np.float32)) for i, a in enumerate(turned)]

    def unread(self, texts):
        return [3 if text in self.cut else 0 for text in texts]


def records(*texts, round=0):
    made = [Record.seed(text, index=index) for index, text in enumerate(texts)]
    return [seed.child(seed.instruction, round=round) for seed in made] if round else made


def diversity(given, angles, cut=(), **settings):
    embedder = Given(angles, cut)
    metric = Diversity(model="embedder", **settings)
    scores = metric(given, {"embedder": embedder})
    return scores, metric.whole(given, scores), embedder


def test_the_distance_to_the_nearest_other_instruction_by_hand():
    scores, _, _ = diversity(records("a", "b", "c"), {"a": 0, "b": 60, "c": 150})
    assert [score.values["neighbour_distance"] for score in scores] == pytest.approx([0.5, 0.5, 1], abs=1e-6)


def test_squared_l2_is_named_and_is_twice_the_cosine_distance():
    """DV1: the paper's script calls it distance; unit vectors: 2 - 2 cos, from 0 to 4"""
    scores, _, _ = diversity(records("a", "b"), {"a": 0, "b": 180}, distance="squared_l2")
    assert [dict(score.values) for score in scores] == [
        {"neighbour_squared_l2": pytest.approx(4), "neighbour_repeats": 0}
    ] * 2


def test_the_embedder_of_the_paper_is_an_option_with_its_normalised_vectors(cfg):
    """DV2"""
    model = build(cfg("model@embedder=all-mpnet-base-v2").embedder)
    assert model.path == "sentence-transformers/all-mpnet-base-v2"


def test_instructions_alone_or_with_their_input():
    """DV3: with the inputs one measures the mix of inputs"""
    given = [Record.seed("a", "x"), Record.seed("a", "y", index=1), Record.seed("b", index=2)]
    angles = {"a": 0, "b": 90, "a\nx": 0, "a\ny": 60}
    alone, _, _ = diversity(given, angles)
    both, _, _ = diversity(given, angles, text="with_input")
    assert [score.values["neighbour_distance"] for score in alone] == pytest.approx([0, 0, 1], abs=1e-6)
    assert [score.values["neighbour_distance"] for score in both] == pytest.approx(
        [0.5, 1 - 3**0.5 / 2, 1 - 3**0.5 / 2], abs=1e-6
    )


def test_instructions_that_repeat_by_construction_can_count_once():
    """DV3: AutoIF pairs each constraint with 16 queries"""
    given = [Record.seed("a", "x"), Record.seed("a", "y", index=1), Record.seed("b", index=2)]
    scores, _, embedder = diversity(given, {"a": 0, "b": 90}, unique=True)
    assert embedder.asked == ["a", "b"]
    assert [score.reason for score in scores] == ["", "not_drawn", ""]
    assert scores[0].values["neighbour_distance"] == pytest.approx(1)


def test_one_record_has_no_neighbour():
    """DV4"""
    (score,), _, _ = diversity(records("a"), {"a": 0})
    assert (score.values["neighbour_distance"], score.reason) == (None, "alone")


def test_neighbours_are_of_the_same_round():
    given = records("a", "b") + records("c", "d", round=1)
    scores, _, _ = diversity(given, {"a": 0, "b": 90, "c": 0, "d": 60})
    assert [score.values["neighbour_distance"] for score in scores] == pytest.approx([1, 1, 0.5, 0.5], abs=1e-6)


def test_repeats_are_neighbours_nearer_than_the_threshold():
    scores, _, _ = diversity(records("a", "b", "c", "d"), {"a": 0, "b": 8, "c": 16, "d": 90}, threshold=0.01)
    assert [score.values["neighbour_repeats"] for score in scores] == [1, 2, 1, 0]


def test_the_papers_threshold_follows_the_distance():
    """12° and 13°: 0.044 and 0.051 of squared L2, 0.022 and 0.026 of the cosine"""
    for distance in ("cosine", "squared_l2"):
        scores, _, _ = diversity(records("a", "b", "c"), {"a": 0, "b": 12, "c": 25}, distance=distance)
        assert [score.values["neighbour_repeats"] for score in scores] == [1, 1, 0]


def test_the_same_number_of_records_is_drawn_on_both_sides_and_by_line():
    """DV6: the distance falls with the size of the set; the draw is that of the same seeds"""
    angles = {name: 5.0 * number for number, name in enumerate("abcdefgh")}
    parents = records(*"abcdefgh")
    first, _, _ = diversity(parents, angles, n=3, seed=1)
    children = [parent.child(parent.instruction, round=1, model="other") for parent in reversed(parents)]
    second, _, _ = diversity(children, angles, n=3, seed=1)
    drawn = {score.seed for score in first if not score.reason}
    assert len(drawn) == 3 and drawn == {score.seed for score in second if not score.reason}
    assert drawn != {score.seed for score in diversity(parents, angles, n=3, seed=2)[0] if not score.reason}
    assert all(score.values == {} for score in first if score.reason == "not_drawn"), "not missing: never asked"


def test_fewer_records_than_wanted_are_said(caplog):
    """DV6"""
    diversity(records("a", "b"), {"a": 0, "b": 90}, n=5)
    assert "round 0 has 2 records, fewer than n=5" in caplog.text


def test_texts_that_the_embedder_cuts_are_marked_and_counted():
    """DV7"""
    scores, whole, _ = diversity(records("a", "b"), {"a": 0, "b": 90}, cut=("b",))
    assert [dict(score.extra) for score in scores] == [{}, {"unread_tokens": 3}]
    assert whole["diversity_truncated"][0] == {"mean": 0.5, "ci95": None, "n": 2, "unparsed": 0}
    assert "diversity_truncated" not in diversity(records("a", "b"), {"a": 0, "b": 90})[1]


def test_a_vector_that_is_none_reaches_no_mean():
    scores, _, _ = diversity(records("a", "b", "c"), {"a": 0, "b": 90, "c": math.nan})
    assert [score.reason for score in scores] == ["", "", "no_vector"]
    assert [score.values["neighbour_distance"] for score in scores] == pytest.approx([1, 1, None], abs=1e-6)


def test_nothing_to_measure_is_no_error():
    """DV5: no file is read again or appended to; a metric gives what it was given"""
    assert diversity([], {})[:2] == ([], {})


def test_distinct_n_by_hand():
    words = [["a", "b", "a"], ["a", "b"]]
    assert distinct(words, 1) == pytest.approx(2 / 5)
    assert distinct(words, 2) == pytest.approx(2 / 3)
    assert distinct([["a"]], 2) is None


def test_self_bleu_is_one_for_equal_texts_and_near_zero_for_different_ones():
    same = ["the", "old", "mill", "stood", "here"]
    assert self_bleu([same, same, same]) == pytest.approx(1)
    assert self_bleu([same, ["name", "three", "kinds", "of", "tea"]]) < 0.05
    # one of four words and none of the longer n-grams, each smoothed to 0.1 of one (Chen and Cherry 2014, method 1)
    assert self_bleu([["a", "b", "c", "d"], ["a", "x", "y", "z"]]) == pytest.approx(
        (1 / 4 * 0.1 / 3 * 0.1 / 2 * 0.1 / 1) ** 0.25
    )
    assert self_bleu([same]) is None


def test_near_duplicates_are_the_share_that_deduplication_would_take():
    long = "write a short poem about the river that runs behind our old house in spring"
    assert near_duplicates([long, long + " please", "Name a tea.", "name a tea", "Why?"]) == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distance": "l2"}, "distance must be one of cosine, squared_l2, got 'l2'"),
        ({"text": "output"}, "text must be one of instruction, with_input"),
        ({"threshold": 0}, "threshold must be > 0"),
        ({"n": 1}, "n and bleu must be ≥ 2"),
    ],
)
def test_bad_values_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Diversity(model="embedder", **settings)


def test_a_run_measures_every_round(cfg, tmp_path):
    settings = ["metric=[diversity]", "dataset.limit=8", "tracker=none", f"artifacts={tmp_path}/artifacts"]
    means = run(cfg("evolution.rounds=1", *FAKES, *settings), tmp_path / "run")
    assert {"neighbour_distance/0", "neighbour_distance/1", "self_bleu/0", "distinct_2/1"} <= set(means)
    assert len(list(read_jsonl(tmp_path / "run/scores/diversity.jsonl"))) > 8
