import pytest

from evodistill.benchmark.instructions import RULES, followed, followed_loosely

CASES = [
    ("keywords:existence", {"keywords": ["tide", "moon"]}, "The Moon pulls the tides.", "The moon pulls."),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "at least"}, "Tea, steam, tea.", "Tea."),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "less than"}, "Tea.", "tea steam: tea"),
    ("keywords:forbidden_words", {"forbidden_words": ["rain"]}, "The train left.", "Rain fell."),
    ("keywords:letter_frequency", {"letter": "o", "let_frequency": 2, "let_relation": "at least"}, "Oslo", "Ohm"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "#a #b", "#a"),
    ("language:response_language", {"language": "de"}, "Das ist ein kurzer Satz über das Wetter.", "A short sentence."),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "I went. He ran.",
     "Dr. Smith went home."),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "now three words"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***one***two", "one *** *** two"),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "So"}, "One.\n\n'so, two", "So.\n\nTwo."),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. I forgot.", "Bye. PS: I forgot."),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.P.S more", "P.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "* one\n** two"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "Maybe."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and *two*", "*one* and **"),
    ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}, "Part 1 a\nPart 2 b",
     "Part one\nPart 2"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<Tea>>\nBoil it.", "<< >>\nBoil it."),
    ("combination:two_responses", {}, "One.******Two.", "One.******One."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "say HI. Hi!", "Sure. Say hi. Hi!"),
    ("startend:end_checker", {"end_phrase": "That is all."}, 'Done. "That is all."', "That is all. Bye."),
    ("startend:quotation", {}, ' "quoted" ', '"quoted'),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "The UN and EU.",
     "The UN."),
    ("change_case:english_capital", {}, "THIS IS A SENTENCE ABOUT THE WEATHER.", "This is a sentence."),
    ("change_case:english_lowercase", {}, "this is a sentence about the weather.", "this is a sentence about Rome."),
    ("punctuation:no_comma", {}, "none here", "one, here"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("id", "arguments", "good", "bad"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)]
)
def test_a_rule_by_hand(id, arguments, good, bad):
    assert followed(id, arguments, good)
    assert not followed(id, arguments, bad)


def test_every_rule_has_a_case():
    assert {case[0] for case in CASES} == set(RULES) and len(RULES) == 25


def test_an_empty_response_follows_nothing():
    assert not followed("punctuation:no_comma", {}, " \n")
    assert not followed_loosely("punctuation:no_comma", {}, "")


@pytest.mark.parametrize("text", ["Sure, here it is:\nno more", "no more\nHope, that helps!", "a, b\n*no more*\nc, d"])
def test_a_preface_and_a_closing_remark_do_not_count_loosely(text):
    assert not followed("punctuation:no_comma", {}, text)
    assert followed_loosely("punctuation:no_comma", {}, text)


def test_arguments_that_are_null_are_not_given():
    """the hub's rows name all arguments of all instructions"""
    assert followed("keywords:existence", {"keywords": ["a"], "num_words": None, "relation": None}, "a")


def test_a_language_is_detected_alike_every_time():
    """langdetect draws at random unless it is seeded; unseeded, this text is English or Italian"""
    found = {followed("language:response_language", {"language": "en"}, "no tea in a sea") for _ in range(20)}
    assert len(found) == 1
