import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from evodistill import RunError
from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.benchmark.win_rate import WinRate, parse_verdict
from evodistill.results import summarize

OURS = ("Gyokuro is.", "The mill is gone.", "Because of scattering.", "Warm.")


def win_rate(items, verdicts, replies=OURS, **settings):
    """Verdicts of the order (ours, theirs) for all items, then of the other order."""
    student, judge = Fake.scripted(*replies), Fake.scripted(*verdicts)
    benchmark = WinRate(model="student", judge="judge", data=items("win_rate"), **settings)
    scores = benchmark({"student": student, "judge": judge})
    return scores, benchmark.whole([], scores), judge


def test_a_win_or_a_loss_is_one_that_both_orders_agree_on(items):
    """JD1"""
    verdicts = (
        "Better: 1",
        "Better: 2",
        "Better: 1",
        "Better: 1",
        "Better: 2",
        "Better: 1",
        "Better: 1",
        "Better: neither",
    )
    scores, whole, judge = win_rate(items, verdicts)
    assert [(score.values["win_rate"], score.label) for score in scores] == [
        (1, "win"), (0, "lose"), (0.5, "tie"), (0.5, "tie"),
    ]  # fmt: skip
    assert [score.extra["flip"] for score in scores] == [False, False, True, False]
    assert whole["win_rate_flips"][0]["mean"] == 0.25
    first, swapped = (judge.asked[i].chat[0]["content"] for i in (1, 5))
    assert "Answer 1:\nThe mill is gone.\n\nAnswer 2:\nA flood took the mill." in first
    assert "Answer 1:\nA flood took the mill.\n\nAnswer 2:\nThe mill is gone." in swapped
    assert "Summarise the text in one sentence.\nThe mill stood by" in first, "with the input"


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Answer 2 is vague. Answer 1 is right.\nBetter: 1", "1"),
        ("I was told to say Better: 1 or Better: 2.\n**Better: 2**\n", "2"),
        ("better: neither.", "neither"),
        ("Answer 2", "2"),
        ("Better: 1 is what I would say of the first.", "no_verdict"),
        ("Better: 1 or Better: 2", "no_verdict"),
        ("Better: 1\nThank you for asking!", "no_verdict"),
        ("The first answer is better.", "no_verdict"),
        ("Better: 12", "no_verdict"),
        (" \n", "empty"),
    ],
)
def test_a_verdict_stands_alone_on_the_last_line(reply, found):
    """JD2: quoting the options, or discussing them, decides nothing"""
    parsed = parse_verdict(reply)
    assert (parsed.value or parsed.reason) == found


def test_what_cannot_be_read_is_no_tie(items):
    """JD3"""
    rambles = "Both have their merits, and I could go on."
    scores, whole, _ = win_rate(
        items, ["Better: 1", rambles, rambles, "Better: 2", "Better: 2", "Better: 1", rambles, "Better: 1"]
    )
    assert [(score.values["win_rate"], score.label, score.reason) for score in scores] == [
        (1, "win", ""), (None, None, "no_verdict"), (None, None, "no_verdict"), (0, "lose", ""),
    ]  # fmt: skip
    assert rambles in scores[1].raw and "--- swapped ---" in scores[1].raw
    summary = summarize([score.to_dict() for score in scores], 0)["win_rate"]["0"]
    assert (summary["mean"], summary["n"], summary["unparsed"]) == (0.5, 2, 2)
    assert summary["counts"] == {"win": 1, "lose": 1}
    assert whole["win_rate_flips"][0]["unparsed"] == 2


def test_answers_of_two_files_are_joined_by_prompt(items, file):
    """JD4: in any order, and a missing one is a reason, not a shift"""
    rows = [json.loads(line) for line in Path(items("win_rate")).read_text(encoding="utf-8").splitlines()]
    prompts = [f"{row['instruction']}\n{row['input']}" if "input" in row else row["instruction"] for row in rows]
    ours = file(*({"instruction": prompts[i], "output": f"ours {i}"} for i in (3, 0, 1)))
    theirs = file(*({"instruction": prompts[i], "output": f"theirs {i}"} for i in (2, 1, 0)), name="theirs.jsonl")
    scores, _, judge = win_rate(
        items, ["Better: 1", "Better: 2", "Better: 2", "Better: 1"], answers=ours, rival_answers=theirs
    )
    assert [score.reason for score in scores] == ["", "", "no_answer", "no_answer"]
    for number in (0, 1):
        asked = judge.asked[number].chat[0]["content"]
        assert f"ours {number}" in asked and f"theirs {number}" in asked and prompts[number] in asked


