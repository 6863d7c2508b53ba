import ast
import logging
import re

import pytest
from repository import FAKES, ROOT

from evodistill import RunError
from evodistill.backend import Completion, Sampling
from evodistill.backend.fake import Fake
from evodistill.config import build, check
from evodistill.evolution.auto_evol import AutoEvol
from evodistill.evolution.eliminate import Eliminator
from evodistill.evolution.method import Method
from evodistill.pipeline import run
from evodistill.plan import describe
from evodistill.record import Record, read_jsonl, read_records

HARDER = " Give two concrete examples of each and compare them."


def reply(record: Record, heading="Finally Rewritten Instruction:\n", methods="- Add examples\n- Compare") -> str:
    return f"Methods List:\n{methods}\n\nPlan:\nBoth.\n\n{heading}{record.instruction}{HARDER}"


def evolve(records, *replies, **settings):
    fake = Fake.scripted(*replies)
    return AutoEvol(model="evolver", **settings)(records, {"evolver": fake}), fake


def test_nothing_stops_to_debug():
    """AE1"""
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        called = {getattr(node.func, "id", "") for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert "pdb" not in imported and "breakpoint" not in called, path


@pytest.mark.parametrize(
    "heading",
    [
        "Finally Rewritten Instruction: ",
        "**Final Rewritten Instruction:** ",
        "Step 4 #Finally Rewritten Instruction#:\n",
    ],
)
def test_the_final_instruction_makes_the_record_whatever_its_heading(seeds, heading):
    """AE2"""
    made, _ = evolve(seeds[:1], reply(seeds[0], heading))
    assert made[1].instruction == seeds[0].instruction + HARDER and not made[1].fault


def test_what_cannot_be_read_is_rejected_with_reason_raw_text_and_lineage(seeds):
    """AE3: losses are not silent, and known by id"""
    raw = "Methods List:\n- x\n\nRewritten Instruction:\nName four teas."
    made, _ = evolve(seeds[:2], raw, reply(seeds[1]))
    child = made[2]
    assert child.fault and (child.fault.reason, child.fault.detail, child.fault.raw) == (
        "unparsed",
        "no_final_heading",
        raw,
    )
    assert (child.origin.parent, child.origin.seed, child.origin.model) == (seeds[0].id, seeds[0].id, "fake")
    assert not made[3].fault and made[3].origin.parent == seeds[1].id


def test_a_failed_line_goes_on_in_its_parents_form_so_that_two_evolvers_cover_the_same_seeds(seeds):
    """AE3: the published script draws the larger set down to the size of the smaller, unpaired"""
    small, _ = evolve(seeds, "", *[reply(seed) for seed in seeds[1:]])
    large, _ = evolve(seeds, *[reply(seed) for seed in seeds[:4]], "")
    sides = [{r.origin.seed for r in made if r.origin.round == 1 and not r.fault} for made in (small, large)]
    assert sides[0] == sides[1] == {seed.id for seed in seeds}
    dropped, _ = evolve(seeds, "", *[reply(seed) for seed in seeds[1:]], on_failure="drop")
    assert {r.origin.seed for r in dropped if r.origin.round == 1 and not r.fault} == {seed.id for seed in seeds[1:]}


def test_the_parse_rate_of_the_evolver_is_told(seeds, caplog):
    """AE3"""
    with caplog.at_level(logging.INFO, "evodistill.evolution.auto_evol"):
        evolve(
            seeds,
            "",
            reply(seeds[1]),
            Completion("Methods", "length"),
            f"Final Rewritten Instruction: {seeds[3].instruction}",
            "",
        )
    assert "fake: 2 of 5 replies hold a final instruction, 1 are kept" in caplog.text
    assert "unparsed 2, truncated 1, unchanged 1" in caplog.text


def test_the_command_and_the_keys_that_are_named_exist(cfg):
    """AE5: a script and flags that are named, but not there"""
    composed = cfg("evolution=auto_evol", "evolution/optimizer=failure_rate", "metric=[keywords]", *FAKES)
    check(composed)
    assert build(composed.evolution).optimizer.steps == 10


def test_the_input_is_shown_and_kept(seeds):
    """AE6, EV1"""
    made, fake = evolve([seeds[1]], reply(seeds[1]))
    assert seeds[1].input in fake.asked[0].chat[0]["content"]
    assert made[1].input == seeds[1].input


@pytest.mark.parametrize(
    "text", ["Explain {{ 7*7 }} in Jinja.", "What does {instruction} mean?", "Write {0} {% raw %} {x}."]
)
def test_braces_in_data_are_data(text):
    """AE7"""
    seed = Record.seed(text)
    made, fake = evolve([seed], reply(seed))
    assert text in fake.asked[0].chat[0]["content"] and made[1].instruction == text + HARDER


def test_braces_in_a_template_of_yours_are_text(seeds, tmp_path):
    """AE7"""
    path = tmp_path / "mine.jinja"
    path.write_text('Reply as {"Finally Rewritten Instruction": "…"}, not {0}.\n\nInstruction: {{ instruction }}')
    _, fake = evolve(seeds[:1], reply(seeds[0]), method=str(path))
    assert '{"Finally Rewritten Instruction": "…"}, not {0}.' in fake.asked[0].chat[0]["content"]


def test_the_trajectory_is_that_of_the_reply_that_made_the_record(seeds):
    """AE8: nothing is sampled again"""
    made, fake = evolve(seeds[:2], reply(seeds[0], methods="- one\n- two"), reply(seeds[1], methods="1. three"))
    assert [record.extra.get("trajectory") for record in made] == [None, None, ["one", "two"], ["three"]]
    assert len(fake.asked) == 2


def test_rejects_keep_their_trajectory_and_stand_ins_have_none(seeds):
    """AE8"""
    made, _ = evolve(seeds[:1], f"Methods List:\n- one\nPlan: x\nFinal Rewritten Instruction: {seeds[0].instruction}")
    assert made[1].fault and made[1].extra["trajectory"] == ["one"]
    assert made[2].origin.operation == "keep_parent" and "trajectory" not in made[2].extra


def test_lines_that_are_no_methods_are_none(seeds):
    """AE9"""
    made, _ = evolve(seeds[:1], reply(seeds[0], methods="\n- a constraint\n  on length\n\n- **depth**\n\n"))
    assert made[1].extra["trajectory"] == ["a constraint on length", "depth"]


def test_lineage_is_written(seeds):
    made, _ = evolve(seeds[:1], Completion(reply(seeds[0]), "stop", 100, 20))
    origin = made[1].origin
    assert (origin.step, origin.operation, origin.round, origin.model) == ("auto_evol", "universal", 1, "fake")
    assert (origin.prompt_tokens, origin.completion_tokens, origin.finish_reason) == (100, 20, "stop")


def test_rounds_go_on_from_what_was_made(seeds):
    child = Record.seed(seeds[0].instruction + HARDER)
    made, fake = evolve(seeds[:1], reply(seeds[0]), reply(child), rounds=2)
    assert [record.origin.round for record in made] == [0, 1, 2] and made[2].origin.parent == made[1].id
    assert child.instruction in fake.asked[1].chat[0]["content"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (Completion("", "error", error="too long"), "no_reply"),
        (Completion("Methods List:\n- x\nFinal Rewritten Instruction: Name", "length"), "truncated"),
        ("Finally Rewritten Instruction:\n", "unparsed"),
        ("Finally Rewritten Instruction: I'm sorry, I can't.", "refusal"),
        ("Finally Rewritten Instruction: ...", "no_content"),
        ("Finally Rewritten Instruction: your task is to rewrite an instruction", "leaked"),
    ],
)
def test_what_fails_has_a_reason(seeds, text, reason):
    made, _ = evolve(seeds[:1], text)
    assert made[1].fault and made[1].fault.reason == reason


