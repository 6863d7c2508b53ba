import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill.distill.near_duplicates import NearDuplicates
from evodistill.evolution.eliminate import WORD

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "tea"]), min_size=1, max_size=14).map(" ".join)
PLAIN = NearDuplicates(minhash=None)


def lcs(a: list[str], b: list[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        before = row[:]
        for j, other in enumerate(b):
            row[j + 1] = before[j] + 1 if word == other else max(before[j + 1], row[j])
    return row[-1]


def plainly(known: list[str], new: list[str], threshold: float) -> list[bool]:
    """ROUGE-L by its formula, all pairs."""
    accepted, found = list(known), []
    for text in new:
        words = WORD.findall(text.lower())
        near = any(
            2 * lcs(words, WORD.findall(other.lower())) >= threshold * (len(words) + len(WORD.findall(other.lower())))
            for other in accepted
        )
        found.append(near)
        accepted += [] if near else [text]
    return found


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=12))
def test_rouge_l_finds_what_comparing_all_pairs_finds(known, new):
    assert [near is not None for near in PLAIN(known, new)] == plainly(known, new, 0.7)


def test_rouge_l_finds_it_in_many_longer_texts_too():
    rng = random.Random(0)
    words = [f"w{n}" for n in range(40)]
    texts = [" ".join(rng.choices(words, k=rng.randint(3, 30))) for _ in range(150)]
    texts += [" ".join(word for word in rng.choice(texts).split() if rng.random() < 0.7) or "w1" for _ in range(150)]
    found = PLAIN([], texts)
    assert [near is not None for near in found] == plainly([], texts, 0.7)
    assert 20 < sum(near is not None for near in found) < 280


def test_what_is_known_is_named_and_not_compared_with_itself():
    known = ["Name a tea.", "Name a tea!"]
    assert NearDuplicates()(known, ["name a TEA", "List five rivers of Spain."]) == ["Name a tea.", None]


def test_a_rejected_text_is_no_reason_to_reject_another():
    first, second, third = "a b c d e f g h", "a b c d e f x y", "z w c d e f x y"
    assert [near is not None for near in PLAIN([first], [second, third])] == [True, False]


def test_sentences_that_changed_places_are_found_by_minhash():
    one = "First tell the story of the old mill by the river in your own simple words for children who like it. "
    two = "Then draw a careful map of the valley with all its bridges and give each of them a funny name please."
    assert NearDuplicates(minhash=None)([one + two], [two + one]) == [None]
    assert NearDuplicates()([one + two], [two + one]) == [one + two]


SCRIPTS = ["为一家新开的小书店想三条宣传语。", "اكتب رسالة قصيرة إلى صديق", "एक कविता लिखिए", "🍵 🫖 🍵?"]


@pytest.mark.parametrize("text", SCRIPTS)
def test_any_script(text):
    assert NearDuplicates()([text], [text, "Something else."]) == [text, None]


def test_texts_without_words_are_not_all_alike():
    assert NearDuplicates()([], ["…", "", "🍵", "🎲", "", "🍵"]) == [None, None, None, None, "", "🍵"]


def test_off_is_exact_only():
    assert NearDuplicates(rouge_l=None, minhash=None)(
        ["a b c d e f g h i"], ["a b c d e f g h j", "A b c d e f g h i."]
    ) == [
        None,
        "a b c d e f g h i",
    ]


def test_a_bad_bound_is_refused():
    with pytest.raises(ValueError, match=r"rouge_l must be in \(0, 1\], or null, got 7"):
        NearDuplicates(rouge_l=7)
