import pytest

from evodistill.document import rules


def test_ligatures_and_control_characters_go():
    """N6"""
    assert rules.unicode(["ﬁnd the oﬃce, cafe\u0301"]) == (["find the office, café"], 2)
    assert rules.control(["a\u200bb\x07c\u00add\x02e"]) == (["abcd\x02e"], 3)


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("un\x02locked", "unlocked"),  # attested nowhere: joined
        ("self\x02improvement … self-improvement", "self-improvement … self-improvement"),  # attested with a hyphen
        ("learn\x02ing … learning", "learning … learning"),
        ("GPT\x024 is", "GPT-4 is"),  # before a digit
        ("NASA\x02Report", "NASA-Report"),  # between capitals
        ("Human\x02Eval", "HumanEval"),
        ("re-\nwrite", "rewrite"),
    ],
)
def test_hyphens_at_line_ends_follow_what_the_document_attests(text, mended):
    """N6"""
    assert rules.hyphens([text]) == ([mended], 1)


def test_running_heads_and_feet_go_but_the_title_stays_once():
    """N6"""
    pages = [
        f"A Title\nChapter {n // 4}, page {n}\n\nText of page {n}.\nEach one differs: {'x' * n}\nACME Ltd."
        for n in range(8)
    ]
    done, gone = rules.heads(pages)
    assert done[0].startswith("A Title\n\nText of page 0.") and "Chapter" not in "".join(done)
    assert "A Title" not in "".join(done[1:]) and "ACME" not in "".join(done[1:])
    assert gone == 8 + 7 + 7
    assert rules.heads(pages[:2]) == (pages[:2], 0)


def test_text_that_repeats_elsewhere_is_no_head():
    pages = [f"Begin {c}\nsecond {c}\nsame line inside\nlast {c * 2}\nend {c * 3}" for c in "abcdef"]
    assert rules.heads(pages) == (pages, 0)
    few = [f"Question {n * n}\nWhat is {word}?\nSay it." for n, word in enumerate(("tea", "salt", "rye"))]
    few += [f"Other {c}\nwords {c}\nand {c} end" for c in "abcdef"]
    assert rules.heads(few) == (few, 0)


def test_a_chapters_running_head_goes_though_few_pages_have_it():
    texts = "abcdefghi"
    pages = [f"Chapter {n // 3}: {'xyz'[n // 3]} {n + 5}\nText {c}\n{c} ends." for n, c in enumerate(texts)]
    done, gone = rules.heads(pages)
    assert gone == 9 and "Chapter" not in "".join(done)


@pytest.mark.parametrize("line", ["7", " 12 ", "Page 3", "- 4 -", "3 of 10", "5/9"])
def test_bare_page_numbers_go(line):
    """N6"""
    assert rules.numbers([f"Some text.\n{line}"]) == (["Some text."], 1)


def test_numbers_in_the_text_stay():
    page = "The list:\n7\nis lucky."
    assert rules.numbers([page]) == ([page], 0)
    assert rules.numbers(["1984"]) == (["1984"], 0)


def test_arxivs_stamp_goes_even_where_it_is_glued():
    """N6"""
    assert rules.stamps(["modelsarXiv:2402.13116v3 [cs.CL] 8 Mar 2024\nare"]) == (["modelsare"], 1)


def test_the_list_of_references_can_be_cut():
    pages = ["Introduction\n" + "word " * 80, "End of the text.\nReferences\n[1] A. Author", "[2] B. Author"]
    done, characters = rules.references(pages)
    assert done[1:] == ["End of the text.\n", ""] and characters == len("References\n[1] A. Author[2] B. Author")
    early = ["References\nare discussed first.", "word " * 80]
    assert rules.references(early) == (early, 0)


def test_lines_become_paragraphs():
    """N5"""
    page = (
        "The harbour was built in the year 1821 by\nfishermen of the village, stone by stone, and\nit stood.\n"
        "A storm came in the following winter and it\ndestroyed everything.\n• one item\n• another item\n\nNew part"
    )
    [done], joined = rules.paragraphs([page])
    assert done.split("\n\n") == [
        "The harbour was built in the year 1821 by fishermen of the village, stone by stone, and it stood.",
        "A storm came in the following winter and it destroyed everything.",
        "• one item",
        "• another item",
        "New part",
    ]
    assert joined == 3


def test_lines_of_scripts_without_spaces_join_without_one():
    assert rules.paragraphs(["今天天气很好我们去公园散步吧\n然后回家吃饭"])[0] == [
        "今天天气很好我们去公园散步吧然后回家吃饭"
    ]


def test_blocks_that_are_no_prose_go():
    """N6"""
    prose = "This is a paragraph of ordinary words that stays."
    figure = "0.1 0.2 0.3 a b 0.4 0.5 c d 0.6 x1 y2"
    assert rules.figures([f"{prose}\n\n{figure}"]) == ([prose], 1)
    code = "```\nx = 1; y = 2; a = b; c = d; e = f\n```"
    assert rules.figures([code]) == ([code], 0)
