"""Files → pages of text, told apart by content, not by name.

extract(Path("a.pdf"), Limits())      Extracted(pages=("…", "…"), kind="pdf", …)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Protocol

from evodistill.document import PAGE, Unreadable
from evodistill.document.pdf import READERS, pdf_pages
from evodistill.document.text import text_pages

SCANNED = 50  # characters a page: a PDF with fewer in the median page is a picture of text


@dataclass(frozen=True)
class Limits:
    """null = no limit. What lies beyond one is counted, never lost in silence (N3)."""

    max_pages: int | None = None
    max_chars: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_pages", "max_chars"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be ≥ 1, or null for no limit, got {value}")


@dataclass(frozen=True)
class Extracted:
    """One file. `fault` is empty or one of encrypted, damaged, scanned, empty, unsupported, binary, unreadable."""

    pages: tuple[str, ...] = ()
    kind: str = ""
    fault: str = ""
    detail: str = ""
    sha256: str = ""
    reader: str = ""
    n_pages: int = 0  # of the file; more than `pages` where a limit cut
    n_chars: int = 0  # of the pages that were read, before max_chars


class Extract(Protocol):
    def __call__(self, path: Path) -> Extracted: ...


def extract_all(paths: Iterable[Path], limits: Limits, reader: str, workers: int) -> Iterator[tuple[Path, Extracted]]:
    """In order of the paths."""
    work: Extract = partial(extract, limits=limits, reader=reader)
    waiting = list(paths)
    yield from zip(waiting, isolated(work, waiting, workers) if len(waiting) > 1 else map(work, waiting), strict=True)


def isolated(work: Extract, paths: list[Path], workers: int) -> Iterator[Extracted]:
    """In order. PDFium is C: a file that kills its process takes the pool with it and costs only itself. The first file
    without a result is done again alone, the rest in another pool."""
    if workers < 2:
        yield from map(work, paths)
        return
    waiting = paths
    while waiting:
        done = 0
        for found in pooled(work, waiting, workers):
            yield found
            done += 1
        waiting = waiting[done:]
        if waiting:
            died = Extracted(fault="damaged", detail="the process that read it died")
            yield next(pooled(work, waiting[:1], 1), died)
            waiting = waiting[1:]


def pooled(work: Extract, paths: list[Path], workers: int) -> Iterator[Extracted]:
    """In order, up to where a process died."""
    # spawn: a fork would carry the locks of threads that are not there
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(work, path) for path in paths]:
            try:
                found = future.result()
            except BrokenProcessPool:
                return
            yield found


def extract(path: Path, limits: Limits, reader: str = READERS[0]) -> Extracted:
    """The pages of a file, or why there are none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Extracted(fault="unreadable", detail=str(error.strerror))
    found = Extracted(sha256=hashlib.sha256(data).hexdigest())
    if not data.strip():
        return replace(found, fault="empty", detail="no text in the file")
    try:
        if b"%PDF-" in data[:1024]:
            found = replace(found, kind="pdf")
            pages, total, used = pdf_pages(data, limits.max_pages, reader)
            found = replace(found, n_pages=total, reader=used, kind="markdown" if used == "docling" else "pdf")
            if median(len(page.strip()) for page in pages) < SCANNED:
                least = f"the median page has fewer than {SCANNED} characters: a scan; OCR it, or reader=docling"
                raise Unreadable("scanned", least)
        else:
            kind, pages = text_pages(path, data)
            found = replace(found, kind=kind, n_pages=len(pages))
            pages = pages[: limits.max_pages]
    except Unreadable as error:
        return replace(found, fault=error.code, detail=str(error))
    whole = [page.replace(PAGE, "\n").replace("\r\n", "\n").replace("\r", "\n") for page in pages]
    n_chars = sum(map(len, whole))
    if not any(page.strip() for page in whole):
        return replace(found, fault="empty", detail="no text in the file")
    return replace(found, pages=tuple(cut(whole, limits.max_chars)), n_chars=n_chars)


def cut(pages: list[str], most: int | None) -> Iterator[str]:
    """The pages up to so many characters in all, to the character (N3: the notebook's limit is exceeded)."""
    left = sum(map(len, pages)) if most is None else most
    for page in pages:
        if left <= 0:
            return
        yield page[:left]
        left -= len(page)
