import csv
import json
import random
from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
from omegaconf import OmegaConf
from repository import ROOT

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.expand import Expand
from evodistill.distill.label import Label
from evodistill.distill.resample import Resample
from evodistill.plan import WORDS
from evodistill.record import Record

PAPER = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "distill" / "resample.yaml").shares)
TASKS = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "distill" / "label.yaml").classes)
HALVES = {"Math": 0.5, "Writing": 0.5}


def labelled(counts):
    rows = [(name, f"{name} {number} {number * 7919 % 10007}") for name, n in counts.items() for number in range(n)]
    return [Record.seed(text, index=index, category=name) for index, (name, text) in enumerate(rows)]


def resample(records, shares=PAPER, classes=TASKS, models=None, **settings):
    step = Resample(labels=Label(classes, model=None), shares=shares, **settings)
    made = step(records, models or {})
    usable = [record for record in made.records if not record.fault]
    return made, Counter(record.extra["category"] for record in usable), usable


def test_the_shares_are_the_scripts_and_the_classes_are_theirs():
    assert len(PAPER) == 32 and set(PAPER) == set(TASKS)
    assert sum(PAPER.values()) == pytest.approx(1.0)
    assert Counter(PAPER.values()) == {0.167: 2, 0.083: 2, 0.041: 1, 0.017: 27}


def test_a_hundred_rows_of_one_class_stay_a_hundred():
    """2.0 keeps 17: the mass of absent classes is not lost here"""
    made, counts, _ = resample(labelled({"Math": 100}))
    assert counts == {"Math": 100} and len(made.records) == 100


def test_sixty_thirty_ten_stay_a_hundred_in_their_shares():
    """2.0 keeps 21"""
    _, counts, _ = resample(labelled({"Math": 60, "Writing": 30, "Law": 10}))
    assert counts["Math"] == 83 and sorted(counts.values()) == [8, 9, 83]


@pytest.mark.parametrize("n", [20, 40, 58, 59, 100, 1000])
def test_every_size_is_exact_when_every_class_is_there(n):
    """1.x keeps 8, 19, 28, 55, 79 and 1000: floors lose the minor classes"""
    _, counts, _ = resample(labelled(dict.fromkeys(TASKS, 40)), size=n)
    assert counts.total() == n
    assert all(abs(counts[name] - n * share) < 1 for name, share in PAPER.items())


@pytest.mark.parametrize("deficit", ["repeat", "cap_repeat", "redistribute"])
def test_all_given_come_back_once_and_repeats_have_ids_of_their_own(deficit):
    records = labelled({"Math": 3, "Writing": 20})
    made, _, _ = resample(records, HALVES, deficit=deficit, size=14)
    ids = [record.id for record in made.records]
    assert len(set(ids)) == len(ids) and {record.id for record in records} <= set(ids)


def test_repeat_goes_through_the_class_before_it_starts_again():
    _, counts, usable = resample(labelled({"Math": 3, "Writing": 20}), HALVES, size=14)
    assert counts == {"Math": 7, "Writing": 7}
    uses = Counter(record.instruction for record in usable if record.extra["category"] == "Math")
    assert sorted(uses.values()) == [2, 2, 3]
    twin = next(record for record in usable if record.origin.operation == "repeat")
    assert twin.origin.parent and twin.origin.parent != twin.id and twin.extra["use"] == 2


def test_cap_repeat_stops_and_the_others_give_more():
    _, counts, usable = resample(
        labelled({"Math": 2, "Writing": 20}), HALVES, deficit="cap_repeat", max_repeats=2, size=14
    )
    assert counts == {"Math": 4, "Writing": 10}
    assert max(Counter(record.instruction for record in usable).values()) == 2


def test_redistribute_repeats_nothing_and_says_what_it_cannot_give(caplog):
    _, counts, usable = resample(labelled({"Math": 2, "Writing": 20}), HALVES, deficit="redistribute", size=14)
    assert counts == {"Math": 2, "Writing": 12} and all(not record.origin.operation for record in usable)
    _, counts, _ = resample(labelled({"Math": 2, "Writing": 3}), HALVES, deficit="redistribute", size=14)
    assert counts.total() == 5 and "14 records were asked for, deficit=redistribute gives 5" in caplog.text


def test_the_draw_depends_on_seed_and_id_alone_and_a_larger_one_adds():
    records = labelled({"Math": 50, "Writing": 50})
    drawn = {record.id for record in resample(records, HALVES, size=20)[2]}
    assert drawn == {record.id for record in resample(records[::-1], HALVES, size=20)[2]}
    assert drawn < {record.id for record in resample(records, HALVES, size=40)[2]}
    assert drawn != {record.id for record in resample(records, HALVES, size=20, seed=1)[2]}


def test_what_is_not_drawn_says_so():
    made, _, _ = resample(labelled({"Math": 5, "Writing": 5, "Toxicity": 2}), HALVES | {"Toxicity": 0}, size=4)
    reasons = Counter((record.fault.reason, record.fault.detail) for record in made.records if record.fault)
    assert reasons == {
        ("not_drawn", "of Math 2 were wanted"): 3,
        ("not_drawn", "of Writing 2 were wanted"): 3,
        ("not_drawn", "of Toxicity 0 were wanted"): 2,
    }


def test_a_record_without_a_class_is_rejected_and_the_rest_goes_on():
    """C6: a judge that answers outside the list; unknown is not Others"""
    judge = Fake.scripted("Math", "Cooking", "about Law, not Math", Completion("", "error", error="context"))
    records = [Record.seed(f"Number {number}") for number in range(4)]
    made = Resample(labels=Label(TASKS), shares=PAPER)(records, {"judge": judge})
    assert [
        record.fault and (record.fault.reason, record.fault.detail, record.fault.raw) for record in made.records
    ] == [
        None,
        ("unlabelled", "no_label", "Cooking"),
        ("unlabelled", "several_labels", "about Law, not Math"),
        ("unlabelled", "no_reply", "context"),
    ]


