"""Any task of EleutherAI's lm-evaluation-harness (MATH, MMLU, C-Eval, … or a task file of yours), asked of one of
our models: `pip install -e '.[lm_eval]'`.

What a task generates from is one user turn; what it scores is plain text behind plain text. Tasks that ask whether the
most likely continuation is the given one (LAMBADA's accuracy) are refused: our backends do not say so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from evodistill import RunError
from evodistill.backend import Backend, Sampling, chat
from evodistill.benchmark.items import Texts
from evodistill.dataset import rows
from evodistill.metric import Score
from evodistill.record import Record
from evodistill.results import summary

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

MOST = 256  # tokens of a reply where the task does not say, as in the harness
Place: TypeAlias = tuple[str, int]  # task and item


@dataclass(frozen=True, kw_only=True)
class LMEval:
    """Values `TASK_METRIC` (and `_FILTER` where a task has several), a number an item where the metric is one. Numbers
    of the whole set are metrics that no item has (perplexities, corpus BLEU), and `GROUP_METRIC`, the mean that the
    harness makes of a group of tasks."""

    model: str  # role that is asked
    tasks: Sequence[str]  # names of the harness, or of include_path
    include_path: str | None = None  # a folder of task files; what it names as data may be local
    limit: int | None = None  # the first so many items of each task
    shots: int | None = None  # examples before each item; null = as the task says
    seed: int = 0  # of the choice of examples

    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("tasks is empty; name some, for example tasks=[mmlu,minerva_math]")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be ≥ 1, or null for all items, got {self.limit}")
        if self.include_path is not None and not Path(self.include_path).is_dir():
            raise ValueError(f"include_path: no such folder: {self.include_path}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def sources(self) -> tuple[str, ...]:
        """The harness by its version, task files and local data by their content."""
        files = (
            sorted(path for path in Path(self.include_path).rglob("*") if path.is_file()) if self.include_path else []
        )
        return (f"lm_eval=={installed()}", *(rows.sha256(path) for path in files))

    def ready(self) -> None:
        """Refuse at the start what would stop the benchmark after all other work."""
        self.loaded()

    def loaded(self) -> Any:
        """The tasks with their data."""
        installed()
        from datasets.exceptions import DatasetsError
        from lm_eval.tasks import TaskManager

        manager = TaskManager(include_path=self.include_path)
        if unknown := [name for name in self.tasks if not manager.match_tasks([name])]:
            raise RunError(
                f"benchmark.lm_eval.tasks: no task {unknown[0]!r} in the harness"
                + (f" or in {self.include_path}" if self.include_path else "; set include_path for task files of yours")
            )
        try:
            found = manager.load(list(self.tasks))
        except (OSError, ValueError, DatasetsError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(
                f"benchmark.lm_eval: cannot load the data of {', '.join(self.tasks)} ({reason}); "
                "a task file in include_path may name local data (dataset_path: json, dataset_kwargs.data_files)"
            ) from None
        for name, task in found["tasks"].items():
            if getattr(task, "UNSAFE_CODE", False):
                raise RunError(
                    f"benchmark.lm_eval: {name} runs what a model writes, outside the sandbox; leave it out "
                    "(benchmark=[humaneval,mbpp] runs it inside)"
                )
            if task.OUTPUT_TYPE == "loglikelihood":
                raise RunError(f"benchmark.lm_eval: {name} asks for the most likely continuation, which is not known")
            if task.OUTPUT_TYPE == "multiple_choice" and "exact_match" in (task.aggregation() or ()):
                raise RunError(
                    f"benchmark.lm_eval: exact_match of {name} asks for the most likely continuation, "
                    "which is not known; name a task file that lists acc or acc_norm instead"
                )
            if self.shots is not None or task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=self.shots or 0)
            task.set_fewshot_seed(seed=self.seed)
        return found

    def texts(self) -> Iterator[Texts]:
        """Of every item: what a task gives the model to read, and the text that is wanted, where it is one."""
        for name, task in self.loaded()["tasks"].items():
            for number, doc in enumerate(task.eval_docs):
                read, wanted = task.doc_to_text(doc), task.doc_to_target(doc)  # the number of a choice is no text
                prompts, solutions = ([text] if isinstance(text, str) else [] for text in (read, wanted))
                yield Texts(f"{name}:{number}", prompts, solutions)

    def __call__(self, models: Mapping[str, Backend]) -> list[Score]:
        tasks = self.loaded()
        from lm_eval.evaluator import evaluate

        errors: dict[Place, str] = {}
        try:
            found = evaluate(adapter(models[self.model], errors), tasks, limit=self.limit, bootstrap_iters=0)
        except ValueError as error:  # code that a model writes would run in this process, pictures
            raise RunError(f"benchmark.lm_eval: {error}") from None
        assert found is not None
        return list(scores(found, errors, self.seed))

    def whole(self, records: Sequence[Record], scores: Sequence[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        """The numbers of groups, and of tasks whose items have none of their own."""
        return {value: {0: row} for score in scores for value, row in score.extra.get("whole", {}).items()}


def installed() -> str:
    try:
        return version("lm_eval")
    except PackageNotFoundError:
        raise RunError("benchmark=lm_eval needs the harness: pip install -e '.[lm_eval]'") from None


def scores(found: Mapping[str, Any], errors: Mapping[Place, str], seed: int = 0) -> Iterator[Score]:
    """A score an item and task, with the values of all filters. The first has the numbers of the whole set too."""
    tasks = {task: by_item(samples) for task, samples in found["samples"].items()}
    whole = dict(wholes(found, tasks, errors, seed))
    for task, items in tasks.items():
        names = named(task, found["results"][task])
        for doc, given in sorted(items.items()):
            error = errors.get((task, doc), "")
            values = {names[key]: None if error else value for key, value in given.items()}
            id, extra = f"{task}:{doc}", {"whole": whole} if whole else {}
            yield Score(id, id, 0, "", values, reason="no_reply" if error else "", raw=error, extra=extra)
            whole = {}


def by_item(samples: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """Item → its numbers, by what the harness calls them: `metric,filter`. What a corpus metric is made of is none."""
    items: dict[int, dict[str, float]] = {}
    for sample in samples:
        here = items.setdefault(sample["doc_id"], {})
        for metric in sample["metrics"]:
            if isinstance(sample[metric], int | float):
                here[f"{metric},{sample['filter']}"] = float(sample[metric])
    return items


def named(name: str, results: Mapping[str, Any]) -> dict[str, str]:
    """`metric,filter` → our name for it; the filter is told where a task or group has several."""
    keys = [key for key in results if "," in key]
    several = len({key.partition(",")[2] for key in keys}) > 1
    return {key: f"{name}_{key.replace(',', '_') if several else key.partition(',')[0]}" for key in keys}


def wholes(
    found: Mapping[str, Any],
    tasks: Mapping[str, Mapping[int, Mapping[str, float]]],
    errors: Collection[Place],
    seed: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, mean with n) of each number that the harness makes of several items and that no item has.

    Where that is the mean of their numbers, items without a reply stay out of it and it has an interval. All else
    would hold their empty replies: such a number is none."""
    for name, results in found["results"].items():
        for key, value in named(name, results).items():
            if not isinstance(results[key], int | float):  # "N/A" for an error of the mean
                continue
            places = [
                (task, doc)
                for task in leaves(name, found["group_subtasks"])
                if key in found["results"][task]
                for doc in tasks[task]
            ]
            own = {(task, doc): tasks[task][doc][key] for task, doc in places if key in tasks[task][doc]}
            if own and name in tasks:
                continue
            if own and math.isclose(fmean(own.values()), results[key], abs_tol=1e-12):
                given = [None if place in errors else number for place, number in own.items()]
                yield value, summary(given, f"{seed}:{value}")
                continue
            failed = sum(place in errors for place in places)
            mean = float(results[key]) if math.isfinite(results[key]) and not failed else None
            yield value, {"mean": mean, "ci95": None, "n": len(places) - failed, "unparsed": failed}


