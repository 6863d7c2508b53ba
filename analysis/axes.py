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
# overrides that facts tell of already, or that say how and where a job runs
KNOWN = ("dataset", "evolution", "seed", "suite", "experiment", "study", "scale", "artifacts", "dry_run", "name")
ROLES = ("model@evolver", "model@teacher", "model@student", "model@judge")
HOW = ("hydra", "tracker", "backend@", "hardware")


def settings(jobs: Sequence[Job]) -> list[str]:
    """A job's overrides that differ among the jobs and are no fact: "temperature=0.7"; "" where there are none."""
    given = [overrides(job) for job in jobs]
    keys = list(dict.fromkeys(key for found in given for key in found))
    differ = [key for key in keys if len({found.get(key) for found in given}) > 1]
    names = {key: key.rpartition(".")[2].partition("@")[0] for key in differ}
    if len(set(names.values())) < len(names):
        names = {key: key for key in differ}
    return [", ".join(f"{names[key]}={found[key]}" for key in differ if key in found) for found in given]


def overrides(job: Job) -> dict[str, str]:
    """key → value of those that make a setting."""
    words = [str(word).lstrip("+").partition("=") for word in job.hydra("overrides") or []]
    return {
        key: value
        for key, sign, value in words
        if sign and key not in (*KNOWN, *ROLES) and not key.startswith(HOW) and ".engine." not in key
    }


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
