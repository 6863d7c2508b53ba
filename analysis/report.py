"""A folder of jobs → one self-contained report.html: the question and the answer first, then everything behind it.

    python -m analysis.study runs/<study>/<time>      writes it together with the tables and figures

The template escapes all data; figures are inlined, so the file needs no network and no other file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import sample
from analysis.compare import CANNOT_TELL, DIRECTION, certainty, gap, number
from analysis.files import write_whole
from analysis.jobs import Job, plain, read_json, read_yaml
from analysis.load import Study, load
from plots import FIGURES, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

HERE = Path(__file__).parent
SEEDS_SHOWN = 8
REJECTS_SHOWN = 20
UNPARSED_SHOWN = 10
ROWS_SHOWN = 400
BROWSED = 2_000
VERSIONS = ("torch", "transformers", "vllm", "datasets", "hydra-core", "numpy", "scipy", "pandas", "matplotlib")


def report(folder: Path, study: Study | None = None, drawn: dict[str, Drawn] | None = None) -> Path:
    """Writes <folder>/report.html; `study` and `drawn` spare a second reading and drawing where the caller has them."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    study = study or load(folder)
    figures_drawn = figures(study) if drawn is None else drawn
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {
        "number": number,
        "gap": gap,
        "certainty": certainty,
        "metric": style.name,
        "clip": clip,
        "count": count,
    }
    browsed, n_browsed = sample.browsed(study, BROWSED)
    rejected, n_rejected = sample.rejects(study, REJECTS_SHOWN)
    unread, n_unread = sample.unparsed(study, UNPARSED_SHOWN)
    models = list(study.models.itertuples(index=False))
    page = environment.get_template("report.html.jinja").render(
        study=study,
        names=sorted({job.facts["study"] for job in study.jobs if job.facts["study"]}) or [study.folder.name],
        question=question(study),
        models=models,
        models_told=counted(models, "of models, item by item"),
        answers=(latest := last_round(study)),
        tally=tally(latest, study.benchmarks),
        benchmarks=study.benchmarks,
        several_seeds=bool((study.comparison["n_runs"] > 1).any()),
        meaning=DIRECTION,
        cannot_tell=CANNOT_TELL,
        figures=[(it.caption, inline(it.figure), it.figure.get_figwidth() > 6) for it in figures_drawn.values()],
        comparison=(rows := spans(study)),
        measured=by_round(study),
        one_group=len({(job.facts["dataset"], job.facts["evolution"]) for job in study.jobs if job.completed}) < 2,
        one_run=len(study.jobs) == len(study.levels),
        rows_shown=ROWS_SHOWN,
        n_compared=len(rows),
        left=left(study),
        reasons=reasons(study),
        lineages=sample.lineages(study, SEEDS_SHOWN),
        rejects=rejected,
        n_rejected=n_rejected,
        browsed=browsed,
        n_browsed=n_browsed,
        script=script(),
        unread=unread,
        n_unread=n_unread,
        costs=costs(study),
        config=config_text(study.jobs[0]),
        overrides={job.facts["run"]: list(job.hydra("overrides") or []) for job in study.told},
        manifests=manifests(study),
        versions=study.jobs[0].versions or versions(),
        others=[job.facts["run"] for job in study.jobs[1:] if job.versions != study.jobs[0].versions],
        commands=commands(study),
    )
    path = study.folder / "report.html"
    write_whole(path, page)
    return path


def script() -> tuple[str, str]:
    """(the page's one script, its hash for the page's policy): Grid.js (MIT) and what drives it."""
    text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("gridjs/gridjs-6.2.0.js", "browse.js"))
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass(frozen=True)
class Drawn:
    """A figure, the table behind it, and what stands under it."""

    figure: Figure
    table: DataFrame
    caption: str


def figures(study: Study) -> dict[str, Drawn]:
    """The figures there are numbers for."""
    drawn = {}
    for name in FIGURES:
        module = import_module(f"plots.{name}")
        if len(table := module.of(study)):
            drawn[name] = Drawn(module.draw(table), table, module.CAPTION)
    return drawn


def inline(figure: Figure) -> str:
    # as an image, not as elements of the page: ids of several SVGs would clash
    return "data:image/svg+xml;base64," + base64.b64encode(style.render(figure, "svg")).decode()