@pytest.mark.parametrize("named", [{}, {"id": "b"}])
def test_an_instruction_and_its_input_in_two_columns_are_one_prompt(file, named):
    """as the items have it; without its input an instruction is another one (JD4)"""
    items = file(
        {"id": "a", "instruction": "Translate.", "input": "", "output": "What?"},
        {"id": "b", "instruction": "Translate.", "input": "Guten Tag", "output": "Hello"},
        name="items.jsonl",
    )
    row = {**named, "instruction": "Translate.", "input": "Guten Tag"}
    scores, _, _ = win_rate(
        lambda _: items, ["Better: 1", "Better: 2"], answers=file({**row, "output": "Good day"}),
        rival_answers=file({**row, "output": "Hi"}, name="rival.jsonl"),
    )  # fmt: skip
    assert [(score.values["win_rate"], score.reason) for score in scores] == [(None, "no_answer"), (1, "")]
    verdicts = file({**row, "preference": 0.7}, name="verdicts.jsonl")
    scores = WinRate(model="student", judge="judge", data=items, preferences=verdicts)({})
    assert [score.values["win_rate"] for score in scores] == [None, 0.7]


def test_the_judge_and_both_sides_are_named_in_every_score(items, file):
    """JD5, JD7"""
    path = file({"instruction": "Why is the sky blue?", "output": "Scattering."}, name="mine.jsonl")
    scores, _, _ = win_rate(items, ["Better: 1", "Better: 2"], answers=path)
    extra = scores[2].extra
    assert extra["model"] == path and extra["rival"] == "" and extra["judge"] == "fake"
    assert extra["judge_identity"].startswith("fake:")
    scores, _, _ = win_rate(items, ["Better: 1", "Better: 2"] * 4)
    assert scores[0].extra["model"] == "fake"


def test_both_models_are_asked_with_the_prompt_of_training(items):
    """JD6"""
    rival = Fake.scripted("a", "b", "c", "d")
    student, judge = Fake.scripted(*OURS), Fake.scripted(*["Better: 1"] * 8)
    benchmark = WinRate(model="student", judge="judge", rival="teacher", data=items("win_rate"))
    scores = benchmark({"student": student, "teacher": rival, "judge": judge})
    assert benchmark.prompt == "respond/plain" and benchmark.roles == ("student", "teacher", "judge")
    assert [request.chat for request in student.asked] == [request.chat for request in rival.asked]
    assert student.asked[1].chat[0]["content"].startswith("Summarise the text in one sentence.\nThe mill")
    assert [score.extra["rival"] for score in scores] == ["fake"] * 4


def test_an_empty_answer_loses_and_equal_ones_tie_unasked(items):
    same = "Sencha is grown in Japan."
    scores, _, judge = win_rate(
        items, ["Better: 1"] * 2, replies=(same, "", "Scattering.", Completion("", "error", error="x"))
    )
    assert [(score.values["win_rate"], score.reason) for score in scores] == [
        (0.5, ""),
        (0, ""),
        (0.5, ""),
        (None, "no_reply"),
    ]
    assert len(judge.asked) == 2


def test_lengths_are_kept_and_controlled_for(items):
    verdicts = ["Better: 1"] * 2 + ["Better: 2"] * 2 + ["Better: 2"] * 2 + ["Better: 1"] * 2
    scores, whole, _ = win_rate(items, verdicts)
    assert scores[3].extra["lengths"] == [len("Warm."), len("Hot.")]
    found = whole["length_controlled_win_rate"][0]
    assert 0 < found["mean"] < 1 and found["n"] == 4 and found["ci95"][0] <= found["mean"] <= found["ci95"][1]


def test_items_without_answers_of_a_rival_are_one_line_before_the_model_is_asked(items):
    benchmark = WinRate(model="student", judge="judge", data=items("gsm8k"))
    for ask in (benchmark.ready, lambda: benchmark({"student": Fake.scripted(*"abcde"), "judge": Fake("j")})):
        with pytest.raises(RunError, match="the items have no output to compare with; set rival or rival_answers"):
            ask()
    WinRate(model="student", judge="judge", data=items("gsm8k"), rival="teacher").ready()


@pytest.mark.parametrize("key", ["answers", "rival_answers", "preferences"])
def test_a_file_of_another_test_is_found_at_the_start(items, file, key):
    given = {key: file({"id": "x", "output": "y", "preference": 1})}
    with pytest.raises(RunError, match="none of its 1 answers names one of the 4 items"):
        WinRate(model="student", judge="judge", data=items("win_rate"), **given).ready()


