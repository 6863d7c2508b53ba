"""What x is: students by size, values of a setting, or names without an order."""

import pandas as pd
import pytest

from plots import scaling


def table(names: list[str]) -> pd.DataFrame:
    rows = [(name, "a-1b", "GSM8K", 10.0 + i, 5.0, 40.0) for i, name in enumerate(names)]
    return pd.DataFrame(rows, columns=list(scaling.COLUMNS))


@pytest.mark.parametrize(
    ("names", "label", "ticks", "line"),
    [
        (["qwen2-1.5b", "qwen2-7b"], "size of the student", ["qwen2-1.5b", "qwen2-7b"], "-"),
        (["one", "another"], "", ["one", "another"], "None"),
        (["selection=all", "selection=ifd"], "selection", ["all", "ifd"], "None"),
        (["temperature=0.7", "temperature=0", "temperature=0.3"], "temperature", ["0", "0.3", "0.7"], "-"),
        (["a-1b, selection=all", "a-1b, selection=ifd"], "", ["a-1b, selection=all", "a-1b, selection=ifd"], "None"),
    ],
)
def test_points_are_joined_where_x_has_an_order(names, label, ticks, line):
    panel = next(axes for axes in scaling.draw(table(names)).axes if axes.get_title() == "GSM8K")
    assert panel.get_xlabel() == label
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ticks
    assert panel.lines[-1].get_linestyle() == line
