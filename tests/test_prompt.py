import pytest

from evodistill import RunError, prompt
from evodistill.evolution.evol_instruct import BREADTH, DEPTH, template


def test_an_undefined_variable_is_named(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{{ instruction }} {{ colour }}")
    with pytest.raises(RunError, match=r"mine.jinja: 'colour' is undefined; it may use: instruction"):
        prompt.render(str(path), instruction="a")
    assert prompt.variables(str(path)) == {"instruction", "colour"}


def test_a_missing_prompt_and_a_syntax_error_are_one_line(tmp_path):
    with pytest.raises(RunError, match=r"prompt nothing/here: no such file"):
        prompt.render("nothing/here")
    (tmp_path / "bad.jinja").write_text("a\n{% if %}")
    with pytest.raises(RunError, match="line 2"):
        prompt.render(str(tmp_path / "bad.jinja"))


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% raw %}", "{not a key}", "{0}", "100 % {{", "\\n $x \x00"])
def test_data_is_never_evaluated(text):
    """AE7: braces in data are data"""
    for operation in (*DEPTH, BREADTH):
        assert text in prompt.render(template(operation), instruction=text, input=text)
    assert prompt.render("respond/plain", instruction=text, input="") == text


def test_the_source_of_a_prompt_holds_its_parent():
    child, parent = prompt.source(template("deepening")), prompt.source("evol_instruct/depth")
    assert parent in child and child != parent


@pytest.mark.parametrize("operation", DEPTH)
def test_the_static_part_stands_before_the_data(operation):
    first, second = (
        prompt.render(template(operation), instruction=text, input="") for text in ("A first prompt.", "Another one.")
    )
    assert first.index("A first prompt.") > 0.8 * (len(first) - len("A first prompt."))
    assert first.split("A first prompt.")[0] == second.split("Another one.")[0]


def test_a_template_cannot_reach_into_python(tmp_path):
    path = tmp_path / "evil.jinja"
    path.write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(RunError, match="unsafe"):
        prompt.render(str(path))
