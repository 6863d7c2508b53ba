"""Files → pages of text: PDF by pypdfium2 (pypdf where that fails), HTML, Markdown, plain text, told apart by content.

    extract(Path("a.pdf"), Limits())      Extracted(pages=["…", "…"], kind="pdf", …)

PDFium is not thread-safe: `extract_all` uses processes. docling (layout, tables, OCR) is an extra behind the same call.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from evodistill.document import PAGE

log = logging.getLogger(__name__)
READERS = ("pypdfium2", "pypdf", "docling")
SCANNED = 50  # characters a page: a PDF with fewer in the median page is a picture of text
HTML = re.compile(rb"\A\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
BLOCKS = [
    "p",
    "div",
    "li",
    "tr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "pre",
    "blockquote",
    "section",
    "article",
    "dd",
    "dt",
]


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


class Unreadable(Exception):
    """`code` is the fault, the message its detail."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def extract_all(paths: Iterable[Path], limits: Limits, reader: str, workers: int) -> Iterator[tuple[Path, Extracted]]:
    """In order of the paths; a file that kills its process (PDFium is C) costs only itself."""
    waiting = list(paths)
    if workers < 2 or len(waiting) < 2:
        for path in waiting:
            yield path, extract(path, limits, reader)
        return
    # spawn: a fork would carry the locks of threads that are not there
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [(path, pool.submit(extract, path, limits, reader)) for path in waiting]
        for path, future in futures:
            try:
                yield path, future.result()
            except OSError as error:  # BrokenProcessPool
                yield path, Extracted(fault="damaged", detail=f"the reader died on it or on another file: {error}")


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
            pages, total, used = pdf(data, limits, reader)
            found = replace(found, n_pages=total, reader=used)
            if median(len(page.strip()) for page in pages) < SCANNED and total > 0:
                least = f"the median page has fewer than {SCANNED} characters: a scan; OCR it, or reader=docling"
                raise Unreadable("scanned", least)
        else:
            kind, pages = text_pages(path, data)
            found = replace(found, kind=kind, n_pages=len(pages))
    except Unreadable as error:
        return replace(found, fault=error.code, detail=str(error))
    whole = [page.replace(PAGE, "\n").replace("\r\n", "\n").replace("\r", "\n") for page in pages]
    n_chars = sum(map(len, whole))
    if not n_chars or not any(page.strip() for page in whole):
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


def pdf(data: bytes, limits: Limits, reader: str) -> tuple[list[str], int, str]:
    """(pages, number of pages in the file, reader that read it)."""
    if reader == "docling":
        return (*by_docling(data, limits), reader)
    if reader == "pypdf":
        return (*by_pypdf(data, limits), reader)
    try:
        return (*by_pdfium(data, limits), reader)
    except Unreadable as first:
        if first.code != "damaged":
            raise
        try:
            return (*by_pypdf(data, limits), "pypdf")
        except Unreadable as second:
            raise Unreadable(second.code, f"pypdfium2: {first}; pypdf: {second}") from None


def by_pdfium(data: bytes, limits: Limits) -> tuple[list[str], int]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        code = "encrypted" if "assword" in str(error) else "damaged"
        raise Unreadable(code, "it needs a password" if code == "encrypted" else str(error)) from None
    try:
        total, pages = len(document), []
        if not total:
            raise Unreadable("empty", "the PDF has no pages")
        for number in range(min(total, limits.max_pages or total)):
            try:
                page = document[number]
                text = page.get_textpage()
                pages.append(text.get_text_bounded() or "")
                text.close()
                page.close()
            except pypdfium2.PdfiumError as error:
                raise Unreadable("damaged", f"page {number + 1}: {error}") from None
    finally:
        document.close()
    # U+FFFE and U+0002 are PDFium's marks of a hyphen at the end of a line; one of them is enough
    return [page.replace("￾", "\x02") for page in pages], total


def by_pypdf(data: bytes, limits: Limits) -> tuple[list[str], int]:
    import io

    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("encrypted", "it needs a password")
        total = len(reader.pages)
        if not total:
            raise Unreadable("empty", "the PDF has no pages")
        pages = [reader.pages[number].extract_text() for number in range(min(total, limits.max_pages or total))]
    except (
        PyPdfError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # of a broken file (N9)
        raise Unreadable("damaged", f"{type(error).__name__}: {error}") from None
    return [re.sub(r"(?<=\w)[-‐]\n(?=\w)", "\x02", page) for page in pages], total


def by_docling(data: bytes, limits: Limits) -> tuple[list[str], int]:
    import io

    from docling.datamodel.base_models import DocumentStream  # type: ignore[import-not-found]
    from docling.document_converter import DocumentConverter  # type: ignore[import-not-found]
    from docling.exceptions import ConversionError  # type: ignore[import-not-found]

    try:
        done = DocumentConverter().convert(
            DocumentStream(name="document.pdf", stream=io.BytesIO(data)), max_num_pages=limits.max_pages or 10**9
        )
    except ConversionError as error:
        raise Unreadable("damaged", str(error)) from None
    total = len(done.document.pages)
    return [done.document.export_to_markdown(page_no=number) for number in range(1, total + 1)], total


def text_pages(path: Path, data: bytes) -> tuple[str, list[str]]:
    """(kind, pages) of what is no PDF; a form feed in a text file is a page's end."""
    if data.startswith(ZIP):
        raise Unreadable("unsupported", "a zip archive (docx, pptx, epub, …): convert it to PDF, HTML or text")
    if data.startswith(OLE):
        raise Unreadable("unsupported", "an old Office file: convert it to PDF, HTML or text")
    if HTML.match(data[:4096].lstrip(b"\xef\xbb\xbf")):
        return "html", [from_html(data)]
    text = decoded(data)
    kind = "markdown" if path.suffix.lower() in (".md", ".markdown") else "text"
    return kind, text.split(PAGE)


def decoded(data: bytes) -> str:
    """UTF-8, or what charset-normalizer finds; control characters other than white space are the mark of no text."""
    from charset_normalizer import from_bytes

    if not data.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in data[:8192]:
        raise Unreadable("binary", "holds NUL bytes: no text, whatever its name says")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        best = from_bytes(data[: 1 << 20]).best()
        if best is None:
            raise Unreadable("binary", "no encoding fits its bytes: no text, whatever its name says") from None
        text = data.decode(best.encoding, "replace")
    odd = sum(character < " " and character not in "\t\n\r\f\x0b" for character in text[:100_000])
    if odd > 0.02 * len(text[:100_000]):
        raise Unreadable("binary", f"{odd} control characters: no text, whatever its name says")
    return text


def from_html(data: bytes) -> str:
    """The text of the body, a blank line between blocks; scripts, styles and navigation left out."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(data, "html.parser")
    for tag in soup(["script", "style", "noscript", "template", "nav", "head", "svg"]):
        tag.decompose()
    for tag in soup(["br"]):
        tag.replace_with("\n")
    for tag in soup.find_all(BLOCKS):
        tag.insert_before("\n\n")
        tag.append("\n\n")
    return re.sub(r"\n\s*\n\s*", "\n\n", soup.get_text())
