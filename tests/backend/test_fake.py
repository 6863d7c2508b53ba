import pytest

from evodistill import RunError
from evodistill.backend import Sampling, chat
from evodistill.backend.fake import Fake


def test_rules_answer_by_the_request_not_by_its_place():
    fake = Fake("fake", rules=[{"match": r"say (?P<word>\w+)", "replies": [r"\g<word>!", r"\g<word>?"]}])
    chats = [chat(f"say {word}") for word in ("one", "two", "three", "four")]
    forward = fake.generate(chats, Sampling(temperature=1.0))
    backward = fake.generate(chats[::-1], Sampling(temperature=1.0))
    assert forward == backward[::-1]
    assert {reply.text[-1] for reply in forward} == {"!", "?"}


def test_a_reply_may_be_cut_off():
    fake = Fake("fake", rules=[{"match": ".", "replies": [{"text": "half a", "finish_reason": "length"}]}])
    assert fake.generate([chat("x")], Sampling())[0].finish_reason == "length"


def test_a_prompt_without_a_rule_is_named():
    with pytest.raises(RunError, match=r"no rule of conf/backend/fake\.yaml matches"):
        Fake("fake").generate([chat("x")], Sampling())


def test_backslashes_in_data_are_data():
    fake = Fake("fake", rules=[{"match": "(?P<all>.*)", "replies": [r"\g<all>"]}])
    assert fake.generate([chat(r"C:\new \1 \g<all>")], Sampling())[0].text.startswith(r"C:\new \1")


def test_rewards_follow_from_the_chat_and_an_empty_turn_has_none():
    fake = Fake("fake")
    chats = [
        [*chat("Name a tea."), {"role": "assistant", "content": answer}] for answer in ("Assam.", "Earl Grey.", " ")
    ]
    first, second, empty = fake.reward(chats)
    assert first.value != second.value and -10 <= first.value <= 10
    assert fake.reward(chats[::-1]) == [empty, second, first]
    assert (empty.value, empty.reason) == (None, "nothing to reward")


def test_inference_goes_by_words():
    pairs = [
        ("Answer in three short lines.", "The answer has three short lines."),
        ("Answer in three short lines.", "Do not answer in three lines."),
        ("Answer in three short lines.", "Cats purr."),
    ]
    labels = [max(one.labels, key=one.labels.__getitem__) for one in Fake("fake").classify(pairs)]
    assert labels == ["entailment", "contradiction", "neutral"]
    assert Fake("fake").classify([("a", "")])[0].reason
