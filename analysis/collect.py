"""Job folders → tidy tables, from the folders alone.

    python -m analysis.collect runs/<study>/<time>        writes results.csv there and prints it

`collect` gives one row per run × round × metric. A job that has not completed is one row with its status, its error
and no metric: numbers of a half-finished job would be a mean over part of its records that looks like any other.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.jobs import FACTS, Job, read_jobs, read_scores
from evodistill import RunError

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (*FACTS, "round", "metric", "value", "ci_low", "ci_high", "n", "unparsed", "rejected", "error")
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
    return made or [job.facts | {"error": job.error.partition("\n")[0]}]


class Codes(dict[Any, int]):
    """Numbers what it is asked for, from 0 on."""

    def __missing__(self, value: Any) -> int:
        self[value] = code = len(self)
        return code


def scores(folder: Path, jobs: Iterable[Job] | None = None) -> DataFrame:
    """One row per record × metric value, long: the facts of the run, then

    id · seed_id (root of the line; `seed` is the run's random seed) · round · operation · metric · value (NaN:
    unparsed) · label · reason.

    What metrics.json does not name is of an earlier command in the same folder, and left out; a file that holds fewer
    or more values than metrics.json counts is said.

    Text columns are categories: 200 jobs of 1,000 records fit in some 100 MB. `attrs["warnings"]` as in `collect`.
    """
    import numpy as np
    import pandas as pd

    jobs = read_jobs(folder) if jobs is None else list(jobs)
    text = ("id", "seed_id", "operation", "metric", "label", "reason")
    ids, seeds, operations, metrics, labels, reasons = codes = [Codes() for _ in text]
    cells, values = array("i"), array("d")  # job, round and the codes of a value; the value
    warnings = [problem for job in jobs for problem in job.problems]
    for number, job in enumerate(jobs):
        for path in sorted((job.folder / "scores").glob("*.jsonl")):
            lines, problems = read_scores(path, job.named)
            problems += miscounted(path.name, lines, job)
            warnings += [f"job {job.facts['run']}: scores/{problem}" for problem in problems]
            for line in lines:
                of, seed, operation = ids[line["id"]], seeds[line["seed"]], operations[line.get("operation") or ""]
                label, reason = labels[line.get("label") or ""], reasons[line.get("reason") or ""]
                for metric, value in line["values"].items():
                    cells.extend((number, line["round"], of, seed, operation, metrics[metric], label, reason))
                    values.append(math.nan if value is None else value)
    job_of, round_of, *columns = np.asarray(cells, dtype=np.int32).reshape(-1, 2 + len(text)).T.copy()
    table: dict[str, Any] = {}
    for name in FACTS:
        fact, levels = pd.factorize(np.asarray([str(job.facts[name]) for job in jobs], dtype=object))
        table[name] = pd.Categorical.from_codes(fact[job_of], levels)
    for name, column, known in zip(text, columns, codes, strict=True):
        table[name] = pd.Categorical.from_codes(column, list(known))
    table["round"] = round_of
    table["value"] = np.asarray(values)
    order = [*FACTS, "id", "seed_id", "round", "operation", "metric", "value", "label", "reason"]
    frame = pd.DataFrame(table)[order]
    frame.attrs["warnings"] = warnings
    return frame


def miscounted(name: str, lines: list[dict[str, Any]], job: Job) -> list[str]:
    """Metrics of whose values a file holds fewer, or more, than metrics.json has counted."""
    held = Counter(metric for line in lines for metric in line["values"])
    said = []
    for metric, found in held.items():
        parts = [summary.get(key) for summary in job.metrics.get(metric, {}).values() for key in ("n", "unparsed")]
        counted = [part for part in parts if part is not None]
        if counted and sum(counted) != found:
            said.append(f"{name} holds {found} values of {metric}, metrics.json counts {sum(counted)}")
    return said


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
