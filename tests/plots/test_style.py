import math
from pathlib import Path

import pandas as pd
import pytest

from plots import style


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("smollm2-135m", 135e6),
        ("qwen25-coder-0.5b", 0.5e9),
        ("llama31-70b", 70e9),
        ("fake", None),
        ("llama31-8b-q4", 8e9),
        ("ab12b", None),
    ],
)
def test_size_is_read_from_a_name_that_states_it(model: str, size: float | None):
    assert style.size(model) == size


def test_order_is_by_size_only_where_every_size_is_known():
    assert style.order(["qwen25-coder-0.5b", "smollm2-135m"]) == ["smollm2-135m", "qwen25-coder-0.5b"]
    assert style.order(["b-1b", "a"]) == ["a", "b-1b"]
    assert style.order(["llm", "slm"]) == ["slm", "llm"]


def test_two_models_of_known_size_are_named_small_and_large():
    assert [look.label for look in style.looks(["a-1b", "b-2b"]).values()] == ["a-1b (SLM)", "b-2b (LLM)"]
    assert [look.label for look in style.looks(["x", "y"]).values()] == ["x", "y"]
    assert [look.label for look in style.looks(["a-1b", "b-2b", "c-3b"]).values()] == ["a-1b", "b-2b", "c-3b"]


def test_neighbours_differ_in_grey_hatch_and_marker():
    def grey(color: str) -> float:
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    first, second = list(style.looks(["a", "b"]).values())
    assert abs(grey(first.color) - grey(second.color)) > 0.2
    looks = list(style.looks([str(number) for number in range(7)]).values())
    assert (
        len({look.hatch for look in looks})
        == len({look.marker for look in looks})
        == len({look.color for look in looks})
        == 7
    )


def test_save_makes_the_folder_and_both_files_the_same_each_time(tmp_path: Path):
    """PL3."""
    written = style.save(style.empty("nothing"), tmp_path / "new" / "one")
    again = style.save(style.empty("nothing"), tmp_path / "new" / "two")
    assert [path.name for path in written] == ["one.pdf", "one.png"]
    assert [a.read_bytes() for a in written] == [b.read_bytes() for b in again]


def test_runs_that_agree_are_as_unsure_as_their_items():
    runs = pd.DataFrame({"value": [0.5] * 3, "ci_low": [0.1] * 3, "ci_high": [0.9] * 3})
    assert style.half_interval(runs) == pytest.approx(0.4)
    apart = runs.assign(value=[0.4, 0.5, 0.6])
    assert style.half_interval(apart) == pytest.approx((0.4**2 + (4.302653 * 0.1 / 3**0.5) ** 2) ** 0.5)
    assert style.half_interval(apart.assign(ci_low=math.nan)) == pytest.approx(4.302653 * 0.1 / 3**0.5)
    assert math.isnan(style.half_interval(runs[:1]))
    lacking = pd.concat([apart, runs[:1].assign(value=math.nan)])
    assert style.half_interval(lacking) == style.half_interval(apart), "a run without a value is none of them"


def test_a_dollar_in_a_name_is_a_dollar():
    with style.styled():
        figure = style.empty("costs $5 and $ more_than_{that")
    assert b"PNG" in style.render(figure, "png")[:8]


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_a_legend_of_long_names_stays_in_its_figure(n: int):
    with style.styled():
        figure, [[axes]] = style.panels(1, 1)
        handles = {f"selection=perplexity of {number}": axes.plot([0, 1])[0] for number in range(n)}
        style.legend(figure, handles)
        style.render(figure, "png")
        [legend] = figure.legends
        box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert len(legend.get_texts()) == n
