"""Records as the rows that trainers read. Each row keeps the record's id, which trainers ignore: it leads back to the
record's lineage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evodistill import RunError
from evodistill.backend.tokens import repaired
from evodistill.record import Fault, Record, to_line
from evodistill.store import write_lines
from evodistill.trainer.dpo import DPO, pairs

Row = dict[str, Any]
ARRAYS = ("alpaca", "sharegpt", "llama_factory", "llama_factory_dpo")  # one JSON array, as is usual; else a line a row
FILTERS = ("truncated", "min_margin")  # of DPO, where no token is counted
NO_TRAINER: Mapping[str, Any] = {}


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def alpaca(record: Record) -> Row:
    """Stanford Alpaca's columns"""
    return {"instruction": record.instruction, "input": record.input, "output": record.output, "id": record.id}


def sharegpt(record: Record) -> Row:
    turns = [{"from": "human", "value": record.prompt}, {"from": "gpt", "value": record.output}]
    return {"conversations": turns, "id": record.id}


def messages(record: Record) -> Row:
    """As OpenAI and TRL read it"""
    return {"messages": [turn("user", record.prompt), turn("assistant", record.output)], "id": record.id}


def prompt_completion(record: Record) -> Row:
    """As TRL reads it, which then learns the completion alone"""
    asked, answer = [turn("user", record.prompt)], [turn("assistant", record.output)]
    return {"prompt": asked, "completion": answer, "id": record.id}


def table(record: Record) -> Row:
    """A record's columns, with its lineage, and its messages"""
    flat = record.to_dict()
    flat.pop("extra", None)  # differs from record to record: no column
    return flat | messages(record)


def dpo(record: Record, chosen: str, rejected: str) -> Row:
    """As TRL reads it"""
    asked = [turn("user", record.prompt)]
    sides = {"chosen": [turn("assistant", chosen)], "rejected": [turn("assistant", rejected)]}
    return {"prompt": asked, **sides, "id": record.id}


def ranking(record: Record, chosen: str, rejected: str) -> Row:
    """As LLaMA-Factory reads it"""
    asked = {"instruction": record.instruction, "input": record.input}
    return {**asked, "chosen": chosen, "rejected": rejected, "id": record.id}


ANSWERS: Mapping[str, Callable[[Record], Row]] = {
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "messages": messages,
    "prompt_completion": prompt_completion,
    "llama_factory": alpaca,
    "datasets": table,
}
PAIRS: Mapping[str, Callable[[Record, str, str], Row]] = {"dpo": dpo, "llama_factory_dpo": ranking}
FORMATS = (*ANSWERS, *PAIRS)


def rows(
    records: Iterable[Record], format: str, trainer: Mapping[str, Any] = NO_TRAINER
) -> tuple[list[Row], Counter[str]]:
    """(the rows that a trainer with these settings learns, how many records or pairs were left out, by reason)"""
    made, left_out = list[Row](), Counter[str]()
    for record in records:
        for row in rows_of(record, format, trainer):
            if isinstance(row, Fault):
                left_out[row.reason] += 1
            else:
                made.append(row)
    return made, left_out


def rows_of(record: Record, format: str, trainer: Mapping[str, Any]) -> Iterator[Row | Fault]:
    """Half characters, which trainers' files cannot hold, become U+FFFD, as where a model is trained here."""
    if trainer.get("only") and not record.extra.get(trainer["only"]):
        yield Fault("not_marked")
        return
    texts = {name: repaired(getattr(record, name)) for name in ("instruction", "input", "output")}
    record = replace(record, **texts)
    if format in ANSWERS:
        yield ANSWERS[format](record) if record.output.strip() else Fault("no_answer")
        return
    told = DPO("student", "preferred", **{key: trainer[key] for key in FILTERS if key in trainer})
    for pair in pairs(record):
        yield told.fault(pair) or PAIRS[format](record, repaired(pair["chosen"]), repaired(pair["rejected"]))


def write(made: list[Row], format: str, folder: Path, name: str) -> Path:
    """The file with the rows, or the folder that `datasets.load_from_disk` reads."""
    if format == "datasets":
        from datasets import Dataset

        try:
            made_of = Dataset.from_list(made)
        except (ValueError, TypeError) as error:  # pyarrow's own are of these
            why = str(error).splitlines()[0]
            raise RunError(f"a column has values of several types ({why}); leave it out of --extra") from None
        made_of.save_to_disk(str(folder / name))
        return folder / name
    if format in ARRAYS:
        file, lines = folder / f"{name}.json", [to_line(row).rstrip("\n") for row in made]
        write_lines(file, ["[\n", ",\n".join(lines), "\n]\n"])
    else:
        file = folder / f"{name}.jsonl"
        write_lines(file, map(to_line, made))
    return file
