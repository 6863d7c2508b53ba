"""Documents: PDF, HTML, Markdown and text files, a record each; what cannot be read is a reject with the reason.

    python run.py +experiment=document_seeds path=paper.pdf

The pages are in `input`, apart by form feeds. The steps of `evodistill.document` make seeds of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from glob import glob, has_magic
from pathlib import Path

from evodistill import RunError
from evodistill.dataset import Dataset, Row, Seed
from evodistill.document import PAGE
from evodistill.document.extract import Extracted, Limits, extract_all
from evodistill.document.pdf import READERS
from evodistill.record import Record, digest
from evodistill.stream import Seen

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Document(Dataset):
    """`path` is a file, a folder (searched whole), a glob, or a list of them."""

    path: str | Sequence[str] | None
    reader: str = READERS[0]
    limits: Limits = field(default_factory=Limits)
    workers: int = field(default=2, metadata={"identity": False})  # processes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reader not in READERS:
            raise ValueError(f"reader must be one of {', '.join(READERS)}, got {self.reader!r}")
        if self.workers < 1:
            raise ValueError(f"workers must be ≥ 1, got {self.workers}")

    @property
    def place(self) -> str:
        return self.path if isinstance(self.path, str) else ", ".join(self.path or ())

    @property
    def files(self) -> list[Path]:
        if not self.path:
            raise RunError(
                "dataset=document needs a file: path=paper.pdf (with +experiment=document_seeds), or dataset.path=…"
            )
        found: list[Path] = []
        for name in [self.path] if isinstance(self.path, str) else self.path:
            path = Path(name)
            if path.is_dir():
                found += sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
            elif path.is_file():
                found.append(path)
            elif has_magic(name) and (matched := sorted(glob(name, recursive=True))):
                found += [Path(each) for each in matched if Path(each).is_file()]
            else:
                raise RunError(f"dataset.path: {name}: no such file or folder")
        if not found:
            raise RunError(f"dataset.path: {self.place} holds no file")
        return found

    @property
    def sources(self) -> tuple[str, ...]:
        from evodistill.dataset.rows import sha256

        return tuple(sha256(path) for path in self.files)

    def rows(self) -> Iterator[Row]:
        needed(self.reader)
        for path, found in extract_all(self.files, self.limits, self.reader, self.workers):
            cut = found.n_chars - sum(map(len, found.pages))
            if not found.fault and (len(found.pages) < found.n_pages or cut):
                log.warning(
                    "%s: limits left out %d of %d pages and %d characters of the others",
                    path,
                    found.n_pages - len(found.pages),
                    found.n_pages,
                    cut,
                )
            yield Row(str(path), (path, found))

    def parse(self, value: object) -> Seed:
        raise NotImplementedError("a document's record is made whole, in `record`")

    def record(self, index: int, row: Row, places: Seen) -> Record | None:
        """The document, or its fault under the reason's own name: encrypted, damaged, scanned, … (N9)."""
        assert isinstance(row.value, tuple)
        path, found = row.value
        assert isinstance(found, Extracted)
        document = Record.seed("", PAGE.join(found.pages), index=index)
        told = {"document": path.name, "kind": found.kind, "sha256": found.sha256, "reader": found.reader}
        limits = {"n_pages": found.n_pages, "n_chars": found.n_chars}
        if found.fault:  # two broken files may both hold nothing
            id = digest(["document", index, found.sha256])
            document = replace(document, id=id, origin=replace(document.origin, seed=id))
        document = replace(document, extra={**told, **limits})
        if found.fault:
            return document.reject(found.fault, f"{row.place}: {found.detail}")
        if known := places.keep(document.id, row.place):  # identical files once
            twin = replace(document, id=digest(["duplicate", index, document.id]))
            return twin.reject("duplicate", f"{row.place}: the same text as {known}")
        return document


def needed(reader: str) -> None:
    """The libraries of the extra are there."""
    import importlib.util

    for module, package in (("pypdfium2", "document"), ("pypdf", "document"), ("bs4", "document")):
        if importlib.util.find_spec(module) is None:
            raise RunError(f"dataset=document needs {module}: pip install -e '.[{package}]'")
    if reader == "docling" and importlib.util.find_spec("docling") is None:
        raise RunError("dataset.reader=docling needs docling: pip install -e '.[docling]'")
