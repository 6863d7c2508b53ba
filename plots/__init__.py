"""Tables → figures: `style.py` holds the looks, and there is one file per figure.

Each has `draw(table) -> Figure` and a `main` that reads a csv or a folder and writes PDF and PNG. `paper/` holds the
published numbers.
"""
