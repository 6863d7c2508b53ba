from pathlib import Path

import pytest
from document_text import PROSE

from evodistill.document.extract import Limits, extract, extract_all

LINES = [PROSE[:60], PROSE[60:120], "It ends here."]


@pytest.mark.parametrize("reader", ["pypdfium2", "pypdf"])
def test_a_pdf_gives_its_pages(make_pdf, reader):
    found = extract(make_pdf([LINES, ["Second page", *LINES]]), Limits(), reader)
    assert (found.kind, found.fault, found.n_pages, found.reader) == ("pdf", "", 2, reader)
    assert "harbour was built" in found.pages[0] and "Second page" in found.pages[1]


def test_the_kind_is_told_by_content_not_by_name(make_pdf, tmp_path):
    """N9"""
    renamed = make_pdf([LINES]).rename(tmp_path / "paper.txt")
    assert extract(renamed, Limits()).kind == "pdf"
    page = tmp_path / "page.pdf"
    page.write_text(
        "<!DOCTYPE html><html><body><nav>menu</nav><p>One.</p><script>x()</script><p>Two.</p></body></html>"
    )
    found = extract(page, Limits())
    assert found.kind == "html" and found.pages[0].split() == ["One.", "Two."]


def test_two_columns_are_read_one_after_the_other(tmp_path):
    from fpdf import FPDF

    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=10)
    for x, word in ((10, "left"), (110, "right")):
        for number in range(12):
            pdf.set_xy(x, 20 + 6 * number)
            pdf.cell(text=f"{word} column line number {number}")
    pdf.output(str(tmp_path / "columns.pdf"))
    text = extract(tmp_path / "columns.pdf", Limits()).pages[0]
    assert text.index("left column line number 11") < text.index("right column line number 0")


def damaged(make_pdf, tmp_path):
    path = tmp_path / "broken.pdf"
    path.write_bytes(make_pdf([LINES]).read_bytes()[:400])
    return path


def written(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def picture(make_pdf, tmp_path):
    from fpdf import FPDF

    pdf = FPDF()
    for _ in range(3):
        pdf.add_page()
        pdf.rect(20, 20, 100, 100, style="F")
    pdf.output(str(tmp_path / "scan.pdf"))
    return tmp_path / "scan.pdf"


@pytest.mark.parametrize(
    ("fault", "make"),
    [
        ("encrypted", lambda pdf, tmp: pdf([LINES], password="secret")),
        ("damaged", damaged),
        ("scanned", picture),
        ("empty", lambda pdf, tmp: written(tmp, "empty.pdf", b"")),
        ("empty", lambda pdf, tmp: written(tmp, "blank.txt", b" \n\n ")),
        ("binary", lambda pdf, tmp: written(tmp, "junk.txt", bytes(range(256)) * 20)),
        ("unsupported", lambda pdf, tmp: written(tmp, "a.docx", b"PK\x03\x04" + b"x" * 100)),
        ("unreadable", lambda pdf, tmp: tmp / "nowhere.pdf"),
    ],
)
def test_what_cannot_be_read_has_a_reason(make_pdf, tmp_path, fault, make):
    """N9: encrypted and scanned files must not give an empty success"""
    found = extract(make(make_pdf, tmp_path), Limits())
    assert found.fault == fault and found.detail and not found.pages


def test_limits_cut_to_the_character_and_are_counted(make_pdf):
    """N3"""
    path = make_pdf([LINES] * 5)
    whole = extract(path, Limits())
    few = extract(path, Limits(max_pages=2, max_chars=100))
    assert (few.n_pages, len(few.pages), sum(map(len, few.pages))) == (5, 1, 100)
    assert few.n_chars == sum(map(len, whole.pages[:2]))
    with pytest.raises(ValueError, match="max_chars must be ≥ 1"):
        Limits(max_chars=0)


def test_encodings_are_found(tmp_path):
    text = "Größe, naïve, 北京 and more words to look at, in a line."
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16")):
        assert extract(written(tmp_path, f"{number}.txt", text.encode(encoding)), Limits()).pages == (text,)


def test_a_broken_file_among_many_costs_only_itself(make_pdf, tmp_path):
    paths = [make_pdf([LINES], f"{n}.pdf") for n in range(3)] + [damaged(make_pdf, tmp_path)]
    found = dict(extract_all(paths, Limits(), "pypdfium2", workers=2))
    assert [found[path].fault for path in paths] == ["", "", "", "damaged"]


def test_five_thousand_pages_are_read(make_pdf):
    found = extract(
        make_pdf([[f"This is the text of page number {n}, which is rather short."] for n in range(5000)]), Limits()
    )
    assert found.n_pages == len(found.pages) == 5000 and "number 4999" in found.pages[-1]
