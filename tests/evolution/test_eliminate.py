import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodistill.evolution.eliminate import Eliminator, Pool

PARENT = "Name three kinds of tea and describe their taste."
GOOD = "Name three kinds of tea, describe their taste, and explain how the place where each one grows shapes it."
CODE = "Fix this function:\n```python\ndef add(a, b):\n    return a - b\n```"
TABLE = "Which city is larger?\n| city | people |\n|---|---|\n| A | 3 |\n| B | 5 |"


@pytest.mark.parametrize(
    ("child", "code"),
    [
        (GOOD, ""),
        ("", "empty"),
        (" \n", "empty"),
        ("?!...", "no_content"),
        ("the and of it", "no_content"),
        ("#Rewritten Prompt# Name four kinds of tea.", "leaked"),
        ("Rewrite the given prompt so that it names four kinds of tea.", "leaked"),
        (PARENT, "unchanged"),
        (PARENT.upper() + "!", "unchanged"),
        ("I'm sorry, but I can't help with tea.", "refusal"),
        ("As an AI, I have no taste.", "refusal"),
        ("The answer is green tea, black tea and white tea.", "answer"),
        ("Green tea tastes fresh and grassy. Black tea tastes strong and malty. White tea tastes mild.", "answer"),
        ("#### 42", "answer"),
        ("Name a tea.", "length_ratio"),
        (" ".join(["Name three kinds of tea and describe"] * 30), "length_ratio"),
        ("Nenne drei Sorten Tee und beschreibe, wie sie schmecken und woher sie kommen.", "changed_language"),
    ],
)
def test_each_failure_has_its_reason(child, code):
    """EV2; WizardLM's rules 2 to 4 and ours"""
    assert Eliminator().reason(PARENT, child)[0] == code


@pytest.mark.parametrize(
    "child",
    [
        "The role of tea in a day is to wake people up, which it does by its taste.",
        "The goal is to describe the taste of tea to a person who cannot taste it.",
        "The shop is open on Mondays. You can return your tea through the slot beside the door.",
        "- Green tea\n- Black tea\n- White tea",
        "I will describe three kinds of tea for you.",
    ],
)
def test_what_asks_for_nothing_is_an_answer(child):
    assert Eliminator().reason(PARENT, child)[0] == "answer"


@pytest.mark.parametrize(
    "child",
    [
        "Given that tea grows in many places, name three kinds and describe how their taste differs.",
        "I want you to name three kinds of tea and to say how each of them tastes to you.",
        "Which three kinds of tea taste best, and why do people disagree about it?",
        "Could you name three kinds of tea, and say how each of them should be made?",
    ],
)
def test_requests_in_other_forms_are_no_answers(child):
    assert Eliminator().reason(PARENT, child)[0] == ""


def test_words_copied_from_the_evolution_prompt_are_a_leak():
    """WizardLM's fourth rule, for any prompt: the prompt itself says which words"""
    asked = "Rewrite it: add one more requirement that the answer has to meet. Keep every fact."
    child = "Name three kinds of tea and add a requirement that the answer has to meet."
    assert Eliminator().reason(PARENT, child, prompt=asked)[0] == "leaked"
    assert Eliminator().reason(child, child + " Write it as a table.", prompt=asked)[0] == "", "the parent had them"


def test_near_duplicates_of_the_parent_are_found():
    parent = GOOD + " Write for a reader who knows nothing of tea, and keep to simple words."
    assert Eliminator().reason(parent, parent.replace("simple", "plain"))[0] == "near_duplicate_parent"


@pytest.mark.parametrize(
    ("parent", "child", "reason"),
    [
        ("Summarise the text in one sentence.", "Summarize the text in one sentence!", "near_duplicate_parent"),
        ("Name the colour of each text.", "Name the color of each texts.", "near_duplicate_parent"),
        ("What is 17 times 23?", "What is 17 times 24?", ""),
        ("List three possible orders.", "List three impossible orders.", ""),
        ("Name three teas.", "Name three green teas.", ""),
        ("Name a short poem.", "Name a long poem.", ""),
        ("写一首诗", "写一首歌", ""),
    ],
)
def test_a_word_spelled_otherwise_is_no_rewrite(parent, child, reason):
    assert Eliminator().reason(parent, child)[0] == reason


def test_code_and_tables_of_the_parent_must_stay():
    assert (
        Eliminator().reason(CODE, "Fix the function that should add two numbers and explain what was wrong with it.")[0]
        == "lost_code"
    )
    assert Eliminator().reason(CODE, CODE.replace("Fix", "Explain and fix") + "\nAdd a test.")[0] == ""
    assert (
        Eliminator().reason(TABLE, "Which of the two cities is larger, and by how many people is it larger?")[0]
        == "lost_table"
    )
    assert (
        Eliminator().reason(CODE, "Write a function that multiplies two numbers and say what it costs.", breadth=True)[
            0
        ]
        == ""
    )


def test_a_reply_like_the_known_answer_is_an_answer():
    answer = "Tea comes as green, black and white tea; list and describe each one when you serve it."
    assert Eliminator().reason(PARENT, answer, answer=answer)[0] == "answer"


def test_sorry_in_a_long_instruction_is_no_refusal():
    """WizardLM's second rule holds below 80 words only"""
    parent = "Write a letter to a friend. " * 20
    assert (
        Eliminator().reason(parent, parent + "Say sorry for being late and explain what happened on the way there.")[0]
        == ""
    )


def test_a_seed_about_prompts_may_speak_of_them():
    parent = "Explain what a rewritten prompt is."
    assert Eliminator().reason(parent, parent[:-1] + " and give two examples of one that failed.")[0] == ""


def test_languages_without_spaces_are_counted_by_character():
    assert (
        Eliminator().reason("写一首关于大海的短诗。", "写一首关于大海的短诗，要求押韵，并解释每一行的意思。")[0] == ""
    )
    assert Eliminator().reason("写一首关于大海的短诗。", "好。")[0] == "length_ratio"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_similarity", 1.5, "max_similarity must be in"),
        ("pool_similarity", 0, "pool_similarity must be in"),
        ("min_length_ratio", 4, "0 ≤ min < max"),
    ],
)
def test_bounds_are_checked(key, value, message):
    with pytest.raises(ValueError, match=message):
        Eliminator(**{key: value})


@given(st.text(max_size=120), st.text(max_size=120))
def test_elimination_is_total(parent, child):
    code, detail = Eliminator().reason(parent, child)
    assert isinstance(code, str) and isinstance(detail, str)


def test_the_pool_finds_duplicates_of_other_lines_only():
    pool = Pool(0.9)
    text = (
        "Explain in your own words how a steam engine turns heat into motion "
        "and where the losses are largest in practice."
    )
    pool.add("line a", text)
    assert pool.find("line a", text) == ""
    assert pool.find("line b", text.upper()) == text
    assert pool.find("line b", text.replace("Explain", "Describe")) == text
    assert pool.find("line b", "Explain how a watch works.") == ""
    pool.add("line c", "Sort.")
    assert pool.find("line d", "sort") == "Sort.", "texts too short for 3-grams are compared as a whole"
