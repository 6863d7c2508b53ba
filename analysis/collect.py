"""Job folders → tidy tables, from the folders alone.

    python -m analysis.collect runs/<study>/<time>        writes results.csv there and prints it

`collect` gives one row per run × round × metric. A job that has not completed is one row with its status and no
metric: numbers of a half-finished job would be a mean over part of its records that looks like any other.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.jobs import FACTS, Job, read_jobs, read_lines
from evodistill import RunError

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (*FACTS, "round", "metric", "value", "ci_low", "ci_high", "n", "unparsed", "rejected")
WHOLE = {"round": "Int64", "n": "Int64", "unparsed": "Int64", "rejected": "Int64"}


def collect(folder: Path, jobs: Iterable[Job] | None = None) -> DataFrame:
    """The table of DESIGN's results.csv. `attrs["warnings"]` says what could not be read."""
    import pandas as pd

    jobs = read_jobs(folder) if jobs is None else list(jobs)
    table = pd.DataFrame([row for job in jobs for row in rows(job)], columns=list(COLUMNS)).astype(WHOLE)
    table.attrs["warnings"] = [problem for job in jobs for problem in job.problems]
    return table


def rows(job: Job) -> list[dict[str, Any]]:
    """A metric is a row per round; a round without a metric keeps its count of rejects; a job without either is one
    row."""
    made = [
        job.facts
        | {
            "round": int(number),
            "metric": metric,
            "value": summary.get("mean"),
            "ci_low": interval[0],
            "ci_high": interval[1],
            "n": summary.get("n"),
            "unparsed": summary.get("unparsed"),
            "rejected": job.rounds.get(number, {}).get("rejected"),
        }
        for metric, by_round in job.metrics.items()
        for number, summary in by_round.items()
        for interval in [summary.get("ci95") or (None, None)]
    ]
    measured = {row["round"] for row in made}
    made += [
        job.facts | {"round": int(number), "rejected": counts.get("rejected")}
        for number, counts in job.rounds.items()
        if int(number) not in measured
    ]
    return made or [dict(job.facts)]


def scores(folder: Path, jobs: Iterable[Job] | None = None) -> DataFrame:
    """One row per record × metric value, long: the facts of the run, then

    id · seed_id (root of the line; `seed` is the run's random seed) · round · operation · metric · value (NaN:
    unparsed) · label · reason.

    Text columns are categories: 200 jobs of 1,000 records fit in some 100 MB. `attrs["warnings"]` as in `collect`.
    """
    import numpy as np
    import pandas as pd

    jobs = read_jobs(folder) if jobs is None else list(jobs)
    text = ("id", "seed_id", "operation", "metric", "label", "reason")
    codes: dict[str, dict[Any, int]] = {name: {} for name in text}
    columns: dict[str, list] = {name: [] for name in ("job", "round", "value", *text)}
    warnings = [problem for job in jobs for problem in job.problems]
    for number, job in enumerate(jobs):
        for path in sorted((job.folder / "scores").glob("*.jsonl")):
            lines, problems = read_lines(path, ("id", "seed", "round", "values"))
            warnings += [f"job {job.facts['run']}: scores/{problem}" for problem in problems]
            for line in lines:
                cell = {
                    "id": line["id"],
                    "seed_id": line["seed"],
                    "operation": line.get("operation") or "",
                    "label": line.get("label") or "",
                    "reason": line.get("reason") or "",
                }
                for metric, value in line["values"].items():
                    columns["job"].append(number)
                    columns["round"].append(line["round"])
                    columns["value"].append(math.nan if value is None else value)
                    cell["metric"] = metric
                    for name, value_of in cell.items():
                        column = codes[name]
                        columns[name].append(column.setdefault(value_of, len(column)))
    job_of = np.asarray(columns["job"], dtype=np.int32)
    table: dict[str, Any] = {}
    for name in FACTS:
        fact, levels = pd.factorize(np.asarray([str(job.facts[name]) for job in jobs], dtype=object))
        table[name] = pd.Categorical.from_codes(fact[job_of], levels)
    for name in text:
        table[name] = pd.Categorical.from_codes(np.asarray(columns[name], dtype=np.int32), list(codes[name]))
    table["round"] = np.asarray(columns["round"], dtype=np.int32)
    table["value"] = np.asarray(columns["value"], dtype=np.float64)
    order = [*FACTS, "id", "seed_id", "round", "operation", "metric", "value", "label", "reason"]
    frame = pd.DataFrame(table)[order]
    frame.attrs["warnings"] = warnings
    return frame


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m analysis.collect FOLDER")
    from analysis.files import write_whole

    folder = Path(sys.argv[1])
    try:
        table = collect(folder)
    except RunError as error:
        sys.exit(str(error))
    write_whole(folder / "results.csv", table.to_csv(index=False))
    print(table.to_string(index=False))
    for warning in table.attrs["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    main()
