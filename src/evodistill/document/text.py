"""The text of what is no PDF: HTML, Markdown, plain text in any encoding; what holds no text says so."""

from __future__ import annotations

import re
from pathlib import Path

from evodistill.document import PAGE, Unreadable

HTML = re.compile(rb"\A\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
OTHERS = {  # how a file begins that holds text, but not for us
    b"PK\x03\x04": "a zip archive (docx, pptx, epub, …): convert it to PDF, HTML or text",
    b"\xd0\xcf\x11\xe0": "an old Office file: convert it to PDF, HTML or text",
    b"{\\rtf": "RTF: convert it to PDF, HTML or text",
    b"%!PS": "PostScript: convert it to PDF",
    b"\x1f\x8b": "compressed: gunzip it",
}
BLOCKS = re.compile(r"\A(?:p|div|li|tr|h[1-6]|pre|blockquote|section|article|dd|dt)\Z")
ODD = 0.02  # share of control characters that no text has


def text_pages(path: Path, data: bytes) -> tuple[str, list[str]]:
    """(kind, pages) of what is no PDF; a form feed in a text file is a page's end."""
    for magic, cure in OTHERS.items():
        if data.startswith(magic):
            raise Unreadable("unsupported", cure)
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
    if odd > ODD * len(text[:100_000]):
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
