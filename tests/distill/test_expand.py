from collections import Counter

import pytest

from evodistill.backend import Completion
from evodistill.backend.fake import Fake
from evodistill.distill.anchored import Item, parse_items
from evodistill.distill.expand import Expand
from evodistill.distill.label import Label
from evodistill.evolution.eliminate import Eliminator
from evodistill.record import Record

LOOSE = Eliminator(language=False, min_length_ratio=0.1, max_length_ratio=5, length_slack=60)
CLASSES = {"Math": "a problem to calculate", "Writing": "a letter or a story"}
NEW = [
    "Describe how a glacier carves a valley.",
    "Calculate the area of a circle of radius three.",
    "Write a postcard from a rainy island.",
    "List four uses of old newspapers.",
    "Compare a violin with a viola in two sentences.",
]


def expand(records, *replies, judge=(), **settings):
    writer, judged = Fake.scripted(*replies), Fake.scripted(*judge)
    step = Expand(**{"model": "evolver", "eliminator": LOOSE} | settings)
    return step(records, {"evolver": writer, "judge": judged}), writer


def asked(writer) -> list[str]:
    return [request.chat[0]["content"] for request in writer.asked]


def faults(made) -> Counter:
    return Counter(record.fault.reason for record in made if record.fault)


def test_one_new_instruction_for_each_given_and_all_come_back(seeds):
    made, writer = expand(seeds, *NEW)
    assert made[:5] == seeds and [record.instruction for record in made[5:]] == NEW
    assert {record.origin.round for record in made[5:]} == {1} and len(writer.asked) == 5
    assert {record.origin.seed for record in made[5:]} == {seed.id for seed in seeds}


def test_each_has_three_demonstrations_drawn_for_it(seeds):
    made, writer = expand(seeds, *NEW)
    for record, text in zip(made[5:], asked(writer), strict=True):
        shown = record.extra["demonstrations"]
        assert len(set(shown)) == 3 and shown[0] == record.origin.parent
        assert all(seed.prompt in text for seed in seeds if seed.id in shown)
    assert len({tuple(record.extra["demonstrations"]) for record in made[5:]}) == 5


def test_the_draw_depends_on_seed_and_ids_alone(seeds):
    def drawn(records, **settings):
        return {tuple(r.extra["demonstrations"]) for r in expand(records, *NEW, **settings)[0][5:]}

    assert drawn(seeds) == drawn(seeds[::-1]) != drawn(seeds, seed=1)


def test_size_is_the_number_asked_for_in_all(seeds):
    assert len(expand(seeds, *NEW[:2], size=2)[0]) == 7
    made, _ = expand(seeds[:2], *NEW, size=5)
    assert sorted(Counter(record.origin.parent for record in made[2:]).values()) == [2, 3]


def test_fewer_records_than_demonstrations_and_none(seeds):
    made, writer = expand(seeds[:1], NEW[0])
    assert made[1].extra["demonstrations"] == [seeds[0].id] and "Example 2" not in asked(writer)[0]
    assert expand([])[0] == [] and expand([seeds[0].reject("empty")])[0] == [seeds[0].reject("empty")]


def test_near_duplicates_of_seeds_and_of_each_other_are_rejected(seeds):
    """L3: exact, ROUGE-L 0.7"""
    replies = [seeds[0].instruction, "Name three kinds of tea and tell of their taste.", NEW[0], NEW[0], NEW[1]]
    made, _ = expand(seeds, *replies, eliminator=Eliminator(language=False, max_similarity=1, min_length_ratio=0))
    assert faults(made)["near_duplicate"] + faults(made)["unchanged"] == 3
    assert len({record.id for record in made}) == len(made)


def test_what_is_no_instruction_is_rejected_with_the_raw_reply(seeds):
    """C9: a truncated reply is no instruction; 2.0: a missing tag lets preambles and refusals in"""
    replies = [
        Completion("Describe how a", "length", 9, 4),
        Completion("", "error", error="context"),
        "I'm sorry, but I cannot help with that.",
        "   ",
        "Sure! Here is a new instruction: Describe how a glacier carves a valley.",
    ]
    made, _ = expand(seeds, *replies)
    assert faults(made) == {"truncated": 1, "no_reply": 1, "refusal": 1, "empty": 1}
    assert made[-1].instruction == NEW[0]
    assert next(r.fault.raw for r in made if r.fault and r.fault.reason == "refusal").startswith("I'm sorry")


@pytest.mark.parametrize(
    "reply", [f"<answer>\n{NEW[0]}\n</answer>", f"{NEW[0]}\n\nExample 5: {NEW[1]}", f"**New instruction:** {NEW[0]}"]
)
def test_only_the_new_instruction_is_taken(seeds, reply):
    assert expand(seeds[:1], reply)[0][1].instruction == NEW[0]


def test_chinese_prompts_and_replies():
    seeds = [Record.seed("写一首关于秋天的诗。"), Record.seed("解释为什么天空是蓝色的。", index=1)]
    made, writer = expand(
        seeds, "新指令：列出三种泡茶的方法。", "好的，以下是新的指令：比较火车与飞机的优缺点。", language="zh"
    )
    assert "示例 1：" in asked(writer)[0]
    assert [record.instruction for record in made[2:]] == ["列出三种泡茶的方法。", "比较火车与飞机的优缺点。"]
    assert not faults(made)


