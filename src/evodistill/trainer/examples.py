"""Records to token ids: the prompt as the model reads it when it is asked, and the answer that it is to give.

Prompt and template are those of inference, by the same code (`backend/tokens.py`): a student is trained on what it will
be served (C1, C4). The answer is tokenised behind the prompt, never joined with it, since that is how it is generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from evodistill.backend import chat
from evodistill.backend.tokens import encode, repaired
from evodistill.record import Fault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # label of a token that is read and not learned, as everywhere in PyTorch
BATCH = 1000  # rows written at once


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of a prompt and of its answer, which ends with the tokenizer's end token unless it was cut."""

    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    def cut(self, limit: int) -> Example:
        """The same without the end of the answer that lies beyond `limit` tokens."""
        return replace(self, answer=self.answer[: max(0, limit - len(self.prompt))])


@dataclass(frozen=True, slots=True)
class Row:
    """What TRL's trainer reads of one record: columns of token ids, or of a text."""

    columns: Mapping[str, Sequence[int] | str]
    tokens: int
    cut: bool = False  # the end of an answer is missing


def example(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> Example | Fault:
    """The ids by the tokenizer's own chat template, or why the template does not give them."""
    asked = list(chat(prompt))
    read = encode(tokenizer, asked)
    head = text(tokenizer, asked, ask=True)
    whole = text(tokenizer, [*asked, {"role": "assistant", "content": answer}], ask=False)
    if not whole.startswith(head):
        return Fault("template_differs", "the chat template writes a prompt in another way once it is answered")
    ids: Any = tokenizer(whole[len(head) :], add_special_tokens=False, verbose=False)["input_ids"]
    end: Any = tokenizer.eos_token_id
    return Example(read, ended(ids, end))


def text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]], ask: bool) -> str:
    """The turns by the chat template, as text."""
    mended = [{"role": turn["role"], "content": repaired(turn["content"])} for turn in turns]
    rendered: Any = tokenizer.apply_chat_template(mended, add_generation_prompt=ask, tokenize=False)
    return rendered


def ended(ids: list[int], end: int | None) -> list[int]:
    """Up to the last end token: what a template writes behind it is never generated (C1). Where the template writes
    none it is added, else the student would never stop."""
    if end is None:
        return ids
    return ids[: len(ids) - ids[::-1].index(end)] if end in ids else [*ids, end]


class RowFile:
    """Writes rows to an Arrow stream of int32 lists and strings, which `datasets` maps into memory as it stands."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.tokens, self.cut = path, 0, 0, 0
        self.waiting: list[Row] = []
        self.writer: Any = None

    def __enter__(self) -> RowFile:
        self.path.unlink(missing_ok=True)  # of a run before: without rows there is no file
        return self

    def add(self, row: Row) -> None:
        self.waiting.append(row)
        self.rows, self.tokens, self.cut = self.rows + 1, self.tokens + row.tokens, self.cut + row.cut
        if len(self.waiting) == BATCH:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if not self.waiting:
            return
        ids, text = pa.list_(pa.int32()), pa.string()
        lists = {name: [row.columns[name] for row in self.waiting] for name in self.waiting[0].columns}
        table = pa.table(
            {name: pa.array(values, text if isinstance(values[0], str) else ids) for name, values in lists.items()}
        )
        self.writer = self.writer or pa.ipc.new_stream(str(self.path), table.schema)
        self.writer.write_table(table)
        self.waiting.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        if self.writer is not None:
            self.writer.close()
