"""Stanford Alpaca: 52,002 general instructions written by text-davinci-003 (the paper's general seeds)."""

from evodistill.dataset.hub import Hub


class Alpaca(Hub):
    """Rows of instruction, input and output."""
