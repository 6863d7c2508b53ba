"""Benchmarks of a student by round of evolution: figure 1 of the paper, from its tables 9 and 10.

    python -m plots.iterations plots/paper/table10_iterations.csv    the published numbers
    python -m plots.iterations runs/<study>/<time>                   our own, where students were trained on each round

The plot script of the paper holds other numbers than its tables in 14 cells (plots/paper/audit_fig1_vs_table10.csv);
its axis labels fit the tables, so these are drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plots import benchmark_lines as lines
from plots.command import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.jobs import Job
    from analysis.load import Study

CAPTION = "Benchmarks of the students by the round that they were trained on, in percent, with 95 % intervals."
COLUMNS = lines.COLUMNS
ROUNDS = r"(?:^|, )(?:select\.)?rounds=\[[^\]]*\]"  # in a setting: what x is
MISSING = "no benchmark by round: no completed jobs have trained students on several rounds and asked them"


def published(table: DataFrame) -> DataFrame:
    """Rounds 1 to 3 of table 10; round 0, on both lines, is the same student tuned on the seeds (table 9)."""
    import pandas as pd

    seeds = pd.read_csv(lines.PAPER / "table09_seed_results.csv")
    seeds = seeds[seeds["base_model"].isin(table["base_model"])]
    starts = [seeds.assign(evolver=side, iteration=0) for side in sorted(table["evolver"].unique())]
    rows = pd.concat([*starts, table]).rename(columns={"iteration": "x"}).sort_values("x", kind="stable")
    return lines.with_intervals(rows.reset_index(drop=True))[list(COLUMNS)]


def of(study: Study) -> DataFrame:
    """Our results, where students were trained on several rounds."""
    rounds = {job.facts["run"]: trained_on(job) for job in study.jobs}
    results = study.results[study.results["run"].map(rounds).notna()]
    setting = results["setting"].astype(str).str.replace(ROUNDS, "", regex=True).str.strip(", ")
    placed = results.assign(x=results["run"].map(rounds), setting=setting).sort_values("x", kind="stable")
    table = lines.own(placed, lines.drawn_by(study))
    return table if table["x"].nunique() > 1 else table[:0]


def trained_on(job: Job) -> int | None:
    """The round whose records its student has learned, where it is one."""
    rounds = (job.hydra("config").get("select") or {}).get("rounds") or ()
    return int(rounds[0]) if len(rounds) == 1 else None


def draw(table: DataFrame) -> Figure:
    return lines.draw(table, "round", MISSING)


def main() -> None:
    run("iterations", COLUMNS, of, draw, published)


if __name__ == "__main__":
    main()