def leaves(name: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks of a group and of the groups in it; of a task itself."""
    return [leaf for child in groups[name] for leaf in leaves(child, groups)] if name in groups else [name]


def adapter(model: Backend, errors: dict[Place, str]) -> LM:
    """Our backend as the harness knows a model. What it could not answer goes into `errors`, by task and item."""
    from lm_eval.api.model import LM

    class Adapter(LM):
        def generate_until(self, requests: list[Instance]) -> list[str]:
            asked: dict[Sampling, list[int]] = {}
            for position, request in enumerate(requests):
                asked.setdefault(sampling(*request.args[1:]), []).append(position)
            texts = [""] * len(requests)
            for style, positions in asked.items():
                replies = model.generate([chat(requests[i].args[0]) for i in positions], style)
                for i, reply in zip(positions, replies, strict=True):
                    self.failed(requests[i], reply.error)
                    texts[i] = cut(reply.text, style.stop)
            return texts

        def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
            # a space between the two belongs to the continuation, as in the harness' own models
            texts = [split(*request.args) for request in requests]
            return [(value, False) for value in self.sums(requests, texts, 1)]

        def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
            return self.sums(requests, [(request.args[0],) for request in requests], 0)

        def sums(self, requests: list[Instance], texts: Sequence[Sequence[str]], part: int) -> list[float]:
            found = model.logprobs(texts)
            for request, result in zip(requests, found, strict=True):
                self.failed(request, result.error)
            return [-math.inf if result.error else float(result.parts[part].sum()) for result in found]

        def failed(self, request: Instance, error: str) -> None:
            if error:
                errors[str(request.task_name), int(request.doc_id)] = error  # type: ignore[arg-type]

    return Adapter()


def sampling(given: Mapping[str, Any]) -> Sampling:
    """Of the settings of a task: it is greedy unless it says otherwise."""
    until = given.get("until") or ()
    drawn = given.get("do_sample", float(given.get("temperature") or 0) > 0)
    return Sampling(
        temperature=float(given.get("temperature") or 1) if drawn else 0.0,
        top_p=float(given.get("top_p") or 1),
        max_tokens=int(given.get("max_gen_toks") or given.get("max_tokens") or MOST),
        stop=(until,) if isinstance(until, str) else tuple(until),
    )


def cut(text: str, stops: Sequence[str]) -> str:
    ends = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def split(context: str, continuation: str) -> tuple[str, str]:
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation
