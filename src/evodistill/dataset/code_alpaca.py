"""Code Alpaca: 20,022 code instructions in Alpaca's form (the paper's code seeds)."""

from evodistill.dataset.hub import Hub


class CodeAlpaca(Hub):
    """Rows of instruction, input and output."""
