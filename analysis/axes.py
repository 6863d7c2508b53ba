"""What the jobs of a study differ in: the factor that is compared, and the settings within which it is.

`status.json` names a job's models, data and method. Whatever else a study sweeps over (a temperature, a share, a round)
stands in the overrides of its jobs: that is the job's setting. A comparison of evolvers at six temperatures is six
comparisons, and one of five selections by one evolver is a comparison of settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.jobs import Job

# what differs and is compared, the first of these with several values; no dataset: two of them share no seed
FACTORS = ("evolver", "setting", "evolution", "student", "teacher", "judge")
# overrides that facts tell of already, that say how and where a job runs, or what is measured: what both sides have
# measured is compared, whatever one of them has beside it
KNOWN = ("dataset", "evolution", "seed", "suite", "experiment", "study", "scale", "artifacts", "dry_run", "name")
KNOWN += ("metric", "benchmark", "benchmarked", "max_rejected")
ROLES = ("evolver", "teacher", "student", "judge")  # of which the facts name the model
HOW = ("hydra", "tracker", "backend@", "hardware")
PLACES = {"engine", "environment", "base_url", "key_env"}  # where a model runs, and how fast


def settings(jobs: Sequence[Job]) -> list[str]:
    """A job's overrides that differ among the jobs and are no fact: "temperature=0.7"; "" where there are none."""
    given = [overrides(job) for job in jobs]
    differ = differing(jobs, given)
    names = {key: key.rpartition(".")[2].partition("@")[0] for key in differ}
    if len(set(names.values())) < len(names):
        names = {key: key for key in differ}
    return [", ".join(f"{names[key]}={found[key]}" for key in differ if key in found) for found in given]


def differing(jobs: Sequence[Job], given: Sequence[dict[str, str]]) -> list[str]:
    keys = list(dict.fromkeys(key for found in given for key in found))
    return [key for key in keys if len({found.get(key) for found in given}) > 1 and not described(key, jobs, given)]


def overrides(job: Job) -> dict[str, str]:
    """key → value of those that make a setting."""
    words = [str(word).lstrip("+").partition("=") for word in job.hydra("overrides") or []]
    models = (*KNOWN, *(f"model@{role}" for role in ROLES))
    return {
        key: value
        for key, sign, value in words
        if sign and key not in models and not key.startswith(HOW) and not PLACES & set(key.split(".")[1:])
    }


def described(key: str, jobs: Sequence[Job], given: Sequence[dict[str, str]]) -> bool:
    """Whether it says what the name of a role's model says: `evolver.path`, where each evolver has one path. Where one
    evolver has two, these are two settings."""
    role, dot, _ = key.partition(".")
    if not dot or role not in ROLES:
        return False
    values: dict[str, set[str | None]] = {}
    for job, found in zip(jobs, given, strict=True):
        if job.facts[role]:
            values.setdefault(str(job.facts[role]), set()).add(found.get(key))
    return all(len(of_model) == 1 for of_model in values.values())


def untouched(jobs: Sequence[Job], compared: str) -> set[str]:
    """Roles that are the same model on both sides, though a benchmark asked them: the config holds them, so nobody
    trained them, and what is compared is something else."""
    asked = next((job for job in jobs if any("/" in metric for metric in job.metrics)), None)
    if asked is None:
        return set()
    changed = {compared}
    if compared == "setting":
        changed |= {key.partition(".")[0] for key in differing(jobs, [overrides(job) for job in jobs])}
    if "benchmark" in changed:  # each is asked in another way
        return set()
    named = (asked.hydra("config") or {}).items()
    return ({str(key) for key, node in named if isinstance(node, dict)} | set(ROLES)) - changed


def factor(jobs: Sequence[Job]) -> str:
    """What is compared; the evolver where nothing differs."""
    return next((name for name in FACTORS if len(levels(jobs, name)) > 1), FACTORS[0])


def levels(jobs: Sequence[Job], name: str) -> list[str]:
    return list(dict.fromkeys(str(job.facts[name]) for job in jobs if job.facts[name]))


def seen(jobs: Sequence[Job], compared: str) -> list[Job]:
    """The jobs under the names that tables and figures group by: as `evolver` the level of what is compared, as
    `evolution` the method with what else differs, "evol_instruct, llama3-8b, temperature=0.7"."""
    within = [name for name in ("student", "setting") if name != compared and len(levels(jobs, name)) > 1]
    return [replace(job, facts=job.facts | names(job.facts, compared, within)) for job in jobs]


def names(facts: dict[str, Any], compared: str, within: Sequence[str]) -> dict[str, str]:
    method = "" if compared == "evolution" else str(facts["evolution"])
    parts = [method, *(str(facts[name]) for name in within)]
    return {"evolver": str(facts[compared]), "evolution": ", ".join(part for part in parts if part)}
