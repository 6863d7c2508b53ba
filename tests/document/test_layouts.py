"""From a PDF of some layout to the text that a reader of the page would dictate."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import pytest
from document_text import PROSE
from fpdf import FPDF
from pypdf import PageObject, PdfReader, PdfWriter, Transformation
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, NumberObject, TextStringObject

from evodistill.dataset.document import Document
from evodistill.document.clean import Clean

FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"  # has ligatures
SENTENCES = [s.strip() + "." for s in PROSE.split(".") if s.strip()]


def cleaned(path: Path, **settings) -> str:
    [document] = Document(path=str(path), **settings)([], {})
    assert document.fault is None, document.fault
    [done] = Clean()([document], {})
    return done.input


def sheet() -> FPDF:
    pdf = FPDF()
    pdf.add_font("DejaVu", fname=str(FONT))
    pdf.set_font("DejaVu", size=10)
    return pdf


def saved(pdf: FPDF, tmp_path: Path) -> Path:
    path = tmp_path / "layout.pdf"
    pdf.output(str(path))
    return path


def lines(pdf: FPDF, texts: list[str], x: float, y: float) -> None:
    for number, text in enumerate(texts):
        pdf.set_xy(x, y + 5 * number)
        pdf.cell(text=text)


def test_two_columns_become_one_text_with_whole_paragraphs(tmp_path):
    """N5: a sentence that goes over the end of a column goes on"""
    pdf = sheet()
    pdf.add_page()
    lines(pdf, ["The harbour was built by", "fishermen of the village,", "who carried every stone"], 10, 20)
    lines(pdf, ["by hand. A storm destroyed", "the first wall before it", "was finished."], 110, 20)
    assert cleaned(saved(pdf, tmp_path)) == (
        "The harbour was built by fishermen of the village, who carried every stone by hand. "
        "A storm destroyed the first wall before it was finished."
    )


@pytest.mark.parametrize("reader", ["pypdfium2", "pypdf"])
def test_heads_feet_and_page_numbers_go_and_the_text_reads_on_over_the_pages(tmp_path, reader):
    """N6"""
    pdf = sheet()
    nouns = ["harbour", "wall", "church", "school", "market"]
    for number, noun in enumerate(nouns):
        pdf.add_page()
        lines(pdf, [f"Annals of the village {number + 11}"], 60, 10)
        lines(
            pdf,
            [f"built the {noun} with stones of the hill in a", "long and cold winter, and the people of it"],
            10,
            20,
        )
        lines(pdf, [f"Page {number + 1} of 5"], 90, 280)
    text = cleaned(saved(pdf, tmp_path), reader=reader)
    assert "Annals" not in text and "Page" not in text
    assert "the people of it built the wall with stones" in text and "\n" not in text


@pytest.mark.parametrize("reader", ["pypdfium2", "pypdf"])
def test_words_cut_at_line_ends_are_whole_again(tmp_path, reader):
    """N6: by either reader"""
    pdf = sheet()
    pdf.add_page()
    texts = [
        "The fishermen un-",
        "locked the harbour for a well-",
        "known man of the vil-",
        "lage, well-known to all.",
    ]
    lines(pdf, texts, 10, 20)
    text = cleaned(saved(pdf, tmp_path), reader=reader)
    assert text == "The fishermen unlocked the harbour for a well-known man of the village, well-known to all."


def test_ligatures_are_letters(tmp_path):
    """N6"""
    pdf = sheet()
    pdf.add_page()
    lines(pdf, ["The oﬃce of the ﬁrst ﬂeet was diﬀerent from all the others in town."], 10, 20)
    text = cleaned(saved(pdf, tmp_path))
    assert text == "The office of the first fleet was different from all the others in town."


def test_a_table_of_numbers_does_not_tear_the_prose_around_it(tmp_path):
    """N6"""
    pdf = sheet()
    pdf.add_page()
    pdf.multi_cell(0, text=PROSE, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(5)
    with pdf.table(first_row_as_headings=False) as table:
        for row in range(6):
            table.row([str(row * 17), f"{row / 7:.3f}", f"{row * 3.1:.1f} %", "–", "1", "2"])
    pdf.ln(5)
    pdf.multi_cell(0, text="The table above says how much each year brought to the village.")
    text = cleaned(saved(pdf, tmp_path))
    assert all(sentence in text for sentence in SENTENCES) and "0.143" not in text
    assert text.endswith("The table above says how much each year brought to the village.")


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_page_reads_as_its_reader_sees_it(tmp_path, turned):
    """such as a wide table in a manual: the page is turned, the text on it the other way"""
    pdf = sheet()
    pdf.add_page()
    pdf.multi_cell(100, text=PROSE)
    page = PageObject.create_blank_page(width=842, height=842)
    about = Transformation().translate(-421, -421).rotate(turned).translate(421, 421)
    page.merge_transformed_page(PdfReader(saved(pdf, tmp_path)).pages[0], about)
    writer = PdfWriter()
    writer.add_page(page).rotate(turned)
    writer.write(tmp_path / "turned.pdf")
    assert cleaned(tmp_path / "turned.pdf").split() == PROSE.split()


def test_text_that_runs_up_the_margin_stays_out_of_the_sentences(tmp_path):
    """N6: as arXiv's stamp does"""
    pdf = sheet()
    pdf.add_page()
    pdf.set_xy(20, 20)
    pdf.multi_cell(120, text=PROSE)
    with pdf.rotation(90, 10, 150):
        pdf.text(10, 150, "arXiv:2412.11231v1 [cs.CL] 15 Dec 2024")
    assert cleaned(saved(pdf, tmp_path)).split() == PROSE.split()


def test_what_is_filled_into_a_form_is_text(tmp_path):
    pdf = sheet()
    pdf.add_page()
    pdf.multi_cell(0, text=PROSE + "The name of the harbour:")
    path = tmp_path / "form.pdf"
    with_field(bytes(pdf.output()), "Port Ellen").write(path)
    assert cleaned(path).endswith("The name of the harbour:\n\nPort Ellen")


def with_field(data: bytes, value: str) -> PdfWriter:
    """The PDF with a field of text on its first page, filled in."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    page = writer.pages[0]

    def named(**keys):
        return DictionaryObject({NameObject(f"/{key}"): each for key, each in keys.items()})

    look = TextStringObject("/Helv 12 Tf 0 g")
    corners = ArrayObject([FloatObject(number) for number in (50, 500, 300, 520)])
    field = named(Type=NameObject("/Annot"), Subtype=NameObject("/Widget"), FT=NameObject("/Tx"), Rect=corners, DA=look)
    field |= named(T=TextStringObject("name"), F=NumberObject(4), P=page.indirect_reference)
    place = ArrayObject([writer._add_object(field)])
    font = named(Type=NameObject("/Font"), Subtype=NameObject("/Type1"), BaseFont=NameObject("/Helvetica"))
    fonts = named(Font=named(Helv=writer._add_object(font)))
    writer.root_object[NameObject("/AcroForm")] = named(Fields=place, DA=look, DR=fonts)
    page[NameObject("/Annots")] = place
    writer.update_page_form_field_values(page, {"name": value}, auto_regenerate=False)
    return writer
