import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill import RunError
from evodistill.backend.fake import Fake
from evodistill.distill.dedup import Dedup
from evodistill.evolution.evolution import KEPT
from evodistill.metric import Score
from evodistill.pipeline import run
from evodistill.plan import describe
from evodistill.record import Record, read_jsonl, read_records

TEA = [
    "Name three kinds of tea and describe their taste.",
    "Name three kinds of tea, and describe the taste.",  # eight of nine words of either
    "List the rivers of Spain from north to south.",
    "NAME three kinds of tea and describe their taste",
]


class Vectors(Fake):
    """An embedder that gives each text the angle that it names, in degrees; none for a text without one."""

    def vectors(self, texts):
        for position, text in enumerate(texts):
            angle = np.deg2rad(float(text.partition(" degrees")[0].split()[-1])) if "degrees" in text else np.nan
            yield [(position, np.array([np.cos(angle), np.sin(angle)], np.float32))]


class Scored:
    """A metric that scores a record by its output."""

    roles, prompts = ("judge",), {}

    def __call__(self, records, models):
        return [Score.of(record, {"score": float(record.output) if record.output else None}) for record in records]


def angles(*degrees, outputs=()):
    given = [*outputs, *[""] * (len(degrees) - len(outputs))]
    return [
        Record.seed(f"{angle} degrees", "", out, index=i)
        for i, (angle, out) in enumerate(zip(degrees, given, strict=True))
    ]


def kept(records):
    return [record.instruction for record in records if not record.fault]


def by_vectors(records, **settings):
    return Dedup(by="vectors", **settings)(records, {"embedder": Vectors("fake"), "judge": Fake("judge")})


def test_near_duplicates_by_words_name_the_record_that_is_left():
    records = [Record.seed(text) for text in TEA]
    made = Dedup()(records, {})
    assert [record.id for record in made] == [record.id for record in records]
    assert kept(made) == [TEA[0], TEA[2]]
    assert [(record.fault.reason, record.fault.detail) for record in made if record.fault] == [
        ("near_duplicate", f"of {records[0].id}")
    ] * 2


def test_near_duplicates_by_vectors_are_within_the_angle():
    """cos 20° = 0.940, cos 30° = 0.866"""
    records = angles(0, 20, 30, 90)
    made = by_vectors(records)
    assert kept(made) == ["0 degrees", "30 degrees", "90 degrees"]
    assert made[1].fault and made[1].fault.detail == f"of {records[0].id}, cosine 0.940"


def test_what_goes_is_no_reason_for_another_to_go():
    """20° goes because of 0°; 40° is near 20° alone and stays. Both would go by their nearest neighbour (distilabel)"""
    assert kept(by_vectors(angles(0, 20, 40))) == ["0 degrees", "40 degrees"]


def test_the_best_of_near_ones_is_left():
    """DEITA: by score, whatever the order of the records, which is kept"""
    records = angles(0, 20, 40, outputs=("1", "3", "2"))
    best = {"metric": Scored(), "value": "score"}
    assert kept(by_vectors(records, **best)) == ["20 degrees"]
    assert kept(by_vectors(records, **best, lowest=True)) == ["0 degrees", "40 degrees"]
    assert [record.id for record in by_vectors(records, **best)] == [record.id for record in records]
    alike = [Record.seed(text, "", out) for text, out in zip(TEA, ("1", "2", "1", "2"), strict=True)]
    assert kept(Dedup(metric=Scored(), value="score")(alike, {"judge": Fake("judge")})) == [TEA[1], TEA[2]]


def test_a_record_without_a_score_comes_last_and_is_counted(caplog):
    records = angles(0, 20, outputs=("", "1"))
    assert kept(by_vectors(records, metric=Scored(), value="score")) == ["20 degrees"]
    assert "dedup: 1 of 2 records have no score and come last" in caplog.text


def test_a_text_without_a_vector_is_near_to_none():
    records = [Record.seed("nothing"), *angles(0, 20), Record.seed("nothing", "at all")]
    assert kept(by_vectors(records)) == ["nothing", "0 degrees", "nothing"]