def test_faults_from_before_pass_through():
    bad = Record.seed("x", category="Math").reject("truncated")
    made, counts, _ = resample([bad, *labelled({"Math": 2})])
    assert made.records[0] == bad and counts.total() == 2


def test_nothing_in_nothing_out():
    made, counts, _ = resample([])
    assert made.records == [] and not counts
    assert json.loads("".join(made.files["task_mix.json"]))["distance_before"] is None


def test_before_and_after_are_reported_with_their_distance():
    made, _, _ = resample(labelled({"Math": 30, "Writing": 10}), {"Math": 0.4, "Writing": 0.4, "Law": 0.2})
    rows = list(csv.DictReader("".join(made.files["task_mix.csv"]).splitlines()))
    assert [row["class"] for row in rows] == list(TASKS)
    writing = next(row for row in rows if row["class"] == "Writing")
    assert writing == {
        "class": "Writing", "share": "0.4", "before": "10", "after": "20", "repeated": "10", "synthesized": "0",
    }  # fmt: skip
    told = json.loads("".join(made.files["task_mix.json"]))
    assert (told["before"], told["after"], told["unlabelled"], told["absent"]) == (40, 40, 0, ["Law"])
    assert told["distance_before"] == pytest.approx(0.35) and told["distance_after"] == pytest.approx(0.2)
    assert told["absent_share"] == 0.2


def test_resampling_twice_gives_no_id_twice():
    _, _, usable = resample(labelled({"Math": 2, "Writing": 4}), HALVES, size=12)
    made, counts, _ = resample(usable, HALVES, size=40)
    ids = [record.id for record in made.records]
    assert len(set(ids)) == len(ids) and counts == {"Math": 20, "Writing": 20}


def test_a_repeated_record_keeps_its_answer_and_its_line():
    [record] = labelled({"Math": 1})
    _, _, usable = resample([replace(record, output="42")], size=3)
    assert {twin.output for twin in usable} == {"42"} and {twin.origin.seed for twin in usable} == {record.id}


class Writer(Fake):
    """Writes something new each time, of the class that it is asked for; every third time a copy of an example."""

    def reply(self, request):
        self.n = getattr(self, "n", count())
        number = next(self.n)
        text = request.chat[-1]["content"]
        if number % 3 == 2:
            return Completion(text.split("Example 1: ")[1].splitlines()[0], "stop")
        name = text.split('type "')[1].split('"')[0]
        words = " ".join(random.Random(number).choices(WORDS, k=9))
        return Completion(f"Describe {name} with {words}.", "stop")


class Namer(Fake):
    """Labels an instruction by the class that it names."""

    def reply(self, request):
        told = request.chat[-1]["content"].split("Instruction: ")[1]
        return Completion(next((name for name in TASKS if f" {name} " in told), "none"), "stop")


def synthesize(records, **settings):
    labels = Label(TASKS)
    writer = Expand(model="teacher")
    step = Resample(labels=labels, shares=HALVES, deficit="synthesize", writer=writer, **settings)
    made = step(records, {"teacher": Writer("teacher"), "judge": Namer("judge")})
    return made, [record for record in made.records if not record.fault]


def test_synthesize_asks_for_what_a_class_lacks_and_takes_what_is_of_that_class():
    made, usable = synthesize(labelled({"Math": 2, "Writing": 10}), size=20)
    new = [record for record in usable if record.origin.operation == "synthesize"]
    assert Counter(record.extra["category"] for record in usable) == {"Math": 10, "Writing": 10}
    assert len(new) == 8 and {record.extra["category"] for record in new} == {"Math"}
    failed = Counter(record.fault.reason for record in made.records if record.fault)
    assert failed["near_duplicate"] + failed["unchanged"] >= 2


def test_what_cannot_be_synthesized_is_repeated_up_to_the_limit(caplog):
    class Mute(Fake):
        def reply(self, request):
            return Completion("I'm sorry, but I cannot do that.", "stop")

    step = Resample(
        labels=Label(TASKS),
        shares=HALVES,
        deficit="synthesize",
        writer=Expand(model="teacher"),
        size=20,
        max_repeats=2,
        attempts=2,
    )
    made = step(labelled({"Math": 2, "Writing": 10}), {"teacher": Mute("teacher"), "judge": Namer("judge")})
    usable = [record for record in made.records if not record.fault]
    assert Counter(record.extra["category"] for record in usable) == {"Math": 4, "Writing": 10}
    assert "20 records were asked for, deficit=synthesize gives 14" in caplog.text
    ids = [record.id for record in made.records]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": {"Math": 0.5, "Maths": 0.5}}, r"shares names 'Maths', which is none of labels.classes \(Math"),
        ({"shares": {"Math": 0.5, "Law": 0.2}}, r"shares add up to 0.7, not to 1; divide each by 0.7"),
        ({"shares": {"Math": 1.5, "Law": -0.5}}, r"shares.Law must be ≥ 0, got -0.5"),
        ({"deficit": "borrow"}, "deficit must be one of repeat, cap_repeat, synthesize, redistribute, got 'borrow'"),
        ({"deficit": "synthesize"}, "needs a writer"),
        ({"size": 0}, "size must be ≥ 1, got 0"),
    ],
)
def test_bad_values_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Resample(**{"labels": Label(TASKS), "shares": PAPER} | settings)


def test_shares_that_were_rounded_are_taken():
    assert Resample(labels=Label(TASKS), shares={"Math": 0.333, "Law": 0.333, "Art": 0.333})
