"""F(r) of arXiv 2406.00770: classes of failures that an answer shows."""

import pytest

from evodistill.evolution.optimizer.answer import failure

STAGNANT, AGREEING, LOST = "stagnant_complexity", "insufficient_qualification", "lost_information"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Understood. What would you like me to do?", STAGNANT),
        ("Thank you for the update! How can I help?", STAGNANT),
        ("What kind of tea do you mean?", STAGNANT),
        ("That is correct. Do you want to know more?", STAGNANT),
        ("That's correct! Anything else?", STAGNANT),
        ("Great! Shall we begin?", STAGNANT),
        ("**Great!** Shall we begin?**", STAGNANT),
        ("  great, shall we begin？ ", STAGNANT),
        ("Sure, which text do you mean?", AGREEING),
        ('"Sure! Could you tell me more?"', AGREEING),
        ("Please provide the text.", LOST),
        ("I cannot see a table. Could you please provide it, so that I can sum it up?", LOST),
        ("", "no_answer"),
        (" \n", "no_answer"),
    ],
)
@pytest.mark.parametrize("form", ["strict", "loose"])
def test_the_three_classes(answer, reason, form):
    """AE4"""
    assert failure(answer, form) == reason


@pytest.mark.parametrize(
    "answer",
    [
        "The sum is 12. Are you sure you do not want the product too?",  # polite, with "sure"
        "There are three teas. Is it okay to stop here?",
        "Whatever you choose, the tea must be hot. Would you like a recipe?",  # begins as "What", is another word
        "Surely the tallest is K2's neighbour. Do you want its height?",
        "Greatly simplified: light is scattered. More?",
        "Understood. The report follows below.",  # no question at the end
        "Sure, here are three teas: green, black, white.",
        "Great tea needs good water.",
        "Write to the owner and provide your address, please.",
        "How could this be tested?",
    ],
)
def test_polite_answers_are_no_failures(answer):
    """EvolKit searches its patterns anywhere in the last line, so any of these fails there"""
    assert failure(answer, "strict") == ""


def test_the_loose_form_lets_the_first_class_stand_anywhere():
    answer = "Tea is a drink. Great! Do you want to know more?"
    assert (failure(answer, "strict"), failure(answer, "loose")) == ("", STAGNANT)
    assert failure("I can, sure. Shall I?", "loose") == ""  # the second class still has to begin
    assert failure("Somewhat later it rained. Did you know?", "loose") == ""  # whole words only
