"""Records by the portion: the same bytes as all at once, and no more in memory than a portion needs."""

from pathlib import Path

import pytest
from hydra import compose

from evodistill import stream
from evodistill.backend import Sampling, chat
from evodistill.backend.cache import Cache, Cached
from evodistill.backend.fake import Fake
from evodistill.models import Models
from evodistill.pipeline import run
from evodistill.record import Record, read_records

STREAMS = ("evolution.eliminator.pool_similarity=null", "metric=[complexity_rate,complexity_score,ifd,length]")


@pytest.fixture
def made(cfg, tmp_path, monkeypatch):
    """The files of the artifacts and scores of a run in portions of a size."""

    def go(size: int, *overrides: str) -> dict[str, bytes]:
        monkeypatch.setattr(stream, "PORTION", size)
        folder = tmp_path / f"of-{size}"
        run(compose("config", ["+experiment=smoke", f"artifacts={folder}/artifacts", *overrides]), folder / "run")
        paths = [*folder.glob("artifacts/*/*.jsonl"), *folder.glob("run/scores/*"), folder / "run" / "metrics.json"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}

    return go


@pytest.mark.parametrize("on_failure", ["keep_parent", "drop"])
def test_portions_make_the_same_bytes_as_all_at_once(made, on_failure):
    settings = [*STREAMS, f"evolution.on_failure={on_failure}", "dataset.limit=40"]
    whole, parts = made(1000, *settings), made(7, *settings)
    assert whole == parts
    assert len(whole) == 3 * 2 + 4 + 4 + 1 and sum(map(len, whole.values())) > 100_000


def test_equal_prompts_in_two_portions_are_successive_draws(made, tmp_path):
    """as they are in one: two seeds that differ in nothing but their answer"""
    rows = [f'{{"instruction": "Name {n % 3} teas.", "input": "", "output": "{n}"}}\n' for n in range(12)]
    (tmp_path / "seeds.jsonl").write_text("".join(rows))
    replies = ", ".join(f"Describe {n} kinds of tea and compare how each of them should be brewed." for n in range(9))
    settings = ["dataset=jsonl", f"dataset.path={tmp_path}/seeds.jsonl", *STREAMS, "metric=[]"]
    settings += [f"evolver.rules=[{{match: '.', replies: ['{replies.replace(', ', chr(39) + ', ' + chr(39))}']}}]"]
    whole, parts = made(1000, *settings), made(2, *settings)
    assert whole == parts
    (evolved,) = (tmp_path / "of-2" / "artifacts").glob("evolution-*/records.jsonl")
    children = [record.instruction for record in read_records(evolved) if record.origin.round == 1]
    assert len(set(children)) > 3, "three prompts, more draws"


def test_decontamination_in_portions_makes_the_same_bytes(made, tmp_path):
    """… and reads the tests once"""
    (tmp_path / "exam.jsonl").write_text('{"q": "Write a polite email."}\n')
    files = f"decontaminate.files=[{{path: {tmp_path}/exam.jsonl, field: q}}]"
    settings = ["+distill@decontaminate=decontaminate", files, "decontaminate.n=2", "steps=[dataset,decontaminate]"]
    settings += ["metric=[]", "instructions=null"]
    whole, parts = made(1000, *settings), made(7, *settings)
    assert whole == parts
    (rejected,) = (tmp_path / "of-7" / "artifacts").glob("decontaminate-*/rejects.jsonl")
    assert {record.fault.reason for record in read_records(rejected) if record.fault} == {"contaminated"}


def test_no_call_holds_more_than_a_portion(made, monkeypatch):
    sizes = []
    complete = Fake.complete
    monkeypatch.setattr(Fake, "complete", lambda self, asked: sizes.append(len(asked)) or complete(self, asked))
    made(7, *STREAMS, "dataset.limit=40")
    assert len(sizes) > 50 and max(sizes) == 7


def test_the_pool_of_near_duplicates_sees_all_lines_together(made):
    assert made(1000, "dataset.limit=40", "metric=[]") == made(7, "dataset.limit=40", "metric=[]")


def test_a_cached_model_counts_afresh_after_a_step(tmp_path):
    model = Cached(Fake("fake"), Cache(tmp_path / "requests.sqlite"))
    models = Models.__new__(Models)
    models["teacher"] = model
    hot, asks = Sampling(temperature=1.0), [chat("a"), chat("a")]
    with models.portions(["teacher"]) as begins:
        draws = []
        for _ in range(2):
            begins()
            draws += [request.draw for request in model.requests(asks, hot)]
            draws += [request.draw for request in model.requests(asks[:1], hot)]
    assert draws == [0, 1, 0, 2, 3, 1], "each call of a portion goes on where that of the one before ended"
    assert [request.draw for request in model.requests(asks, hot)] == [0, 1]


def test_a_spool_gives_its_groups_in_order_and_leaves_nothing(tmp_path):
    spool = stream.Spool(tmp_path)
    spool.extend([((2, False), "c\n"), ((), "a\u2028\n"), ((1, True), "b\n"), ((), "aa\n")])
    assert list(spool) == list(spool) == ["a\u2028\n", "aa\n", "b\n", "c\n"] and len(spool) == 4
    assert not list(Path(tmp_path).iterdir())


def test_rows_are_read_anew_each_time(tmp_path):
    spool = stream.Spool(tmp_path)
    spool.extend([((), '{"a": 1}\n')])
    rows = stream.Rows(lambda flat: flat["a"], spool, n=1)
    assert list(rows) == list(rows) == [1] and len(rows) == 1
    assert not len(stream.Rows(Record.from_dict))


def test_what_was_seen_is_found(tmp_path):
    seen = stream.Seen()
    assert seen.add(["a", "b", "a"]) == 2 and seen.add(["b", "c"]) == 1
    assert seen.keep("place", "caf\udce9.jsonl:7") is None and seen.keep("other", "b") is None
    assert seen.keep("place", "c") == seen.keep("place", "d") == "caf\udce9.jsonl:7"
    assert [seen.count("key") for _ in range(3)] == [0, 1, 2]
