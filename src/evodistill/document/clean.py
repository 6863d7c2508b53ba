"""The text of a document without the traces of its layout: rules.py over its pages, then one text with page offsets."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from evodistill.backend import Backend
from evodistill.document import PAGE
from evodistill.document.paragraphs import ENDS, wide
from evodistill.document.rules import RULES
from evodistill.record import Record

log = logging.getLogger(__name__)
# what a layout has done to a text depends on the kind of file; the kind is in extra["kind"], a PDF where it is not
OF_KIND = {
    "pdf": tuple(RULES),
    "text": ("unicode", "control", "hyphens", "references", "paragraphs"),
    "html": ("unicode", "control", "references"),
    "markdown": ("unicode", "control"),
}


@dataclass(frozen=True)
class Clean:
    """Each field switches the rule of its name. `extra["cleaned"]` counts what each did, `extra["starts"]` says at
    which character each page begins."""

    unicode: bool = True
    control: bool = True
    stamps: bool = True
    heads: bool = True
    numbers: bool = True
    hyphens: bool = True
    references: bool = False  # cut from the list of references on
    paragraphs: bool = True
    figures: bool = True

    roles: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Record]:
        done = [record if record.fault else self.cleaned(record) for record in records]
        total: Counter[str] = Counter()
        for record in done:
            total.update(record.extra.get("cleaned", {}))
        counted = [f"{rule} {count}" for rule, count in total.items() if count]
        log.info("cleaned by rule: %s", ", ".join(counted) or "none")
        return done

    def cleaned(self, record: Record) -> Record:
        pages = (record.input or record.instruction).split(PAGE)
        counts = {}
        for name in OF_KIND.get(str(record.extra.get("kind", "pdf")), OF_KIND["pdf"]):
            if getattr(self, name):
                pages, counts[name] = RULES[name](pages)
        text, starts = joined(pages)
        extra = {**record.extra, "cleaned": counts, "starts": starts}
        done = replace(record, input=text, extra=extra)
        return done if text else done.reject("empty", "no text is left of it", PAGE.join(pages))


assert {field.name for field in fields(Clean)} == set(RULES)


def joined(pages: list[str]) -> tuple[str, list[int]]:
    """(one text, where each page begins). A sentence that goes over a page's end goes on in the same paragraph."""
    text, starts = "", []
    for page in (page.strip() for page in pages):
        if text and page:
            goes_on = not ENDS.search(text) and (page[0].islower() or wide(page[0]))
            text += ("" if wide(text[-1]) and wide(page[0]) else " ") if goes_on else "\n\n"
        starts.append(len(text))
        text += page
    return text, starts
