"""PDFs of several layouts, made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from document_text import PROSE
from fpdf import FPDF

from evodistill.record import Record


@pytest.fixture
def make_pdf(tmp_path: Path) -> Callable[..., Path]:
    """A PDF with these pages of lines."""

    def make(pages: Iterable[Iterable[str]], name: str = "made.pdf", password: str = "") -> Path:
        pdf = FPDF()
        pdf.set_font("Helvetica", size=11)
        if password:
            pdf.set_encryption(owner_password="owner", user_password=password)
        for lines in pages:
            pdf.add_page()
            for line in lines:
                pdf.cell(text=line, new_x="LMARGIN", new_y="NEXT")
        path = tmp_path / name
        pdf.output(str(path))
        return path

    return make


@pytest.fixture
def passages() -> list[Record]:
    """Three chunks of one document."""
    texts = [PROSE, PROSE.replace("harbour", "lighthouse").replace("1821", "1904"), "Bread needs flour. " * 20]
    return [
        Record.seed(
            "", text, index=number, document="village.pdf", pages=[number + 1, number + 1], start=0, end=len(text)
        )
        for number, text in enumerate(texts)
    ]
