"""Tables → figures: `style.py` holds the looks, and there is one file per figure.

Each has COLUMNS (of its table), CAPTION, `of(study) -> table`, `draw(table) -> Figure`, and a `main` that reads a
csv or a folder of runs and writes PDF and PNG. `paper/` holds the published numbers.
"""

# the order of a report
FIGURES = (
    "difficulty",
    "score_by_round",
    "ifd_distribution",
    "diversity",
    "logprob",
    "iterations",
    "scaling",
    "win_rate",
    "task_mix",
    "training",
)
