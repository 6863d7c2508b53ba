"""Documents → pages → clean text → chunks → seed instructions, each stage a step that can be used alone.

dataset=document   a record a document, its pages in `input`, apart by form feeds     (extract.py, pdf.py, text.py)
clean              the layout's traces removed by rules, each with a switch and a counter    (rules.py)
chunk              a record a chunk, with the pages and offsets it comes from
llm_clean          a model mends what rules cannot; what it spoils falls back to the rules' text
quality            chunks that are no prose are rejected
seed               instructions out of each chunk, with or without the passage
"""

PAGE = "\f"  # between the pages of a document; no extracted text holds one


class Unreadable(Exception):
    """A file without text for us: `code` is the fault, the message its detail."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
