"""GSM8K: 7,473 grade-school maths word problems with worked answers (arXiv 2110.14168; the paper's maths seeds)."""

from evodistill.dataset.hub import Hub


class GSM8K(Hub):
    """The question is the instruction, the worked answer the output. The answer is kept raw: its calculator annotations
    (`<<48/2=24>>`) and its last line (`#### 72`) are what graders of this set parse."""
