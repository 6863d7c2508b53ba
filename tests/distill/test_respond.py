from dataclasses import replace

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