def question(study: Study) -> str:
    if study.single and len(study.models):
        *others, last = study.asked
        return f"Which model scores higher: {', '.join(others)} or {last}?"
    if study.single:
        return f"What did {study.levels[0]} make of the seeds?" if study.levels else "What came out of this run?"
    *others, last = study.levels
    levels = f"{', '.join(others)} or {last}?"
    if study.factor != "evolver":
        return f"Which {study.factor} scores higher: {levels}"
    measured = set(study.comparison["metric"])
    if measured & set(DIRECTION):
        return f"Who wrote the harder instructions: {levels}"
    if measured & study.benchmarks:
        return f"Whose instructions make the better student: {levels}"
    return f"Whose instructions score higher: {levels}"


def last_round(study: Study) -> list[Any]:
    """The comparison's rows of the last round of each dataset × evolution × metric, headline metrics first."""
    table = study.comparison
    if table.empty:
        return []
    last = table.groupby(["dataset", "evolution", "metric"])["round"].transform("max")
    rank = style.metrics(table["metric"])
    return sorted(
        table[table["round"] == last].itertuples(index=False),
        key=lambda row: (row.dataset, row.evolution, rank.index(row.metric), row.a, row.b),
    )


def tally(answers: list[Any], benchmarks: Collection[str] = ()) -> str:
    """How the comparisons of difficulty (DIRECTION) and of benchmarks went, counted, or of what there is where there
    are neither: who wins one measure need not win another."""
    harder = [row for row in answers if row.metric in DIRECTION]
    asked = [row for row in answers if row.metric in benchmarks]
    told = [counted(harder, "of difficulty in the last round"), counted(asked, "of benchmarks")]
    return " ".join(text for text in told if text) or counted(answers, "in the last round")


def counted(rows: list[Any], which: str) -> str:
    if not rows:
        return ""
    of = f"{len(rows)} comparison{'s' * (len(rows) > 1)} {which}"
    decided = [row for row in rows if row.winner != CANNOT_TELL]
    if not decided:
        return f"Cannot tell: in {of}, no difference can be told from 0."
    won = Counter(row.winner for row in decided).most_common()
    held = sum(row.p_holm <= 0.05 for row in decided)
    parts = [f"{winner} scores higher in {n}" for winner, n in won]
    if undecided := len(rows) - len(decided):
        parts.append(f"{undecided} cannot tell")
    return f"Of {of}, {', '.join(parts)}. {held} of the {len(decided)} decided hold after correction."


def spans(study: Study) -> list[tuple[Any, dict[str, float] | None]]:
    """Each comparison and where its interval lies on a strip from −largest to +largest of its metric, in percent."""
    table = study.comparison
    ends = table[["diff", "ci_low", "ci_high"]].abs().max(axis=1)
    largest = ends.groupby(table["metric"]).max().to_dict()
    made = []
    rank = style.metrics(table["metric"])
    rows = table.itertuples(index=False)
    for row in sorted(rows, key=lambda row: (row.dataset, row.evolution, rank.index(row.metric), row.round)):
        bound = largest[row.metric]
        known = row.n_pairs > 1 and bound > 0
        place = (
            {name: 50 + 48 * getattr(row, name) / bound for name in ("ci_low", "diff", "ci_high")} if known else None
        )
        made.append((row, place))
    return made


def by_round(study: Study) -> list[Any]:
    """The rows of results.csv that have a round: by data, metric (headline first), round, evolver (small first)."""
    rows = study.measured[study.measured["round"].notna()]
    rank = {metric: i for i, metric in enumerate(style.metrics(rows["metric"].dropna()))}
    level = {evolver: i for i, evolver in enumerate(study.levels)}
    return sorted(
        rows.itertuples(index=False),
        key=lambda row: (
            *(row.dataset, row.evolution, rank.get(row.metric, len(rank)), row.round),
            *(level.get(row.evolver, -1), row.run),
        ),
    )