@pytest.mark.parametrize(
    ("text", "left"),
    [("instruction", 1), ("with_input", 2), ("with_output", 3)],
)
def test_the_text_that_is_compared(text, left):
    records = [
        Record.seed("Summarise.", "The mill stood by the river.", "A mill stood there."),
        Record.seed("Summarise.", "Sencha is grown in Japan.", "Tea grows in Japan."),
        Record.seed(
            "Summarise.", "Sencha is grown in Japan.", "It is said of a kind of green tea where it comes from."
        ),
    ]
    made = Dedup(text=text)(records, {})
    assert len(kept(made)) == left


@given(st.lists(st.tuples(st.integers(0, 350), st.sampled_from(["", "1", "2", "2"])), max_size=20), st.booleans())
def test_none_of_the_kept_are_near_and_each_of_the_others_is_near_a_better_one(given_, lowest):
    records = list(
        {record.id: record for record in (Record.seed(f"{a} degrees", "", out) for a, out in given_)}.values()
    )
    made = by_vectors(records, metric=Scored(), value="score", lowest=lowest)
    assert [record.id for record in made] == [record.id for record in records]
    left = {record.id: record for record in made if not record.fault}

    def cosine(a, b):
        one, two = (int(record.instruction.split()[0]) for record in (a, b))
        return np.cos(np.deg2rad(one - two))

    def rank(record):
        value = float(record.output) if record.output else None
        place = [other.id for other in records].index(record.id)
        return value is None, (1 if lowest else -1) * (value or 0), place

    assert all(cosine(a, b) < 0.9 + 1e-6 for a in left.values() for b in left.values() if a.id != b.id)
    for record in made:
        if record.fault:
            other = left[record.fault.detail.removeprefix("of ").partition(",")[0]]
            assert cosine(record, other) > 0.9 - 1e-6 and rank(other) < rank(record)


def test_no_records_and_rejected_ones_pass_through():
    assert Dedup()([], {}) == [] and by_vectors([]) == []
    records = [Record.seed(TEA[0]).reject("empty"), Record.seed(TEA[1])]
    assert Dedup()(records, {}) == records


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "embedder"}, "by must be one of words, vectors, got 'embedder'"),
        ({"text": "output"}, "text must be one of instruction, with_input, with_output, got 'output'"),
        ({"threshold": 1.0}, "threshold must be between 0 and 1, got 1.0"),
        ({"value": "score"}, "metric and value belong together"),
    ],
)
def test_a_bad_value_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Dedup(**settings)


def test_a_value_that_the_metric_does_not_give_is_refused():
    with pytest.raises(RunError, match=r"dedup.value=ifd is no value of this metric; it gives score"):
        by_vectors(angles(0), metric=Scored(), value="ifd")


def test_only_the_roles_that_are_asked_are_named():
    assert Dedup().roles == () and Dedup(by="vectors").roles == ("embedder",)
    assert Dedup(metric=Scored(), value="score").roles == ("judge",)


@pytest.mark.parametrize(
    "settings",
    [
        ["metric=[]"],
        ["dedup.by=vectors", "metric=[length]", "dedup.metric=${metric.length}", "dedup.value=instruction_words"],
    ],
)
def test_a_run_loses_nothing(cfg, tmp_path, settings):
    """in + made = out + rejected; a stand-in repeats its parent, so none is left"""
    steps = ["+distill@dedup=dedup", "steps=[dataset,evolution,dedup]", "instructions=evolution", "dataset.limit=12"]
    run(cfg("+experiment=smoke", *steps, *settings, f"artifacts={tmp_path}/artifacts"), tmp_path / "run")
    row = next(row for row in read_jsonl(tmp_path / "run" / "steps.jsonl") if row["step"] == "dedup")
    assert row["in"] == row["out"] + row["rejected"] and row["made"] == 0
    left = read_records(tmp_path / row["path"] / "records.jsonl")
    assert len(left) == row["out"] >= 12 and row["reasons"] == {"near_duplicate": row["rejected"]}
    assert KEPT not in {record.origin.operation for record in left}


def test_a_plan_counts_every_text_as_another(cfg):
    """A stand-in cannot know what will be near"""
    settings = ["+distill@dedup=dedup", "dedup.by=vectors", "steps=[dataset,dedup]", "dataset.limit=9", "metric=[]"]
    assert "dedup: 9 records in, up to 9 out" in describe(cfg("+experiment=smoke", *settings, "instructions=null"))
