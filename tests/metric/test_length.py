from dataclasses import replace

from evodistill.metric.length import Length, words


def test_words_of_instruction_with_input_and_of_the_output(seeds):
    (score,) = Length()([replace(seeds[4], output="Use a + b.")], {})
    assert score.values == {"instruction_words": 6 + 8, "output_words": 3}


def test_a_record_without_an_output_has_no_length_of_it(seeds):
    assert Length()(seeds[:1], {})[0].values["output_words"] is None


def test_scripts_without_spaces_count_characters():
    assert words("写一首诗 about rain") == 6