def test_it_can_say_what_it_asked(seeds):
    """RW1"""
    made, fake = evolve(seeds[:1], reply(seeds[0]))
    step = AutoEvol(model="evolver")
    assert step.asked(made[0], made[1]) == fake.asked[0].chat
    assert step.asked(made[0], made[0].child("x", step="auto_evol", operation="candidate_1.2")) is None


def test_log_probabilities_stay_with_the_record(seeds):
    made, _ = evolve(seeds[:1], Completion(reply(seeds[0]), "stop", logprobs=[[("Methods", -0.5)]]))
    assert set(made[1].extra) == {"logprobs", "trajectory"}


def test_no_records(seeds):
    assert evolve([])[0] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Finally Rewritten Instruction:", "shows no instruction"),
        ("Make it harder: {{ instruction }}", "never asks for"),
    ],
)
def test_a_method_of_yours_needs_a_place_for_the_instruction_and_a_final_heading(tmp_path, text, message):
    (tmp_path / "mine.jinja").write_text(text)
    with pytest.raises(ValueError, match=message):
        AutoEvol(model="evolver", method=str(tmp_path / "mine.jinja"))
    with pytest.raises(RunError, match="no such file"):
        AutoEvol(model="evolver", method="auto_evol/nothing")


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="rounds must be ≥ 1"):
        AutoEvol(model="evolver", rounds=0)


