"""1,000 pages of PDF: extracted, cleaned and chunked, beside plain pypdf in the same run.

    python benchmarks/document.py [PDF] [--pages 1000]

The PDF (made here where none is named) is copied under other names until the pages are enough.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from pathlib import Path

from evodistill.dataset.document import Document
from evodistill.document.chunk import Chunk
from evodistill.document.clean import Clean
from evodistill.document.extract import Limits

WORDS = "the model writes an instruction for another model and every answer is read by a judge"


def made(path: Path, pages: int) -> Path:
    """Pages of two columns of text with a running head and a page number."""
    from fpdf import FPDF

    words = WORDS.split()
    pdf = FPDF()
    pdf.set_font("Helvetica", size=9)
    for page in range(pages):
        pdf.add_page()
        pdf.cell(text="On documents", new_x="LMARGIN", new_y="NEXT")
        for column in (10, 110):
            for line in range(55):
                pdf.set_xy(column, 25 + 4.4 * line)
                pdf.cell(text=" ".join(words[(page * 7 + line * 3 + k) % len(words)] for k in range(10)))
        pdf.set_xy(100, 280)
        pdf.cell(text=str(page + 1))
    pdf.output(str(path))
    return path


def by_pypdf(paths: list[Path]) -> int:
    from pypdf import PdfReader

    return sum(len(page.extract_text()) for path in paths for page in PdfReader(io.BytesIO(path.read_bytes())).pages)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pdf", nargs="?", type=Path)
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = given.pdf or made(folder / "made.pdf", 40)
        each = Document(path=str(source), workers=1)([], {})[0].extra["n_pages"]
        copies = -(-given.pages // each)
        (folder / "all").mkdir()
        data = source.read_bytes()
        paths = []
        for number in range(copies):  # a trailing comment makes each file another one
            paths.append(folder / "all" / f"{number:04}.pdf")
            paths[-1].write_bytes(data + f"\n% {number}\n".encode())
        started = time.perf_counter()
        documents = Document(path=str(folder / "all"), workers=given.workers, limits=Limits())([], {})
        # the texts are equal, so all but one are duplicates here: cleaned and chunked all the same
        texts = [record for record in documents for record in [documents[0]]]
        read = time.perf_counter() - started
        chunks = sum(len(Chunk()(Clean()([record], {}), {})) - 1 for record in texts)
        ours = time.perf_counter() - started
        started = time.perf_counter()
        by_pypdf(paths)
        plain = time.perf_counter() - started
    pages = copies * each
    peak = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ) / 2**20
    print(f"{pages} pages in {copies} files, {chunks} chunks")
    print(f"read {read:.1f} s, cleaned and chunked {ours - read:.1f} s, in all {ours:.1f} s; peak {peak:.2f} GiB")
    print(f"plain pypdf, text only: {plain:.1f} s; ratio {plain / ours:.1f}x")


if __name__ == "__main__":
    main()