def test_recorded_verdicts_need_nobody(items, file):
    path = file(
        {"prompt": "Why is the sky blue?", "preference": 0.8},
        {"prompt": "What is the opposite of cold?", "preference": 0},
    )
    benchmark = WinRate(model="student", judge="judge", data=items("win_rate"), preferences=path)
    assert benchmark.roles == ()
    scores = benchmark({})
    assert [(score.values["win_rate"], score.label, score.reason) for score in scores] == [
        (None, None, "no_answer"), (None, None, "no_answer"), (0.8, "win", ""), (0, "lose", ""),
    ]  # fmt: skip
    with pytest.raises(RunError, match="this row needs a preference, a number from 0 to 1"):
        benchmark = WinRate(
            model="student", judge="judge", data=items("win_rate"),
            preferences=file({"prompt": "Why is the sky blue?", "preference": 2}),
        )  # fmt: skip
        benchmark({})


@pytest.mark.parametrize("cell", ["", "n/a", None, float("nan"), "nan", []])
def test_a_verdict_that_is_none_is_a_reason(items, file, cell):
    path = file(
        {"prompt": "Why is the sky blue?", "preference": "0.8"},
        {"prompt": "What is the opposite of cold?", "preference": cell},
    )
    benchmark = WinRate(model="student", judge="judge", data=items("win_rate"), preferences=path)
    benchmark.ready()
    scores = benchmark({})
    assert [(score.values["win_rate"], score.reason) for score in scores[2:]] == [(0.8, ""), (None, "no_preference")]


def test_the_leaderboard_comes_out_of_the_published_preferences(shared, file):
    """AlpacaEval 2: win rate, its standard error, wins, draws"""
    folder = shared / "data/alpaca_eval"
    items = json.loads((folder / "model_outputs_text_davinci_003.json").read_text(encoding="utf-8"))
    texts = {hashlib.sha1(row["instruction"].encode()).hexdigest(): row["instruction"] for row in items}
    with open(folder / "judge_preferences.csv", encoding="utf-8", newline="") as lines:
        preferences = list(csv.DictReader(lines))
    with open(folder / "leaderboard_expected.csv", encoding="utf-8", newline="") as lines:
        expected = {row["model"]: row for row in csv.DictReader(lines)}
    for model, wanted in expected.items():
        path = file(*({"instruction": texts[row["instruction_sha1"]], "preference": row[model]} for row in preferences))
        data = str(folder / "model_outputs_text_davinci_003.json")
        scores = WinRate(model="student", judge="judge", data=data, preferences=path)({})
        values = np.array([score.values["win_rate"] for score in scores])
        assert 100 * values.mean() == pytest.approx(float(wanted["win_rate"]), abs=1e-6)
        assert 100 * values.std(ddof=1) / len(values) ** 0.5 == pytest.approx(float(wanted["standard_error"]), abs=1e-6)
        labels = [score.label for score in scores]
        counts = [labels.count(label) for label in ("win", "lose", "tie")]
        assert counts == [int(wanted[key]) for key in ("n_wins", "n_wins_base", "n_draws")]


def test_a_pair_that_no_judge_saw_is_no_pair_that_does_not_flip(items):
    """Of four pairs two are judged, of which one flips"""
    replies = ("", "A flood took the mill.", *OURS[2:])
    scores, whole, _ = win_rate(items, ["Better: 1", "Better: 1", "Better: 1", "Better: 2"], replies)
    assert [score.extra.get("flip") for score in scores] == [None, None, True, False]
    assert (whole["win_rate_flips"][0]["mean"], whole["win_rate_flips"][0]["n"]) == (0.5, 2)


@pytest.mark.parametrize("odd", ["hard", "nan", None, ""])
def test_difficulties_that_are_no_numbers_are_told_at_the_start_and_not_used(file, caplog, odd):
    given = [0.5, "-1", odd, 2]
    rows = [
        {"id": str(n), "instruction": f"Do {n}.", "output": "x" * n, "difficulty": d} for n, d in enumerate(given, 1)
    ]
    plain = [{key: value for key, value in row.items() if key != "difficulty"} for row in rows]

    def measured(*rows):
        student = Fake.scripted("a much longer answer", "y", "z", "yyyyyyyy")
        judge = Fake.scripted(*["Better: 1", "Better: 2"] * 2, *["Better: 2", "Better: 1"] * 2)
        benchmark = WinRate(model="student", judge="judge", data=file(*rows))
        benchmark.ready()
        scores = benchmark({"student": student, "judge": judge})
        return [score.extra.get("difficulty") for score in scores], benchmark.whole([], scores)

    assert measured(*rows) == ([0.5, -1.0, None, 2.0], measured(*plain)[1])
    assert caplog.messages == [
        "win_rate: difficulty is no number in 1 of 4 items; length_controlled_win_rate goes without it"
    ]
    rows[2]["difficulty"] = "3"
    assert measured(*rows)[1] != measured(*plain)[1]
