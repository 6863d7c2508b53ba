"""Every figure of the paper from its published numbers, beside ours where a study of ours has them.

    python -m plots        writes plots/figures/*.pdf, *.png, and index.html, which shows them side by side

Ours are the tables that a study leaves beside its figures, as committed in experiments/<study>/<figure>.csv.
"""

from __future__ import annotations

import html
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.files import write_whole
from evodistill import RunError
from plots import style
from plots.command import read

HERE = Path(__file__).parent
OUT = HERE / "figures"
EXPERIMENTS = HERE.parent / "experiments"
# figure of the paper → (module, its numbers, caption); figures 4 and 5 have no published numbers
PAPER: dict[str, tuple[str, str | None, str]] = {
    "figure1": (
        "iterations",
        "table10_iterations.csv",
        "Llama-3-8B tuned on the seeds (0) and on rounds 1 to 3. Drawn from tables 9 and 10: the paper's plot script "
        "holds other numbers in 14 cells. Intervals are ours: 95 % Wilson of k of n items.",
    ),
    "figure2": (
        "difficulty",
        "fig2_difficulty.csv",
        "Difficulty classes by round and data set; judge: Qwen-2.5-72B. Intervals: ours, as above.",
    ),
    "figure3": (
        "scaling",
        "fig3_scaling.csv",
        "Qwen-2.5 students of 0.5B to 72B (LoRA from 14B); table 11 has the same numbers. Intervals: ours, as above.",
    ),
    "figure4": ("diversity", None, "Minimum neighbour distance. The paper's numbers were never published."),
    "figure5": ("logprob", None, "Probability of the top token. The paper's numbers were never published."),
    "figure6": (
        "win_rate",
        "fig6_win_ic_ifd_vs_ifd.csv",
        "Top shares by IC-IFD against the same shares by IFD. Intervals: ours, as above.",
    ),
    "figure7": (
        "win_rate",
        "fig7_win_ic_ifd_vs_full.csv",
        "Top shares by IC-IFD against all of Alpaca. No script of it was published: which bar is which share is "
        "inferred from the order of drawing. Intervals: ours, as above.",
    ),
}


def main() -> None:
    rows = []
    for name, (figure, source, caption) in PAPER.items():
        module = import_module(f"plots.{figure}")
        published = [(f"{name}_{figure}", HERE / "paper" / source)] if source else []
        ours = [(f"{name}_{path.parent.name}", path) for path in sorted(EXPERIMENTS.glob(f"*/{figure}.csv"))]
        drawn = []
        for stem, path in published + ours:
            try:
                print(*style.save(module.draw(table(module, path)), OUT / stem), sep="\n")
            except RunError as error:  # a table of an older run; the others are drawn
                print(f"not drawn: {error}", file=sys.stderr)
            else:
                drawn.append(stem)
        rows.append(row(name, caption, *([stem for stem, _ in side if stem in drawn] for side in (published, ours))))
    write_whole(OUT / "index.html", PAGE.format(rows="\n".join(rows)))
    print(OUT / "index.html")


def table(module: Any, path: Path) -> Any:
    return read(path, module.COLUMNS, module.of, getattr(module, "published", None))


def row(name: str, caption: str, published: list[str], ours: list[str]) -> str:
    def images(stems: list[str], missing: str) -> str:
        shown = [
            f'<figure><img src="{stem}.png" alt="{stem}"><figcaption>{stem}</figcaption></figure>' for stem in stems
        ]
        return "".join(shown) or f"<p>{missing}</p>"

    return (
        f"<tr><th colspan=2>{name}: {html.escape(caption)}</th></tr><tr>"
        f"<td>{images(published, 'no published numbers')}</td><td>{images(ours, 'no study of ours yet')}</td></tr>"
    )


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures</title>
<style>body{{font:15px/1.4 system-ui;margin:2rem}}table{{width:100%;border-collapse:collapse}}
td{{width:50%;vertical-align:top}}th{{text-align:left;padding-top:1.5rem}}img{{max-width:100%}}figure{{margin:.5rem}}figcaption{{color:#666}}</style>
<h1>Figures of arXiv 2412.11231: published (left) and ours (right)</h1><table>{rows}</table></html>
"""


if __name__ == "__main__":
    main()