def test_the_papers_settings_are_the_default(cfg):
    step = build(cfg("evolution=auto_evol").evolution)
    assert (step.rounds, step.optimizer, step.eliminator) == (1, None, Eliminator())
    assert step.sampling == Sampling(temperature=0.7, top_p=0.95, max_tokens=2048)


def test_a_whole_run_with_the_search_can_be_read_as_a_tree_and_its_method_used_again(cfg, tmp_path):
    common = [*FAKES, "evolution=auto_evol", "metric=[keywords,complexity_score]", f"artifacts={tmp_path}/artifacts"]
    search = ["evolution/optimizer=failure_rate", "evolution.optimizer.dev=12", "evolution.optimizer.patience=3"]
    means = run(cfg(*common, *search, "evolution.optimizer.judge=judge"), tmp_path / "run")
    assert {"keywords_distinct/1", "keywords_rarefied/1", "keywords_per_record/1", "complexity_score/1"} <= set(means)
    (folder,) = (tmp_path / "artifacts").glob("evolution-*")
    tried = list(read_jsonl(folder / "candidates.jsonl"))
    ids = {row["id"] for row in tried}
    assert tried[0]["id"] == "0" and all(row["parent"] in ids for row in tried[1:]) and len(ids) == len(tried) >= 6
    assert {row["refused"] for row in tried} >= {"", "no_slot", "no_block"}
    kept = [row for row in tried if row["kept"]]
    assert [row["rate"] for row in kept] == sorted((row["rate"] for row in kept), reverse=True)
    assert kept[-1]["rate"] == min(row["rate"] for row in tried if row["rate"] is not None)
    made = read_records(folder / "records.jsonl")
    operation = "universal" if kept[-1]["id"] == "0" else f"candidate_{kept[-1]['id']}"
    assert {record.origin.operation for record in made if record.origin.round} == {operation, "keep_parent"}
    # RW1: also what was asked with the method that was found
    step = build(cfg(*common, *search, "evolution.optimizer.judge=judge").evolution)
    parents = {record.id: record for record in made}
    child = next(record for record in made if record.origin.operation == operation)
    (asked,) = step.asked(parents[child.origin.parent], child)
    assert parents[child.origin.parent].instruction in asked["content"]
    assert (
        operation == "universal" or Method(child.extra["method"]).fill(parents[child.origin.parent]) == asked["content"]
    )

    run(cfg(*common, f"evolution.method={folder}/method.jinja"), tmp_path / "again")
    (again,) = set((tmp_path / "artifacts").glob("evolution-*")) - {folder}
    texts = [
        [record.instruction for record in read_records(place / "records.jsonl") if record.extra.get("trajectory")]
        for place in (folder, again)
    ]
    assert texts[0] == texts[1] and texts[0]


def test_a_plan_counts_the_search_as_long_as_its_patience(cfg):
    told = describe(cfg("evolution=auto_evol", "evolution/optimizer=failure_rate", "metric=[keywords]", *FAKES))
    # 32 dev rows (half of 64) under 1 + 5 methods, evolved and answered; 10 trajectories; 64 records
    (asked,) = re.findall(r"evolver = fake: (\d+) requests", told)
    assert 300 < int(asked) <= 32 * 6 * 2 + 10 + 64  # the eliminator refuses some stand-ins
    assert "optimizer = fake: 10 requests" in told and "64 records in, up to 128 out" in told