@pytest.mark.parametrize(
    "text", ["اكتب رسالة قصيرة إلى {name}", "एक कविता लिखिए {{ x }}", "🍵🫖 {% if %}", "costs $5 and $HOME"]
)
def test_any_script_braces_and_dollars_come_through(text):
    """C7"""
    loose = Eliminator(language=False, max_length_ratio=9)
    made, writer = expand([Record.seed(text)], text + " 🎲 " + text[::-1], eliminator=loose)
    assert text in asked(writer)[0] and text in made[1].instruction


def test_with_classes_demonstrations_share_one_and_the_new_one_must_be_of_it():
    seeds = [Record.seed(f"What is {n} times {n + 3}?", index=n, category="Math") for n in range(4)]
    seeds += [Record.seed(f"Write a letter to number {n}.", index=n, category="Writing") for n in range(2)]
    judge = ["Math", "Writing", "Math"] * 2
    made, writer = expand(seeds, *NEW, "Tell a joke about fog.", judge=judge, labels=Label(CLASSES))
    for record, text in zip(made[6:], asked(writer), strict=True):
        classes = {seed.extra["category"] for seed in seeds if seed.id in record.extra["demonstrations"]}
        assert len(classes) == 1 and f'of the type "{classes.pop()}"' in text
    for record in made[6:]:
        parent = next(seed for seed in seeds if seed.id == record.origin.parent)
        wrong = record.extra["category"] != parent.extra["category"]
        assert (record.fault.reason if record.fault else "") == ("other_task" if wrong else "")
    assert 0 < faults(made)["other_task"] < 6


ITEMS = "Topic: fog\nInstruction: Explain how fog forms.\n\n**Topic: bees**\n**Instruction:** Compare bees with wasps."


def test_anchored_takes_every_item_with_its_topic_and_lineage(seeds):
    made, _ = expand(seeds[:1], ITEMS, mode="anchored", rounds=1, n=2)
    assert [(r.instruction, r.extra["topic"]) for r in made[1:]] == [
        ("Explain how fog forms.", "fog"),
        ("Compare bees with wasps.", "bees"),
    ]
    assert {(r.origin.parent, r.origin.seed, r.origin.round, r.origin.operation) for r in made[1:]} == {
        (seeds[0].id, seeds[0].id, 1, "anchored")
    }


def test_topics_seen_are_fed_back_and_not_taken_twice(seeds):
    second = "Topic: Fog.\nInstruction: Draw a map of foggy places.\nTopic: ice\nInstruction: Explain why ice floats."
    made, writer = expand(seeds[:1], ITEMS, second, mode="anchored", rounds=2, n=2)
    assert "taken, choose others: fog; bees" in asked(writer)[1] and "taken" not in asked(writer)[0]
    assert [record.fault.reason if record.fault else "" for record in made[1:]] == ["", "", "topic_seen", ""]
    assert [record.origin.round for record in made[1:]] == [1, 1, 2, 2]


def test_a_reply_without_items_is_asked_for_again_with_another_seed(seeds):
    made, writer = expand(seeds[:2], "Hm.", ITEMS, "Hm.", "Hm, hm.", mode="anchored", rounds=1, retries=2)
    first = [request for request in writer.asked if seeds[0].prompt in request.chat[0]["content"]]
    assert len(writer.asked) == 4 and len({request.seed for request in first}) == 3
    assert faults(made) == {"no_item": 3} and sum(not record.fault for record in made) == 4
    assert len({record.id for record in made}) == len(made)


def test_the_last_item_of_a_reply_that_was_cut_is_not_taken(seeds):
    """C9"""
    made, _ = expand(seeds[:1], Completion(ITEMS, "length", 50, 30), mode="anchored", rounds=1)
    assert [record.fault.reason if record.fault else "" for record in made[1:]] == ["", "truncated"]
    assert [record.origin.completion_tokens for record in made[1:]] == [30, 0]


def test_items_in_numbers_bullets_and_chinese():
    assert parse_items("1. Topic: a\n   Instruction: Do a.\n2) Topic: b\n   Instruction: Do b\n   and c.") == [
        Item("a", "Do a."),
        Item("b", "Do b\n   and c."),
    ]
    assert parse_items("主题：雾\n指令：解释雾。\n主题：冰\n指令：画冰。") == [
        Item("雾", "解释雾。"),
        Item("冰", "画冰。"),
    ]
    assert parse_items("Topic: alone") == parse_items("") == parse_items("Instruction: alone") == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "wild"}, "mode must be mixed or anchored, got 'wild'"),
        ({"demonstrations": 0}, "demonstrations must be ≥ 1, got 0"),
        ({"size": 0}, "size must be ≥ 1, or null for one for each record, got 0"),
        ({"language": "xx"}, "language must be en or zh"),
    ],
)
def test_bad_values_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Expand(**{"model": "evolver"} | settings)
