from collections import Counter

import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.label import Label
from evodistill.distill.refine import Refine
from evodistill.evolution.eliminate import Eliminator
from evodistill.record import Record

MORE = " Write for beginners, in a list of five points with an example each."
LABELS = Label({"Math": "a problem to calculate", "Writing": "a letter or a story"})


def refine(records, *replies, judge=(), **settings):
    writer, judged = Fake.scripted(*replies), Fake.scripted(*judge)
    step = Refine(**{"model": "evolver", "eliminator": Eliminator(min_length_ratio=0.8)} | settings)
    return step(records, {"evolver": writer, "judge": judged}), writer, judged


def reasons(made) -> list[str]:
    return [record.fault.reason if record.fault else "" for record in made]


def test_the_original_stands_beside_its_refinement(seeds):
    made, _, _ = refine(seeds[:1], seeds[0].instruction + MORE)
    original, refined = made
    assert original.id == seeds[0].id and reasons(made) == ["refined", ""]
    assert refined.instruction == seeds[0].instruction + MORE and refined.origin.parent == seeds[0].id
    assert refined.extra["original"] == {"instruction": seeds[0].instruction, "input": ""}
    assert (refined.origin.round, refined.origin.operation) == (1, "refine")


def test_originals_can_go_on_too(seeds):
    assert reasons(refine(seeds[:1], seeds[0].instruction + MORE, keep_original=True)[0]) == ["", ""]


def test_where_a_rewrite_fails_the_original_stands_in(seeds):
    """One record a line, however often the writer fails; L6: what failed is kept with its reason"""
    cut, lost = Completion("Cut", "length", 3, 1), Completion("", "error", error="context")
    made, _, _ = refine(seeds, "I'm sorry, I can't.", cut, seeds[2].instruction, "Sum.", lost)
    assert Counter(reasons(made)) == {
        "refined": 5, "refusal": 1, "truncated": 1, "unchanged": 1, "length_ratio": 1, "no_reply": 1, "": 5,
    }  # fmt: skip
    usable = [record for record in made if not record.fault]
    assert [record.instruction for record in usable] == [seed.instruction for seed in seeds]
    assert {record.origin.operation for record in usable} == {"keep_parent"} and {r.origin.round for r in usable} == {1}


def test_what_a_record_brought_along_stays_and_its_answer_does_not(seeds):
    record = Record.seed("Name a tea.", "", "Sencha.", topic="tea", reasoning="Hm.")
    made, _, _ = refine([record], "Name a tea and say how it is made, in three sentences for a beginner.")
    assert made[1].extra["topic"] == "tea" and "reasoning" not in made[1].extra and made[1].output == ""


def test_the_input_stays_unless_the_rewrite_took_it_in(seeds):
    keeps, _, _ = refine([seeds[1]], seeds[1].instruction + " Use at most twenty words and the past tense, please.")
    assert keeps[1].input == seeds[1].input
    takes, _, _ = refine([seeds[1]], f"Summarise in one sentence of at most twenty words: {seeds[1].input}")
    assert not takes[1].fault and takes[1].input == ""


def test_a_rewrite_of_another_task_class_is_rejected(seeds):
    replies = [seed.instruction + MORE for seed in seeds[:3]]
    made, _, judge = refine(seeds[:3], *replies, judge=["Math", "Math", "?", "Math", "Writing", "Math"], labels=LABELS)
    assert reasons(made) == ["refined"] * 3 + ["", "changed_task", "", ""]
    changed = made[4].fault
    assert changed and changed.detail == "Math to Writing" and len(judge.asked) == 6


def test_a_class_that_cannot_be_told_rejects_nothing_and_is_not_inherited(seeds):
    made, _, _ = refine(seeds[:1], seeds[0].instruction + MORE, judge=["Math", "Hm"], labels=LABELS)
    assert not made[1].fault and "category" not in made[1].extra


@pytest.mark.parametrize("text", ["用一句话介绍北京。", "اكتب رسالة قصيرة", "🍵 {name}?"])
def test_any_script(text):
    longer = text + "\n" + text[::-1] + " 🎲"
    made, writer, _ = refine(
        [Record.seed(text)], f"改写后的指令：{longer}", language="zh", eliminator=Eliminator(language=False)
    )
    assert made[1].instruction == longer and f"指令：{text}\n" in writer.asked[0].chat[0]["content"]


def test_no_records_and_faults_pass_through(seeds):
    assert refine([])[0] == []
    bad = seeds[0].reject("empty")
    assert refine([bad])[0] == [bad]
