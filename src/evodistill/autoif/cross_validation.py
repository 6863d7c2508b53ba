"""AutoIF, stage 3: functions and cases of a constraint judge one another (arXiv 2406.13542 §3.1).

A case is kept if enough functions agree with it, a function if it is right about enough of the kept cases, a constraint
if enough of both are left. The functions run in the sandbox; what they return is compared here, outside of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evodistill.autoif import Case, Function, given, meets, read_bound, told, with_extra
from evodistill.backend import Backend
from evodistill.record import Record
from evodistill.sandbox import Outcome, Program, Sandbox

NAME = "evaluate"


@dataclass(frozen=True)
class CrossValidation:
    """Bounds are written as in AutoIF's tables: "> 0.5", ">= 0.8"; a number alone must be reached."""

    sandbox: Sandbox
    case_agreement: str | float = "> 0.5"  # share of the functions, those that run, with a case's outcome
    function_accuracy: str | float = "> 0.5"  # share of the kept cases that a function gets right
    min_functions: int = 1  # distinct ones that were written
    min_cases: int = 1
    min_kept_functions: int = 1  # that are left
    min_kept_cases: int = 1
    # a case is judged only by functions that another reply wrote too (AI10)
    leave_own_reply_out: bool = True
    # kept cases of both outcomes, and functions that are right about one of each: no constant function (AI15)
    both_outcomes: bool = True

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        read_bound(self.case_agreement)
        read_bound(self.function_accuracy)
        for name in ("min_functions", "min_cases", "min_kept_functions", "min_kept_cases"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        tested = [record for record in records if not record.fault and not self.too_few(record)]
        # one program a function: a fresh namespace for each, and all cases at once (AI7, AI9)
        programs = (
            Program(function["code"], NAME, [[case["text"]] for case in given(record, "cases")])
            for record in tested
            for function in given(record, "functions")
        )
        outcomes = self.sandbox.run(programs)
        done = {}
        for record in tested:
            verdicts = [next(outcomes) for _ in given(record, "functions")]
            done[record.id] = self.validated(record, verdicts)
        return [done.get(record.id) or self.short(record) for record in records]

    def too_few(self, record: Record) -> str:
        """Which of functions and cases there are too few of; nothing is run then."""
        functions, cases = (len(given(record, name)) for name in ("functions", "cases"))
        if functions < self.min_functions:
            return f"few_functions: {functions} written, min_functions={self.min_functions}"
        return f"few_cases: {cases} written, min_cases={self.min_cases}" if cases < self.min_cases else ""

    def short(self, record: Record) -> Record:
        if record.fault:
            return record
        reason, _, detail = self.too_few(record).partition(": ")
        return record.reject(reason, detail)

    def validated(self, record: Record, outcomes: list[list[Outcome]]) -> Record:
        """The constraint with what is left of its functions and cases; all keep the order in which they were written
        (AI14). `outcomes` holds a list per function, with an outcome per case."""
        functions: list[Function] = given(record, "functions")
        cases: list[Case] = given(record, "cases")
        right = [[correct(outcome, case) for outcome, case in zip(row, cases, strict=True)] for row in outcomes]
        # one that never says true or false, whatever the case, is no judge: it neither confirms nor denies
        alive = [any(not outcome.reason and isinstance(outcome.value, bool) for outcome in row) for row in outcomes]
        kept_cases: dict[int, Case] = {}
        judged = False
        for column, case in enumerate(cases):
            judges = [row for row, function in enumerate(functions) if alive[row] and self.may_judge(function, case)]
            if judges:
                judged = True
                agreement = sum(right[row][column] for row in judges) / len(judges)
                if meets(agreement, self.case_agreement) and agreement > 0:
                    kept_cases[column] = {**case, "agreement": agreement}
        kept: list[Function] = []
        best = 0.0
        for row, function in enumerate(functions):
            hits = [column for column in kept_cases if right[row][column]]
            accuracy = len(hits) / len(kept_cases) if kept_cases else 0.0
            best = max(best, accuracy)
            constant = self.both_outcomes and len({cases[column]["follows"] for column in hits}) < 2
            if hits and meets(accuracy, self.function_accuracy) and not constant:
                kept.append({**function, "accuracy": accuracy})
        errors = told(outcome.reason for row in outcomes for outcome in row)
        counts = {
            "functions_written": len(functions),
            "cases_written": len(cases),
            "errors": dict(Counter(outcome.reason for row in outcomes for outcome in row if outcome.reason)),
        }
        done = with_extra(record, functions=kept, cases=list(kept_cases.values()), cross_validation=counts)
        detail = f"{len(kept_cases)} of {len(cases)} cases, {len(kept)} of {len(functions)} functions kept"
        detail += f", best accuracy {best:.2f}" + (f"; calls without a value: {errors}" if errors else "")
        if not judged:
            own = " of another reply" if self.leave_own_reply_out else ""
            return done.reject("no_judge", f"{detail}; no case has a function{own} that gives true or false")
        if len(kept_cases) < self.min_kept_cases:
            return done.reject("no_agreed_case" if not kept_cases else "few_agreed_cases", detail)
        if self.both_outcomes and len({case["follows"] for case in kept_cases.values()}) < 2:
            return done.reject("one_sided_cases", detail)
        if len(kept) < self.min_kept_functions:
            return done.reject("no_accurate_function" if not kept else "few_accurate_functions", detail)
        return done

    def may_judge(self, function: Function, case: Case) -> bool:
        """Not a function that only the case's own reply wrote."""
        own = len(case["replies"]) == 1 and function["replies"] == case["replies"]
        return not (self.leave_own_reply_out and own)


def correct(outcome: Outcome, case: Case) -> bool:
    """True only for the truth value itself: neither 1 nor "true" nor an object that claims to equal it (AI11)."""
    return not outcome.reason and outcome.value is case["follows"]
