"""Redraw the figures of the paper from the published numbers: python -m plots"""

from __future__ import annotations

from pathlib import Path

from plots import difficulty, style

HERE = Path(__file__).parent
FIGURES = {"figure2_difficulty": (difficulty, HERE / "paper" / "fig2_difficulty.csv")}


def main() -> None:
    for name, (figure, table) in FIGURES.items():
        print(*style.save(figure.draw(figure.read(table)), HERE / "figures" / name), sep="\n")


if __name__ == "__main__":
    main()
