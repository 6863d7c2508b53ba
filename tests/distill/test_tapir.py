import json
from collections import Counter
from dataclasses import replace

import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.expand import Expand
from evodistill.distill.label import Label
from evodistill.distill.mfd import MFD
from evodistill.distill.resample import Resample
from evodistill.distill.respond import Respond
from evodistill.distill.tapir import Tapir
from evodistill.evolution.eliminate import Eliminator
from evodistill.record import Record, split

LABELS = Label({"Math": "a problem to calculate", "Writing": "a letter or a story"})
WRITER = Expand(model="teacher", eliminator=Eliminator(language=False, min_length_ratio=0, max_length_ratio=9))


STUDENT = Fake("student", rules=[{"match": ".", "replies": ["Hm."]}])


class Teacher(Fake):
    """Writes new Math problems, and answers."""

    def reply(self, request):
        text = request.chat[-1]["content"]
        if "Write one more" in text or "new instruction" in text:
            n = request.seed
            return Completion(f"Calculate {n % 1000} and compare case {n % 77} with bowl {n % 91}.", "stop")
        return Completion(("Steps: " if "step by step" in text else "") + "done", "stop")


class Judge(Fake):
    """Finds the teacher's answer to a question about "hard" better, and tells classes by a word."""

    def reply(self, request):
        text = request.chat[-1]["content"]
        if "name of one type" in text:
            return Completion("Math" if "alculate" in text.split("Instruction:")[1] else "Writing", "stop")
        if "hard" not in text:
            return Completion("5 5", "stop")
        first, second = text.index("First answer:"), text.index("Second answer:")
        teachers = text.index("done") if "done" in text else text.index("Teacher")
        return Completion("9 2" if first < teachers < second else "2 9", "stop")


def pool(n_hard=10, n_easy=30) -> list[Record]:
    rows = [f"Calculate number {n} of the hard ones." if n % 5 else f"Tell hard tale {n}." for n in range(n_hard)]
    rows += [f"Name easy thing {n}." for n in range(n_easy)]
    return [Record.seed(text, "", "Teacher.", index=n) for n, text in enumerate(rows)]


def tapir(records, **settings):
    balance = Resample(labels=LABELS, shares={"Math": 0.5, "Writing": 0.5}, deficit="synthesize", writer=WRITER)
    answers = Respond(model="teacher", tasks={"Math": "respond/steps"})
    step = Tapir(**{"fit": MFD(), "balance": balance, "answers": answers} | settings)
    made = step(records, {"student": STUDENT, "judge": Judge("judge"), "teacher": Teacher("teacher")})
    return made, [record for record in made.records if record.origin.step == "tapir" and not record.fault]


def operations(training) -> Counter:
    return Counter(record.origin.operation for record in training)


def test_the_share_of_hard_records_grows_by_the_round():
    assert [Tapir(MFD(), None, None, round=n).alpha for n in (1, 2, 3, 9)] == pytest.approx([0.3, 0.5, 0.7, 1.0])  # type: ignore[arg-type]
    for number, alpha in ((1, 0.3), (3, 0.7)):
        made, training = tapir(pool(n_hard=30), round=number, size=40)
        told = json.loads("".join(made.files["curriculum.json"]))
        assert told["share_of_hard"] == pytest.approx(alpha, abs=0.02) and told["hard"] == 30
        assert {record.origin.round for record in training} == {number} and len(training) == 40


def test_everything_given_comes_back_usable_and_the_training_set_are_children():
    records = pool()
    made, training = tapir(records)
    by_id = {record.id: record for record in made.records}
    assert len(by_id) == len(made.records)
    assert all(record.id in by_id and not by_id[record.id].fault for record in records)
    assert all(record.origin.parent in by_id for record in training)


def test_hard_records_are_balanced_and_answered_by_task():
    _, training = tapir(pool(), size=40)
    hard = [record for record in training if record.origin.operation != "base"]
    assert Counter(record.extra["category"] for record in hard) == {"Math": 6, "Writing": 6}
    assert {record.output for record in hard if record.extra["category"] == "Math"} == {"Steps: done"}
    assert {record.output for record in training if record.origin.operation == "base"} == {"Teacher."}


def test_what_a_class_lacks_is_written_and_joins_the_pool_with_an_answer():
    made, training = tapir(pool(), round=3, size=40)
    new = [record for record in made.records if record.origin.operation == "synthesize" and not record.fault]
    assert new and all(record.output and record.origin.round == 0 for record in new)
    assert operations(training)["expand"] == len(new)


def test_a_second_round_draws_from_the_pool_and_not_from_training_sets():
    made, first = tapir(pool())
    usable, _ = split(made.records)
    again, second = tapir(usable, round=2)
    told = json.loads("".join(again.files["curriculum.json"]))
    assert told["hard"] + told["others"] == len(usable) - len(first)
    assert len({record.id for record in again.records}) == len(again.records)
    assert Counter(record.origin.round for record in second) == {1: len(first), 2: len(second) - len(first)}


def test_a_trainer_learns_from_the_set_of_its_round_alone():
    made, first = tapir(pool(n_hard=30))
    again, _ = tapir(made.records, round=2)
    for number in (1, 2):
        learned = [r for r in again.records if r.extra.get(f"round{number}") and not r.fault]
        assert {(r.origin.step, r.origin.round) for r in learned} == {("tapir", number)}
        assert all(record.output for record in learned)
    assert {r.id for r in first} == {r.id for r in again.records if r.extra.get("round1")}


def test_a_student_that_finds_nothing_hard_gets_no_set(caplog):
    made, training = tapir(pool(n_hard=0))
    assert not training and len(made.records) == 30 and "0 of 30 records are hard: no training set" in caplog.text
    made, training = tapir(pool(n_hard=2), min_hard=0.1)
    assert not training


def test_an_answer_that_is_cut_off_stays_out_of_the_set_and_the_record_in_the_pool():
    class Cut(Teacher):
        def reply(self, request):
            return replace(super().reply(request), finish_reason="length")

    balance = Resample(labels=LABELS, shares={"Math": 0.5, "Writing": 0.5})
    step = Tapir(MFD(), balance, Respond(model="teacher"))
    made = step(pool(), {"student": STUDENT, "judge": Judge("judge"), "teacher": Cut("teacher")})
    cut = [record for record in made.records if record.fault]
    assert {record.fault.reason for record in cut if record.fault} == {"answer_truncated"}
    assert {record.origin.operation for record in cut} == {"hard"} and len(made.records) == 40 + 12 + 28


def test_the_order_of_the_records_changes_no_draw():
    first, second = tapir(pool())[1], tapir(pool()[::-1])[1]
    assert {record.id for record in first if record.origin.operation == "base"} == {
        record.id for record in second if record.origin.operation == "base"
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"round": 0}, "round must be ≥ 1, got 0"),
        ({"share": 0}, r"share must be in \(0, 1\] and growth ≥ 0, got 0 and 0.2"),
        ({"size": 0}, "size must be ≥ 1, or null, got 0"),
    ],
)
def test_bad_values_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tapir([], **settings)
