"""python -m evodistill.export RUN --format FORMAT --to FOLDER
[--step STEP] [--trainer STEP] [--scores] [--extra KEY …] [--name NAME] [--push OWNER/NAME]
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.export import card, columns, formats, llama_factory, push, run
from evodistill.store import named_errors, write_text

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evodistill.export", description="What a run made, for other trainers."
    )
    parser.add_argument("run", type=Path, help="folder of a run or of a job of a sweep: runs/<name>/<time>")
    parser.add_argument("--format", choices=formats.FORMATS, default="messages")
    parser.add_argument("--to", type=Path, default=Path("exported"), help="folder; default: exported")
    parser.add_argument("--step", help="whose records; default: the last step that trains nothing")
    parser.add_argument(
        "--trainer",
        metavar="STEP",
        help="the rows that it learns, with its settings, where the run trains several models; none: all records",
    )
    parser.add_argument("--scores", action="store_true", help="add what the run's metrics found: a column a value")
    parser.add_argument("--extra", nargs="+", metavar="KEY", default=[], help="add these fields of the records' extra")
    parser.add_argument("--name", help="of the data set; default: the run's")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload it to this dataset of the Hugging Face hub too")
    parser.add_argument("--private", action="store_true", help="where --push makes the dataset: for its owner only")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        wanted = (given.step, given.name, given.push, given.private, given.trainer, given.scores, given.extra)
        for path in export(given.run, given.format, given.to, *wanted):
            print(path)
    except RunError as error:
        raise SystemExit(f"error: {error}") from None


def export(
    folder: Path,
    format: str,
    to: Path,
    step: str | None = None,
    name: str | None = None,
    repository: str | None = None,
    private: bool = False,
    trainer: str | None = None,
    scores: bool = False,
    extra: Sequence[str] = (),
) -> list[Path]:
    """The files that were written."""
    if repository:
        push.check(repository)
        if format == "datasets":
            raise RunError(
                "--push: a folder of datasets.save_to_disk is not read from the hub; choose --format messages"
            )
    made = run.read(folder, step)
    name = name or str(made.cfg.name)
    if not re.fullmatch(r"[\w.-]+", name):
        raise RunError(f"--name {name!r}: letters, digits, dot, dash and underscore only")
    paired, settings = format in formats.PAIRS, format.startswith("llama_factory")
    chosen = made.trainer(trainer, paired, settings)
    added = columns.columns(folder, made.records, format, scores, extra)
    rows, left_out = formats.rows(made.records, format, chosen)
    rows = columns.widened(rows, added)
    told = card.counted(left_out)
    if not rows:
        cure = f"; --trainer {run.NONE} takes them all" if "not_marked" in left_out else ""
        whose = f"{made.steps[-1]['step']}: none of {len(made.records)} records"
        raise RunError(f"{whose} is a row of {format} ({told}){cure}")
    with named_errors(to):
        to.mkdir(parents=True, exist_ok=True)
        data = formats.write(rows, format, to, name)
    log.info("%d rows of %d records of %s; left out: %s", len(rows), len(made.records), made.steps[-1]["step"], told)
    if copies := card.stand_ins(made):
        log.info("%s", copies)
    files = [data]
    if settings:
        files += for_llama_factory(made, data, chosen, paired, len(rows), to, name, bool(repository))
    readme = to / f"{name}.md"
    file = None if format == "datasets" else data.name
    write_text(readme, card.card(made, name, file, len(rows), left_out, columns.sources(rows, added, extra)))
    if repository:
        there = {"README.md": readme} | {file.name: file for file in files}
        log.info("uploaded: %s", push.push(repository, there, private))
    return [*files, readme]


def for_llama_factory(
    made: run.Made,
    data: Path,
    trainer: Mapping[str, Any],
    paired: bool,
    n: int,
    to: Path,
    name: str,
    public: bool,
) -> list[Path]:
    import yaml

    info = llama_factory.add_entry(to, name, llama_factory.entry(data, paired))
    role = str(trainer.get("model", "student"))
    model = made.weights(role)
    told, left = llama_factory.settings(name, paired, n, trainer)
    head = [f"cd {to.name} && llamafactory-cli train {name}.yaml"]
    head += ["gradient_accumulation_steps is for one GPU: divide it by their number", *left]
    if model is None or (public and isinstance(model, Path)):
        maker = made.maker(role)
        whose = f"which {maker} of this run makes" if maker else str(made.cfg[role].name)
        why = "they are a folder of the machine that ran it" if model else "they are not here"
        head += [f"model_name_or_path is to be set: the weights of the role {role}, {whose}; {why}"]
        log.warning("%s.yaml: %s", name, head[-1])
    else:
        told = {"model_name_or_path": str(model)} | told
    text = "".join(f"# {line}\n" for line in head) + yaml.safe_dump(told, sort_keys=False)
    write_text(to / f"{name}.yaml", text)
    return [info, to / f"{name}.yaml"]


if __name__ == "__main__":
    main()
