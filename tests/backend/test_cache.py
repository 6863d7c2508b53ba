import multiprocessing
import sqlite3

import numpy as np
import pytest

from evodistill import RunError
from evodistill.backend import Classified, Completion, Logprobs, Rewarded, Sampling, chat
from evodistill.backend.cache import Cache, Cached, pack_logprobs, unpack_logprobs
from evodistill.backend.fake import Fake
from evodistill.backend.ray import Ray
from evodistill.backend.transformers import Transformers
from evodistill.backend.vllm import VLLM

WARM = Sampling(temperature=0.7)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "requests.sqlite")


def test_what_was_answered_once_is_not_asked_again(cache):
    chats = [chat("a"), chat("b")]
    first = Cached(Fake.scripted("one", "two"), cache).generate(chats, WARM)
    second = Cached(Fake.scripted(), cache)
    assert second.generate(chats, WARM) == first
    assert (second.usage.requests, second.usage.cached) == (0, 2)


def test_what_runs_a_model_is_told_through_every_layer(cache):
    """The type as it was asked for, while no engine is open"""
    inner = Transformers("one", engine={"dtype": "float16"})
    assert Cached(Ray("one", inner=inner), cache).engine_facts == {"backend": "Ray of Transformers", "dtype": "float16"}
    assert Cached(VLLM("one"), cache).engine_facts == {"backend": "VLLM", "dtype": None}


def test_equal_chats_are_successive_draws_and_greedy_ones_a_single_request(cache):
    drawn = Cached(Fake.scripted("one", "two"), cache).generate([chat("a"), chat("a")], WARM)
    assert [reply.text for reply in drawn] == ["one", "two"]
    greedy = Cached(Fake.scripted("once"), cache)
    assert [reply.text for reply in greedy.generate([chat("a")] * 3, Sampling())] == ["once"] * 3
    assert (greedy.usage.requests, greedy.usage.cached) == (1, 2)


@pytest.mark.parametrize(
    "other",
    [Sampling(temperature=0.7, seed=1), Sampling(temperature=0.8), Sampling(temperature=0.7, max_tokens=9), Sampling()],
)
def test_another_sampling_is_another_request(cache, other):
    Cached(Fake.scripted("one"), cache).generate([chat("a")], WARM)
    assert Cached(Fake.scripted("two"), cache).generate([chat("a")], other)[0].text == "two"


def test_a_reply_out_of_a_list_is_another_request(cache):
    Cached(Fake.scripted("one"), cache).generate([chat("a")], WARM)
    assert Cached(Fake.scripted("two"), cache).generate([chat("a")], WARM, ["two", "three"])[0].text == "two"
    assert Cached(Fake.scripted("four"), cache).generate([chat("a")], WARM, ["four"])[0].text == "four"
    assert Cached(Fake.scripted(), cache).generate([chat("a")], WARM)[0].text == "one"


def test_another_model_is_another_request(cache):
    Cached(Fake.scripted("one"), cache).generate([chat("a")], WARM)
    other = Fake.scripted("two")
    other.name = "other"
    assert Cached(other, cache).generate([chat("a")], WARM)[0].text == "two"


def test_a_request_keeps_its_seed_in_any_order_and_company():
    fake = Fake("fake")
    alone = fake.requests([chat("b")], WARM)[0].seed
    among = fake.requests([chat("a"), chat("c"), chat("b")], WARM)[2].seed
    assert alone == among
    assert len({request.seed for request in fake.requests([chat("b")] * 5, WARM)}) == 5


def test_errors_are_not_kept(cache):
    failed = Completion("", "error", error="server said no")
    assert Cached(Fake.scripted(failed), cache).generate([chat("a")], WARM)[0].error
    assert Cached(Fake.scripted("now it works"), cache).generate([chat("a")], WARM)[0].text == "now it works"


def test_a_finished_group_survives_what_comes_after_it(cache):
    """A run that dies in its third group has the first two."""
    dying = Fake.scripted("1", "2", "3", "4")
    dying.group = 2
    chats = [chat(str(number)) for number in range(6)]
    with pytest.raises(RunError, match="script of model fake has ended"):
        Cached(dying, cache).generate(chats, WARM)
    again = Cached(Fake.scripted("5", "6"), cache)
    assert [reply.text for reply in again.generate(chats, WARM)] == ["1", "2", "3", "4", "5", "6"]
    assert (again.usage.requests, again.usage.cached) == (2, 4)


def test_scores_and_vectors_are_kept_bit_for_bit(cache):
    fake = Fake("fake")
    texts = [("question words", "\n", "an answer"), ("", "another answer here")]
    first, second = Cached(fake, cache), Cached(fake, cache)
    for one, two in zip(first.logprobs(texts), second.logprobs(texts), strict=True):
        assert [part.tolist() for part in one.parts] == [part.tolist() for part in two.parts]
    assert np.array_equal(first.embed(["a", "b"]), second.embed(["a", "b"]))
    assert second.usage.requests == 0


def test_rewards_and_labels_are_kept_bit_for_bit_and_reasons_are_not(cache):
    fake = Fake("fake")
    chats, pairs = [chat("a"), chat("b"), chat(" "), chat("a")], [("a b", "b a"), ("a", "")]
    first, second = Cached(fake, cache), Cached(fake, cache)
    assert first.reward(chats) == second.reward(chats) == fake.reward(chats)
    assert first.classify(pairs) == second.classify(pairs) == fake.classify(pairs)
    assert isinstance(second.reward(chats)[0], Rewarded) and isinstance(second.classify(pairs)[0], Classified)
    assert (first.usage.requests, first.usage.errors) == (5, 2)
    assert second.usage.requests == 4, "the two without a value are asked again, each time"


def test_logprobs_pack_any_number_of_parts():
    for parts in ((), ([],), ([], [-1.5], [-2.0, -0.25])):
        for cut in (0, 7):
            value = Logprobs(tuple(np.array(part, np.float32) for part in parts), cut=cut)
            back = unpack_logprobs(pack_logprobs(value))
            assert [part.tolist() for part in back.parts] == [list(part) for part in parts]
            assert back.cut == cut


def test_a_text_that_may_lose_its_end_is_another_request(cache):
    model = Cached(Fake("fake"), cache)
    (whole,), (part,) = model.logprobs([("a b c", "d")]), model.logprobs([("a b c", "d")], limit=3)
    assert [len(values) for values in whole.parts] == [3, 1] and whole.cut == 0
    assert [len(values) for values in part.parts] == [2, 0] and part.cut == 2
    (again,) = model.logprobs([("a b c", "d")], limit=3)
    assert again.cut == 2 and model.usage.requests == 2


def test_a_cache_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "requests.sqlite"
    Cache(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(RunError, match="written by a newer evodistill"):
        Cache(path)


def test_a_damaged_cache_is_one_line_with_the_cure(tmp_path):
    path = tmp_path / "requests.sqlite"
    path.write_bytes(b"this is no database at all, whatever its name says" * 100)
    with pytest.raises(RunError, match=r"requests.sqlite is damaged .* move it away"):
        Cache(path)


def test_a_read_only_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="fix the folder's rights"):
        Cache(tmp_path / "file" / "requests.sqlite")


def put_many(path, start):
    cache = Cache(path)
    for number in range(start, start + 200):
        cache.put([(f"{number:032x}", str(number).encode())])


def test_two_processes_write_one_cache(tmp_path):
    path = tmp_path / "requests.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=put_many, args=(path, start)) for start in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    keys = [f"{number:032x}" for number in range(300)]
    assert Cache(path).get(keys) == {key: str(number).encode() for number, key in enumerate(keys)}
