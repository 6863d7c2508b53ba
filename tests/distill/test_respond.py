from dataclasses import replace

import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.respond import Respond


def respond(records, *replies, **settings):
    teacher = Fake.scripted(*replies)
    return Respond(model="teacher", **settings)(records, {"teacher": teacher}), teacher


def test_each_open_record_is_answered_and_keeps_its_id(seeds):
    done, _ = respond(seeds, *(f" Answer {number}.\n" for number in range(5)))
    assert [record.output for record in done] == [f"Answer {number}." for number in range(5)]
    assert [record.id for record in done] == [seed.id for seed in seeds]


def test_answers_that_are_there_are_not_overwritten(seeds):
    """RG1"""
    given = replace(seeds[0], output="mine")
    done, teacher = respond([given, seeds[1]], "new")
    assert [record.output for record in done] == ["mine", "new"] and len(teacher.asked) == 1
    assert respond([given], "new", overwrite=True)[0][0].output == "new"


def test_every_record_is_answered_not_the_first_ten(seeds):
    """RG1"""
    many = [seeds[0].child(f"Name {number} teas.") for number in range(25)]
    assert all(record.output for record in respond(many, *["x"] * 25)[0])


def test_a_truncated_answer_is_no_training_target(seeds):
    """RG2"""
    done, _ = respond(seeds[:1], Completion("This answer is cut", "length", 9, 4))
    assert done[0].fault and (done[0].fault.reason, done[0].fault.raw) == ("answer_truncated", "This answer is cut")


def test_an_error_is_a_reason_not_an_answer(seeds):
    """RG3"""
    done, _ = respond(seeds[:2], Completion("", "error", error="context"), "  ")
    assert [record.fault.reason for record in done if record.fault] == ["no_reply", "answer_empty"]


def test_the_prompt_is_what_the_student_reads(seeds):
    """RG4"""
    _, teacher = respond(seeds, *["x"] * 5)
    assert [request.chat for request in teacher.asked] == [[{"role": "user", "content": seed.prompt}] for seed in seeds]


def test_the_answers_origin_is_kept(seeds):
    """RG5: one chat turn, and who answered how"""
    done, _ = respond(seeds[:1], Completion("Yes.", "stop", 12, 2))
    assert done[0].extra["answer"] == {
        "model": "fake",
        "finish_reason": "stop",
        "prompt_tokens": 12,
        "completion_tokens": 2,
    }


def test_rejected_records_pass_through(seeds):
    bad = seeds[0].reject("empty")
    assert respond([bad])[0] == [bad]


def test_a_task_class_may_have_a_prompt_of_its_own(seeds):
    """Step by step for maths, comments for code (DistilQwen2, TAPIR)"""
    maths, other = replace(seeds[3], extra={"category": "Math"}), replace(seeds[0], extra={"category": "Writing"})
    tasks = {"Math": "respond/steps", "Code Generation": "respond/code"}
    _, teacher = respond([maths, other, seeds[2]], *["x"] * 3, tasks=tasks)
    asked = [request.chat[0]["content"] for request in teacher.asked]
    assert "step by step" in asked[0] and asked[0].endswith(maths.prompt)
    assert asked[1:] == [other.prompt, seeds[2].prompt]
    assert set(Respond(model="teacher", tasks=tasks).prompts) == {"respond/plain", "respond/steps", "respond/code"}


def test_how_many_records_each_task_has_is_said(seeds, caplog):
    """A misspelt class answers nothing"""
    caplog.set_level("INFO")
    maths = [replace(record, extra={"category": "Math"}) for record in seeds[:2]]
    respond([*maths, seeds[2]], *["x"] * 3, tasks={"Math": "respond/steps", "Maths": "respond/steps"})
    assert "answers by task: Math 2, Maths 0" in caplog.text


def test_reasoning_is_kept_apart_from_the_answer(seeds):
    """C9: nor is it dropped"""
    replies = ["<think>Hm.\n\nSo 391.</think>391", "Sencha, hojicha and oolong."]
    done, _ = respond(seeds[:2], *replies, reasoning="apart")
    assert [(record.output, record.extra.get("reasoning")) for record in done] == [
        ("391", "Hm.\n\nSo 391."),
        ("Sencha, hojicha and oolong.", None),
    ]
    assert respond(seeds[:1], replies[0])[0][0].output == replies[0], "as it stands unless told otherwise"


def test_reasoning_may_be_required(seeds):
    replies = ["<think>Hm.</think>391", "391", "<think>Hm.", Completion("<think>Hm", "length", 9, 9)]
    done, _ = respond(seeds[:4], *replies, reasoning="required")
    assert [record.fault.reason if record.fault else "" for record in done] == [
        "",
        "no_reasoning",
        "reasoning_not_closed",
        "answer_truncated",
    ]


def test_a_way_of_treating_reasoning_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="reasoning must be one of inline, apart, required, got 'drop'"):
        Respond(model="teacher", reasoning="drop")
