"""IFD (Cherry LLM, arXiv 2308.12032) and IC-IFD (arXiv 2412.11231 §5).

With L(·) the mean token cross-entropy in nats under a causal model, Q the instruction (and input) and A the answer:

    IFD    = L(A|Q) / L(A)              how little the instruction helps to produce the answer
    IC-IFD = L(A|Q) / (L(Q) · L(A))     … at equal complexity of the instruction itself

Two forward passes a record: L(Q) comes with L(A|Q) for free (IFD9). Q, separator and A are tokenised one by one and
joined as ids, so that A is scored on the same tokens in both passes and no token straddles a border (IFD1, IFD2).

Where Q and A together are too long for the model, the end of A is left out, of both passes alike, and the record is
counted in `ifd_truncated` (IFD4).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from evodistill.backend import Backend, Logprobs
from evodistill.metric import Score
from evodistill.record import Record

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

VALUES = ("ifd", "ic_ifd", "loss_instruction", "loss_answer", "loss_answer_given_instruction")
UNREAD = ("no_answer", "not_scored", "no_room")  # reasons of records of whose answer nothing was read
SEPARATOR = "\n"
CONTEXT = 1 << 30  # tokens: whatever the model reads


@dataclass(frozen=True)
class IFD:
    """Values `ifd`, `ic_ifd` and the three losses they are made of. `variant` says what is divided: mean losses (the
    paper's formula and code; default) or perplexities exp(L) (Superfiltering, arXiv 2402.00530; the paper's prose,
    IFD7)."""

    model: str  # role that reads; the paper takes the student's base model
    records: str | None = None  # step whose records are measured; null = the last
    variant: str = "loss_ratio"  # loss_ratio | ppl_ratio
    header: str = ""  # text before A in both passes, unscored; Cherry LLM puts a response header there
    drop_ge_1: bool = False  # ratios ≥ 1 (the instruction misleads) become a reason, as Superfiltering does (IFD6)
    truncate: bool = True  # leave out the end of an answer that does not fit; false: such a record has a reason instead
    max_tokens: int | None = None  # of Q and A together, what fits; null = the model's context (Cherry LLM: 512)

    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.variant not in ("loss_ratio", "ppl_ratio"):
            raise ValueError(f"variant must be loss_ratio or ppl_ratio, got {self.variant!r}")
        if self.max_tokens is not None and (self.max_tokens < 2 or not self.truncate):
            raise ValueError(f"max_tokens must be ≥ 2 and goes with truncate=true, got {self.max_tokens}")

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        return {}

    def __call__(self, records: list[Record], models: Mapping[str, Backend]) -> list[Score]:
        scored = [record for record in records if record.output.strip()]
        given = [(record.prompt, SEPARATOR + self.header, record.output) for record in scored]
        alone = [(self.header, record.output) for record in scored]
        # one call for both kinds: the backend sorts one pool by length
        limit = (self.max_tokens or CONTEXT) if self.truncate else None
        found = models[self.model].logprobs([*given, *alone], limit)
        pairs = dict(
            zip(
                (record.id for record in scored),
                zip(found[: len(given)], found[len(given) :], strict=True),
                strict=True,
            )
        )
        return [self.score(record, pairs.get(record.id)) for record in records]

    def score(self, record: Record, pair: tuple[Logprobs, Logprobs] | None) -> Score:
        nothing: dict[str, float | None] = dict.fromkeys(VALUES)
        if pair is None:
            return Score.of(record, nothing, reason="no_answer")
        given, alone = pair
        if error := given.error or alone.error:
            return Score.of(record, nothing, reason="not_scored", raw=error)
        # the tokens of A that both passes have: its end is missing where it did not fit
        common = min(len(given.parts[2]), len(alone.parts[1]))
        whole = len(alone.parts[1]) + alone.cut
        if whole and not common:
            return Score.of(record, nothing, reason="no_room", raw=f"{given.cut} tokens beyond what the model reads")
        cut = {"extra": {"cut": whole - common}} if common < whole else {}
        instruction, answer = loss(given.parts[0]), loss(alone.parts[1][:common])
        conditioned = loss(given.parts[2][:common])
        if min(instruction, answer) <= 0 or not math.isfinite(instruction + answer + conditioned):
            raw = f"L(Q) {instruction}, L(A) {answer}, L(A|Q) {conditioned}"
            return Score.of(record, nothing, reason="no_loss", raw=raw, **cut)
        # per record, never a mean over a batch (IFD3); a record without a ratio stays out of every mean (IFD5)
        losses = {"loss_instruction": instruction, "loss_answer": answer, "loss_answer_given_instruction": conditioned}
        if self.variant == "loss_ratio":
            ifd, ic_ifd = conditioned / answer, conditioned / (instruction * answer)
        else:
            ifd, ic_ifd = math.exp(conditioned - answer), math.exp(conditioned - answer - instruction)
        if self.drop_ge_1 and ifd >= 1:
            return Score.of(record, {**nothing, **losses}, reason="ifd_ge_1", raw=f"{ifd:.4f}", **cut)
        return Score.of(record, {"ifd": ifd, "ic_ifd": ic_ifd, **losses}, **cut)

    def whole(self, records: Collection[Record], scores: Collection[Score]) -> dict[str, dict[int, dict[str, Any]]]:
        """The share of truncated records among those that were read, where there are any."""
        rounds: dict[int, list[bool]] = {}
        for score in scores:
            if score.reason not in UNREAD:
                rounds.setdefault(score.round, []).append("cut" in score.extra)
        if not any(any(cuts) for cuts in rounds.values()):
            return {}
        told = sum(map(sum, rounds.values())), sum(map(len, rounds.values()))
        log.warning("ifd: %d of %d answers are not read to their end", *told)
        shares = {number: sum(cuts) / len(cuts) for number, cuts in rounds.items()}
        return {
            "ifd_truncated": {
                number: {"mean": share, "ci95": None, "n": len(rounds[number]), "unparsed": 0}
                for number, share in shares.items()
            }
        }


def loss(values: np.ndarray) -> float:
    """Mean cross-entropy of tokens in nats; nan where there are none."""
    return -float(values.mean(dtype="float64")) if len(values) else math.nan
