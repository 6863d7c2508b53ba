"""The pages of a PDF: by pypdfium2, by pypdf where that fails; docling (layout, tables, OCR) at choice.

All are permissive (PDFium BSD and Apache, pypdf BSD, docling MIT). PDFium is not thread-safe: processes.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from typing import TYPE_CHECKING

from evodistill.document import Unreadable

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

READERS = ("pypdfium2", "pypdf", "docling")
CUT = "\x02"  # a hyphen at the end of a line, whose parts are joined; PDFium has U+FFFE. The rule `hyphens` decides


def pdf_pages(data: bytes, most: int | None, reader: str) -> tuple[list[str], int, str]:
    """(the first `most` pages, number of pages in the file, reader that read it)."""
    if reader == "docling":
        return (*by_docling(data, most), reader)
    if reader == "pypdf":
        return (*by_pypdf(data, most), reader)
    try:
        return (*by_pdfium(data, most), reader)
    except Unreadable as first:
        if first.code != "damaged":
            raise
        try:
            return (*by_pypdf(data, most), "pypdf")
        except Unreadable as second:
            raise Unreadable(second.code, f"pypdfium2: {first}; pypdf: {second}") from None


def by_pdfium(data: bytes, most: int | None) -> tuple[list[str], int]:
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
        filled = document.get_formtype() != pypdfium2.raw.FORMTYPE_NONE
        if filled:
            document.init_forms()
        for number in range(min(total, most or total)):
            try:
                if filled:
                    written_out(document[number])
                page = document[number]
                text = page.get_textpage()
                # get_text_bounded loses what goes over the page's edge, and line ends on turned pages
                pages.append(text.get_text_range())
                text.close()
                page.close()
            except pypdfium2.PdfiumError as error:
                raise Unreadable("damaged", f"page {number + 1}: {error}") from None
    finally:
        document.close()
    return [page.replace("\ufffe", CUT) for page in pages], total


def written_out(page: PdfPage) -> None:
    """What is filled into a form becomes text of the page, once the page is opened again."""
    page.flatten()
    page.close()


def by_pypdf(data: bytes, most: int | None) -> tuple[list[str], int]:
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
        pages = [reader.pages[number].extract_text() for number in range(min(total, most or total))]
    # what it raises on broken files (N9)
    except (PyPdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("damaged", f"{type(error).__name__}: {error}") from None
    return [re.sub(r"(?<=\w)[-‐]\n(?=\w)", CUT, page) for page in pages], total


def by_docling(data: bytes, most: int | None) -> tuple[list[str], int]:
    """Markdown."""
    from docling.datamodel.base_models import DocumentStream  # type: ignore[import-not-found]
    from docling.document_converter import DocumentConverter  # type: ignore[import-not-found]
    from docling.exceptions import ConversionError  # type: ignore[import-not-found]

    source = DocumentStream(name="document.pdf", stream=io.BytesIO(data))
    try:  # page_range cuts; max_num_pages would refuse
        done = DocumentConverter().convert(source, page_range=(1, most or sys.maxsize))
    except ConversionError as error:
        raise Unreadable("damaged", str(error)) from None
    numbers = sorted(done.document.pages)
    return [done.document.export_to_markdown(page_no=number) for number in numbers], done.input.page_count
