"""One look for every figure: colours, order, names, saving.

Colours are Okabe & Ito's, which people with any colour blindness can tell apart; hatches, markers and dashes carry
the same distinction for a copy in grey.
"""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.files import write_whole

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

RC: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # names come from data: a $ in one is a dollar
    "svg.hashsalt": "evodistill",  # the same table draws the same file
    "pdf.fonttype": 42,
}

LABELS = ("very easy", "easy", "medium", "hard", "very hard")
UNPARSED = "unparsed"

NAMES = {
    "complexity_score": "difficulty score (0–100)",
    "complexity_rate": "difficulty class (1–5)",
    "ifd": "IFD",
    "ic_ifd": "IC-IFD",
    "loss_instruction": "loss of the instruction",
    "loss_answer": "loss of the answer alone",
    "loss_answer_given_instruction": "loss of the answer given the instruction",
    "complexity_rate_second": "difficulty class (1–5), second judge",
    "complexity_score_second": "difficulty score (0–100), second judge",
    "complexity_rate_kappa": "agreement on the class (weighted kappa)",
    "complexity_score_kappa": "agreement on the score (weighted kappa)",
    "judged_reward": "judged reward (0–10)",
    "judged_response_reward": "judged reward of the answer (0–10)",
    "response_reward": "reward of the answer",
    "top_probability": "probability of the likeliest token",
    "top_probability_first": "… in the first positions",
    "chosen_probability": "probability of the drawn token",
    "top_chosen": "share of likeliest tokens drawn",
    "ifd_truncated": "share of answers not read to their end",
    "neighbour_distance": "cosine distance to the nearest neighbour",
    "neighbour_squared_l2": "squared L2 distance to the nearest neighbour",
    "neighbour_repeats": "neighbours nearer than the threshold",
    "distinct_1": "distinct words",
    "distinct_2": "distinct 2-grams",
    "distinct_3": "distinct 3-grams",
    "self_bleu": "Self-BLEU",
    "near_duplicates": "share of near-duplicates",
    "diversity_truncated": "share of texts that the embedder cuts",
    "difficulty_score_0_100_mean": "difficulty score (0–100)",
    "internlm2_7b_reward_mean": "reward",
    "ifeval_prompt_strict": "IFEval, prompts (strict)",
    "ifeval_instruction_strict": "IFEval, instructions (strict)",
    "ifeval_prompt_loose": "IFEval, prompts (loose)",
    "ifeval_instruction_loose": "IFEval, instructions (loose)",
    "gsm8k_strict": "GSM8K (behind ####)",
    "humaneval": "HumanEval",
    "mbpp": "MBPP",
    "win_rate": "win rate",
    "win_rate_flips": "share of pairs whose winner changes with the order",
    "length_controlled_win_rate": "win rate, length-controlled",
    "mt_bench": "MT-Bench",
    "full_alpaca": "all of Alpaca",
    "original_100%": "all of it",
    "instruction_length": "length of the instruction",
    "instruction_ppl": "perplexity of the instruction",
    **{f"FollowBench_HSR_L{level}": f"FollowBench HSR, level {level}" for level in range(1, 6)},
    "FollowBench_HSR_Avg": "FollowBench HSR, average",
    "ifd_percent": "IFD (%)",
    "ic_ifd_percent": "IC-IFD (%)",
    "ifeval_average_llama3_8b": "IFEval average of Llama-3-8B (%)",
    "slm": "SLM",
    "llm": "LLM",
    "alpaca": "Alpaca",
    "gsm8k": "GSM8K",
    "code_alpaca": "Code Alpaca",
    "gsm8k_train": "GSM8K",
    "alpaca_iter3": "Alpaca, round 3",
    "alpaca_iter3_slm": "Alpaca, round 3 of the SLM",
}
# Scales with two ends are drawn whole, so that a difference looks as large as it is.
RANGES = {
    **dict.fromkeys(("complexity_score", "complexity_score_second"), (0, 100)),
    **dict.fromkeys(("complexity_rate", "complexity_rate_second"), (1, 5)),
    **dict.fromkeys(("judged_reward", "judged_response_reward"), (0, 10)),
    **dict.fromkeys(("complexity_rate_kappa", "complexity_score_kappa"), (-1, 1)),
    "gsm8k_strict": (0, 1),
    **dict.fromkeys(("top_probability", "top_probability_first", "chosen_probability", "top_chosen"), (0, 1)),
}


@dataclass(frozen=True)
class Look:
    color: str
    hatch: str
    marker: str
    line: str
    label: str


LOOKS = (
    ("#0072B2", "", "o", "-"),
    ("#E69F00", "///", "s", "--"),
    ("#009E73", "...", "^", "-."),
    ("#CC79A7", "xx", "D", ":"),
    ("#56B4E9", "\\\\\\", "v", "-"),
    ("#D55E00", "++", "P", "--"),
    ("#000000", "oo", "X", "-."),
)


def name(key: str) -> str:
    """A value of a benchmark may have the model that was asked before it: `tuned/gsm8k`."""
    role, slash, plain = key.rpartition("/")
    return f"{role}: {NAMES[plain]}" if slash and plain in NAMES else NAMES.get(key, key)


