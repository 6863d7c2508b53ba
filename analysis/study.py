"""The end of a run or a sweep: results.csv, comparison.csv, figures/ and report.html, and a table for the terminal.

python -m analysis.study runs/<study>/<time>      redoes all of it from the folders
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.compare import certainty, gap, number
from analysis.files import write_whole
from analysis.load import Study, load
from analysis.report import figures, report
from evodistill import RunError
from plots import style

if TYPE_CHECKING:
    from pandas import DataFrame

WARNINGS_SHOWN = 5
REASONS_SHOWN = 3


def finish(folder: Path) -> str:
    """Writes everything into `folder` and returns the text to print. Works with failed and half-finished jobs too."""
    folder = Path(folder)
    study = load(folder)
    write_whole(folder / "results.csv", study.results.to_csv(index=False))
    write_whole(folder / "comparison.csv", study.comparison.to_csv(index=False))
    drawn = figures(study)
    for name, it in drawn.items():
        style.save(it.figure, folder / "figures" / name)
        write_whole(folder / "figures" / f"{name}.csv", it.table.to_csv(index=False))
    if len(study.models):
        write_whole(folder / "students.csv", study.models.to_csv(index=False))
    path = report(folder, study, drawn)
    return "\n".join([*summary(study), *trained(study.models), f"report  {path}"])


def summary(study: Study) -> list[str]:
    """Lines: who won what, rejects, what failed, what to be careful about."""
    lines = [*(means(study) if study.single else winners(study)), ""]
    for level in study.levels:
        rounds = [job.rounds for job in study.jobs if job.facts["evolver"] == level]
        evolved = [counts for by_round in rounds for round, counts in by_round.items() if int(round) > 0]
        made, lost = (sum(counts.get(key, 0) for counts in evolved) for key in ("made", "rejected"))
        reasons = sum((Counter(counts.get("reasons", {})) for counts in evolved), Counter[str]())
        most = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common(REASONS_SHOWN))
        share = f" ({100 * lost / made:.0f} %)" if made else ""
        lines.append(f"rejected  {level}: {lost} of {made}{share}" + (f"; most often {most}" if most else ""))
    for job in study.unfinished:
        error = job.error.partition("\n")[0]
        lines.append(f"{job.status}  job {job.facts['run']} ({job.facts['evolver'] or 'no evolver'})  {error}".rstrip())
    lines += [f"warning  {text}" for text in study.warnings[:WARNINGS_SHOWN]]
    if (more := len(study.warnings) - WARNINGS_SHOWN) > 0:
        lines.append(f"warning  {more} more in the report")
    return [*lines, ""]


def winners(study: Study) -> list[str]:
    table = study.comparison
    if table.empty:
        return ["nothing to compare: no completed job has scored evolved records"]
    rank = style.metrics(table["metric"])
    rows = sorted(
        table.itertuples(index=False), key=lambda row: (row.dataset, row.evolution, row.round, rank.index(row.metric))
    )
    two = len(study.levels) == 2
    several = len(table[["dataset", "evolution"]].drop_duplicates()) > 1
    head = (*(["data"] if several else []), "round", "measure", "seeds", "scores higher")
    head += (" − ".join(study.levels) if two else "a − b", "")
    cells = [
        (
            *([f"{row.dataset} · {row.evolution}"] if several else []),
            *(str(row.round), row.metric, str(row.n_pairs), row.winner),
            gap(row) + ("" if two else f"  {row.a} − {row.b}"),
            certainty(row),
        )
        for row in rows
    ]
    return aligned([head, *cells])


def trained(models: DataFrame) -> list[str]:
    """Lines: how the models that a benchmark asked compare, item by item."""
    head = ("evolver", "measure", "items", "models", "difference", "")
    cells = [
        (row.evolver, row.metric, str(row.n_pairs), f"{row.a} − {row.b}", gap(row), certainty(row))
        for row in models.itertuples(index=False)
    ]
    return [*aligned([head, *cells]), ""] if cells else []


def means(study: Study) -> list[str]:
    measured = study.measured[study.measured["metric"].notna()]
    several = measured["run"].nunique() > 1
    cells = [
        (
            *([row.run] if several else []),
            *(str(row.round), row.metric, f"{number(row.value)} [{number(row.ci_low)}, {number(row.ci_high)}]"),
            *(str(row.n), str(row.unparsed)),
        )
        for row in measured.itertuples(index=False)
    ]
    if not cells:
        return ["no scores: no completed job has measured anything"]
    head = ("round", "measure", "mean [95 %]", "n", "unparsed")
    return aligned([(*(["job"] if several else []), *head), *cells])


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m analysis.study FOLDER")
    try:
        print(finish(Path(sys.argv[1])))
    except RunError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
