"""Find the evolving method that fails least often (Auto Evol-Instruct, arXiv 2406.00770 §3).

In each step the optimizer reads how a mini-batch evolved under the best method so far, says what went wrong, and
writes several new methods. Each is tried on the same dev rows: they are evolved and answered, and the answers tell the
failures (`answer.py`). The best method so far competes with the new ones, so the rate never rises.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from evodistill import prompt
from evodistill.backend import Backend, Chat, Completion, Sampling, chat
from evodistill.evolution.method import SLOT, Method, parse_method
from evodistill.evolution.optimizer.answer import FORMS, failure
from evodistill.evolution.optimizer.candidate import Candidate, tree
from evodistill.metric.complexity_score import HIGH, LOW
from evodistill.parse import parse_score
from evodistill.record import Record, digest

log = logging.getLogger(__name__)

ANALYSE, IMPROVE = "auto_evol/analyse", "auto_evol/improve"
COMPLEXITY = "complexity_score/intent"
SHOWN = 2000  # characters of each stage that the optimizer reads
SCORING = Sampling(max_tokens=16)

Stages = Sequence[str]  # of one row: its instruction, then what it became, round by round
Evolve = Callable[[Sequence[tuple[Method, Record]]], list[Record]]  # greedily; a child for each, marked where it failed


@dataclass(frozen=True)
class FailureRate:
    """Steps, candidates and rows as in the paper; it does not say how many rounds a trajectory has."""

    model: str  # role that analyses and rewrites methods
    answerer: str  # role that answers the evolved dev rows
    judge: str | None = None  # role that scores complexity where candidates tie; null = the shorter method wins
    form: str = "strict"  # strict: the paper's appendix | loose: its main text
    steps: int = 10
    candidates: int = 5  # a step
    batch: int = 10  # rows whose trajectories the optimizer reads in a step
    rounds: int = 1  # of a trajectory
    dev: int = 50  # rows, the same for all candidates
    pool: int = 2000  # rows from which dev rows and mini-batches come
    patience: int = 1  # steps without a lower rate, after which it stops
    seed: int = 0
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.6, top_p=0.95, max_tokens=2048))
    answering: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        for name in ("steps", "candidates", "batch", "rounds", "dev", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")
        if self.pool <= self.dev:
            raise ValueError(f"pool must be larger than dev={self.dev}, got {self.pool}")
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model, self.answerer, *([self.judge] if self.judge else []))

    @property
    def prompts(self) -> dict[str, Sequence[str]]:
        asked: dict[str, Sequence[str]] = {ANALYSE: ("cases",), IMPROVE: ("method", "feedback", "slot")}
        return asked | ({COMPLEXITY: ("instruction", "input")} if self.judge else {})

    def __call__(
        self, start: Method, records: Sequence[Record], evolve: Evolve, models: Mapping[str, Backend]
    ) -> list[Candidate]:
        """All candidates, the initial method first; the last one `kept` is the best."""
        dev, train = self.split(records)
        [trial] = self.tried([Candidate("0", method=start, kept=True)], dev, evolve, models)
        best = trial.candidate
        tried, idle = [best], 0
        for step in range(1, self.steps + 1):
            if best.rate == 0 or idle == self.patience:
                break
            assert best.method
            rows = random.Random(f"{self.seed}:{step}:batch").sample(train, min(self.batch, len(train)))
            cases = self.trajectories(best.method, rows, evolve)
            proposed = self.proposed(best, cases, step, {c.method for c in tried}, models[self.model])
            made = self.judged(best, self.tried(proposed, dev, evolve, models), dev, models)
            idle = 0 if any(c.kept for c in made) else idle + 1
            best = next((c for c in made if c.kept), best)
            tried += made
        log.info(
            "failure rate on %d dev rows %.3f -> %.3f, %d steps, %d methods tried\n%s",
            len(dev),
            tried[0].rate,
            best.rate,
            tried[-1].step,
            sum(c.rate is not None for c in tried),
            tree(tried),
        )
        return tried

    def split(self, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """(dev rows, rows for mini-batches), the same for every evolver and in any order of the records."""
        ordered = sorted(records, key=lambda record: (digest([self.seed, "pool", record.origin.seed]), record.id))
        ordered = ordered[: self.pool]
        size = min(self.dev, max(1, len(ordered) // 2))
        if size < self.dev:
            log.warning("%d records are too few for dev=%d: %d dev rows", len(records), self.dev, size)
        return ordered[:size], ordered[size:] or ordered[:size]

    def trajectories(self, method: Method, rows: Sequence[Record], evolve: Evolve) -> list[list[str]]:
        """What each row was and became, cut to what an optimizer can read; a failed stage ends with its raw reply."""
        stages = [[row.prompt] for row in rows]
        lines = dict(enumerate(rows))
        for _ in range(self.rounds):
            children = evolve([(method, line) for line in lines.values()])
            for number, child in zip(list(lines), children, strict=True):
                if child.fault:
                    stages[number].append(f"[failed: {child.fault.reason} {child.fault.detail}] {child.fault.raw}")
                    del lines[number]
                else:
                    stages[number].append(child.prompt)
                    lines[number] = child
        return [[stage[:SHOWN] for stage in row] for row in stages]

    def proposed(
        self, best: Candidate, cases: Sequence[Stages], step: int, known: set[Method | None], optimizer: Backend
    ) -> list[Candidate]:
        """The candidates of a step: as many analyses, and a method of each."""
        assert best.method
        sampling = replace(self.sampling, seed=self.sampling.seed + step)
        analyses = optimizer.generate([chat(prompt.render(ANALYSE, cases=cases))] * self.candidates, sampling)
        asked = [improving(best.method, analysis.text) for analysis in analyses]
        replies = optimizer.generate(asked, sampling)
        made = []
        for draw, (analysis, reply) in enumerate(zip(analyses, replies, strict=True), 1):
            candidate = replace(
                read(reply), id=f"{step}.{draw}", parent=best.id, step=step, feedback=analysis.text.strip()
            )
            if candidate.method in known and not candidate.refused:
                candidate = replace(candidate, refused="known")
            known = known | {candidate.method}
            made.append(candidate)
        return made

    def tried(
        self, candidates: Sequence[Candidate], dev: Sequence[Record], evolve: Evolve, models: Mapping[str, Backend]
    ) -> list[Trial]:
        """The candidates with their failures on the dev rows. An instruction that cannot be read or that the
        eliminator refuses is a failure too: else a method that changes nothing would be the best."""
        usable = [candidate for candidate in candidates if not candidate.refused]
        evolved = evolve([(candidate.method, row) for candidate in usable for row in dev if candidate.method])
        whole = [child for child in evolved if not child.fault]
        answers = iter(models[self.answerer].generate([chat(child.prompt) for child in whole], self.answering))
        reasons = [child.fault.reason if child.fault else self.shown(next(answers)) for child in evolved]
        trials = {}
        for number, candidate in enumerate(usable):
            part = slice(number * len(dev), (number + 1) * len(dev))
            failures = {row.id: reason for row, reason in zip(dev, reasons[part], strict=True) if reason}
            measured = replace(candidate, failures=failures, rate=len(failures) / len(dev))
            trials[candidate.id] = Trial(measured, evolved[part])
        return [trials.get(candidate.id, Trial(candidate, [])) for candidate in candidates]

    def shown(self, answer: Completion) -> str:
        return "no_reply" if answer.error else failure(answer.text, self.form)  # type: ignore[arg-type]

    def judged(
        self, best: Candidate, trials: Sequence[Trial], dev: Sequence[Record], models: Mapping[str, Backend]
    ) -> list[Candidate]:
        """The candidates, one of them `kept` if its rate is lower than the best so far. Among equals that is the one
        with the larger judged gain in complexity, then the shorter one, then the earlier one."""
        made = [trial.candidate for trial in trials]
        rates = [candidate.rate for candidate in made if candidate.rate is not None]
        if not rates or best.rate is None or min(rates) >= best.rate:
            return made
        tied = [number for number, candidate in enumerate(made) if candidate.rate == min(rates)]
        if len(tied) > 1 and self.judge:
            for number in tied:
                made[number] = replace(made[number], gain=self.gain(trials[number], dev, models[self.judge]))
        won = min(tied, key=lambda number: preference(made[number]))
        made[won] = replace(made[won], kept=True)
        return made

    def gain(self, trial: Trial, dev: Sequence[Record], judge: Backend) -> float | None:
        """Mean gain in judged complexity over the dev rows that evolved and whose two scores can be read."""
        pairs = [(row, child) for row, child in zip(dev, trial.children, strict=True) if not child.fault]
        replies = judge.generate([scoring(record) for pair in pairs for record in pair], SCORING)
        scores = [parse_score(reply.text, LOW, HIGH).value for reply in replies]
        gains = [
            new - old for old, new in zip(scores[::2], scores[1::2], strict=True) if old is not None and new is not None
        ]
        return fmean(gains) if gains else None


@dataclass(frozen=True)
class Trial:
    """A candidate, and what the dev rows became under it; nothing where it was refused."""

    candidate: Candidate
    children: Sequence[Record]


def preference(candidate: Candidate) -> tuple[float, int]:
    assert candidate.method
    return (LOW - HIGH if candidate.gain is None else candidate.gain) * -1, len(candidate.method.text)


def improving(method: Method, feedback: str) -> Chat:
    return chat(prompt.render(IMPROVE, method=method.text, feedback=feedback.strip(), slot=SLOT))


def scoring(record: Record) -> Chat:
    return chat(prompt.render(COMPLEXITY, instruction=record.instruction, input=record.input))


def read(reply: Completion) -> Candidate:
    """The method in an optimizer's reply, or why there is none."""
    if reply.error:
        return Candidate("", refused="no_reply", raw=reply.error)
    if reply.finish_reason == "length":
        return Candidate("", refused="truncated", raw=reply.text)
    found = parse_method(reply.text)
    return Candidate("", method=found.value, refused=found.reason, raw=reply.text if found.reason else "")