def reasons(study: Study) -> dict[str, Any]:
    """Rejects by reason (rows) and evolver (columns) over completed jobs, with what was made in all: of what rounds of
    evolution made, as the terminal counts them, and of the seeds."""
    kinds = []
    for what, evolved in (("records that the rounds made", True), ("seeds", False)):
        made: Counter[str] = Counter()
        table: dict[str, Counter[str]] = {}
        for job in study.jobs:
            for round, counts in job.rounds.items():
                if (int(round) > 0) == evolved:
                    made[job.facts["evolver"]] += counts.get("made", 0)
                    for reason, n in counts.get("reasons", {}).items():
                        table.setdefault(reason, Counter())[job.facts["evolver"]] += n
        if table:
            kinds.append((what, made, sorted(table.items(), key=lambda item: (-item[1].total(), item[0]))))
    asked = {job.facts["evolver"] for job in study.jobs if job.rounds}
    return {"evolvers": [level for level in ["", *study.levels] if level in asked], "kinds": kinds}


def left(study: Study) -> dict[str, Any]:
    """The evolvers, and step → evolver → records that it was given, made and left, and why the others went; summed over
    jobs, unfinished ones included."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for job in study.jobs:
        for step in job.steps:
            scores = job.folder / "scores" / f"{step['step']}.jsonl"
            if not scores.is_file():  # else it is a metric or a benchmark
                by = table.setdefault(step["step"], {})
                row = by.setdefault(job.facts["evolver"], {"reasons": Counter()})
                row["reasons"].update(plain(step.get("reasons")))
                for count in ("in", "made", "out"):
                    row[count] = row.get(count, 0) + (step.get(count) or 0)
    reached = {evolver for by in table.values() for evolver in by}
    return {"evolvers": [level for level in ["", *study.levels] if level in reached], "steps": table}


def costs(study: Study) -> list[dict[str, Any]]:
    """A row per evolver × step, summed over jobs, failed ones included: they cost as well. A row of totals ends it."""
    keys = ("requests", "cached", "prompt_tokens", "completion_tokens", "usd", "seconds")
    table: dict[tuple[str, str], Counter[str]] = {}
    for job in study.jobs:
        for step in job.steps:
            for name in ((job.facts["evolver"], step.get("step", "")), ("all", "")):
                row = table.setdefault(name, Counter())
                row.update(
                    {key: step.get(key) or 0 for key in keys} | {"times": 1, "reused": int(bool(step.get("reused")))}
                )
    total = table.pop(("all", ""), None)
    rows = [{"evolver": evolver, "step": step} | dict(row) for (evolver, step), row in table.items()]
    return rows + ([{"evolver": "all", "step": "all"} | dict(total)] if total else [])


def config_text(job: Job) -> str:
    path = job.folder / ".hydra" / "config.yaml"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def manifests(study: Study) -> dict[str, str]:
    """Step of the first job → its manifest: what the artifact depends on, weights and prompts by hash."""
    found = {}
    for step in study.jobs[0].steps:
        path = step["path"] / "manifest.json"
        if path.is_file():
            manifest, problems = read_json(path)
            study.warnings.extend(f"step {step['step']}: {problem}" for problem in problems)
            found[step["step"]] = "\n".join(problems) or json.dumps(manifest, indent=1, ensure_ascii=False)
    return found


def versions() -> dict[str, str]:
    """Installed where the report is made: all that is known of jobs that did not write theirs."""
    found = {distribution.name.lower(): distribution.version for distribution in distributions()}
    return {name: found[name] for name in ("evodistill", *VERSIONS) if name in found}


def commands(study: Study) -> list[str]:
    sweep = read_yaml(study.folder / "multirun.yaml") or (study.jobs[0].hydra("hydra") if len(study.jobs) == 1 else {})
    given = plain(plain(plain(sweep).get("hydra")).get("overrides"))
    words = [
        *(given.get("task") or []),
        *(word for word in given.get("hydra") or [] if not word.startswith("hydra.mode=")),
    ]
    many = len(study.jobs) > 1
    again = [shlex.join(["python", "run.py", *(["-m"] if many else []), *words])] if words else []
    return [*again, shlex.join(["python", "-m", "analysis.study", str(study.folder)])]


def clip(text: str, longest: int = sample.LONGEST) -> str:
    text = str(text)
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest:,} more characters)"


def count(value: float | None) -> str:
    """Whole numbers with thousands apart; a dash where there is none."""
    import pandas as pd

    return "–" if pd.isna(value) else f"{value:,.0f}"