def asked(metrics: Series) -> tuple[Series, Series]:
    """(the models that were asked, "" where no name is given; the values' plain names)"""
    names = metrics.astype(str)
    plain = names.str.replace("^.*/", "", regex=True)
    return names.str.replace("/?[^/]*$", "", regex=True), plain


def round_name(number: int) -> str:
    return f"round {number}" if number else "seeds"


def group_name(dataset: str, evolution: str, groups: Sequence[tuple[str, str]]) -> str:
    """The dataset, and the evolution where the figure shows several."""
    return name(dataset) + (f" · {evolution}" if len({method for _, method in groups}) > 1 else "")


def metrics(found: Iterable[str]) -> list[str]:
    """Known metrics in the order of NAMES, then the others by name."""
    known = list(NAMES)
    return sorted(set(found), key=lambda metric: (known.index(metric) if metric in known else len(known), metric))


def size(model: str) -> float | None:
    """Parameters a model's name states: llama31-8b → 8e9, smollm2-135m → 135e6; None where it states none."""
    found = re.findall(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])", model.lower())
    return float(found[-1][0]) * {"m": 1e6, "b": 1e9}[found[-1][1]] if found else None


def order(levels: Iterable[str]) -> list[str]:
    """Small to large where every name states a size (or is slm / llm itself), else sorted."""
    levels = sorted(set(levels))
    sizes = {level: {"slm": 0.0, "llm": 1.0}.get(level, size(level)) for level in levels}
    known = {level: parameters for level, parameters in sizes.items() if parameters is not None}
    return sorted(levels, key=known.__getitem__) if len(known) == len(levels) else levels


def looks(levels: Sequence[str]) -> dict[str, Look]:
    """A look for each level, the small one first. Two models of known size are called SLM and LLM, as in the paper."""
    known = len(levels) == 2 and all(size(level) for level in levels) and size(levels[0]) != size(levels[1])
    roles = [" (SLM)", " (LLM)"] if known else [""] * len(levels)
    return {level: Look(*LOOKS[i % len(LOOKS)], f"{name(level)}{roles[i]}") for i, level in enumerate(levels)}


def wilson(k: float, n: float) -> tuple[float, float]:
    """95 % interval of a share, k of n (Wilson 1927)."""
    from scipy.special import ndtri

    z = float(ndtri(0.975))
    middle, half = (k + z**2 / 2) / (n + z**2), z / (n + z**2) * (k * (n - k) / n + z**2 / 4) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def half_interval(runs: DataFrame) -> float:
    """Half a 95 % interval of the mean of several runs' `value`: √(half of Student's over them² + half of `ci_low` to
    `ci_high`, their own over their items²). Other seeds and other items might have been drawn, and runs share their
    items, so more runs do not narrow the second part. NaN for one run."""
    from scipy.stats import sem, t

    runs = runs[runs["value"].notna()]
    if len(runs) < 2:
        return math.nan
    over_runs = float(t.ppf(0.975, len(runs) - 1) * sem(runs["value"].to_numpy(float)))
    of_items = (runs["ci_high"] - runs["ci_low"]).astype(float).fillna(0) / 2
    return math.sqrt(over_runs**2 + float((of_items**2).mean()))


def panels(rows: int, columns: int, width: float = 4.2, height: float = 2.6) -> tuple[Figure, list[list[Axes]]]:
    """A figure and its axes as rows of columns. No pyplot: nothing global, nothing to close."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(width * columns, 5.0), height * rows + 0.5), layout="constrained")
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]


def legend(figure: Figure, handles: Mapping[str, Artist]) -> None:
    """One legend for the figure, above its panels, in as many columns as its width takes."""
    if not handles:
        return
    em = RC["font.size"] / 72
    entry = (0.62 * max(map(len, handles)) + 4.8) * em  # text, the line before it, and what is between columns
    columns = max(1, min(4, len(handles), int(figure.get_figwidth() / entry)))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=columns)


def empty(message: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure, [[axes]] = panels(1, 1, height=1.2)
    axes.axis("off")
    axes.text(0.5, 0.5, message, ha="center", va="center", transform=axes.transAxes)
    return figure


def styled() -> AbstractContextManager[None]:
    """The looks, for as long as it is open: axes take them when they are made, text when it is drawn."""
    import matplotlib

    return matplotlib.rc_context(RC)


def render(figure: Figure, format: str) -> bytes:
    """The bytes of a file without a date in it: the same figure gives the same file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # what a PDF's font subset holds is told at INFO, some 30 lines a figure
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[format]
    # by the canvas: savefig draws a figure that ever had a layout engine twice
    canvas = {"pdf": FigureCanvasPdf, "svg": FigureCanvasSVG, "png": FigureCanvasAgg}[format]
    with styled(), io.BytesIO() as file:
        if engine := figure.get_layout_engine():  # it is half of the work: once, not for each format
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.set_dpi(160)
        getattr(canvas(figure), f"print_{format}")(file, metadata=stamp)
        return file.getvalue()


def save(figure: Figure, path: Path) -> list[Path]:
    """`path` names the figure without an ending; writes PDF and PNG and makes the folder (PL3)."""
    written = [path.with_name(f"{path.name}.{format}") for format in ("pdf", "png")]
    for file in written:
        write_whole(file, render(figure, file.suffix[1:]))
    return written
