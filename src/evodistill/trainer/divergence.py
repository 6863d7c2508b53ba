"""How far a student's next-token distribution is from its teacher's, where of the teacher's only the k likeliest tokens
are known, and the tail: what all others have together.

Both distributions are compared over these k + 1 buckets. That is a lower bound of the divergence over the vocabulary,
0 where both are equal, and no probability is lost: without the tail a student could move it anywhere unseen (W5).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

CHUNK = 512  # positions whose float32 values over the vocabulary exist at a time


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student): the student covers all that the teacher may say."""
    return (teacher.exp() * (teacher - student)).sum(-1)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(student ‖ teacher): the student keeps to what the teacher is likely to say."""
    return (student.exp() * (student - teacher)).sum(-1)


def jsd(student: Tensor, teacher: Tensor) -> Tensor:
    """Jensen-Shannon: the mean of the two divergences from their mixture; at most ln 2."""
    mixture = torch.logaddexp(student, teacher) - math.log(2)
    return (forward_kl(mixture, teacher) + forward_kl(mixture, student)) / 2


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jsd": jsd,
}


def buckets(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities [n, k+1] of `tokens` [n, k] and of all others together, of float32 `logits` [n, vocabulary]."""
    others = logits.scatter(-1, tokens, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([logits.gather(-1, tokens), others], -1) - logits.logsumexp(-1, keepdim=True)


def terms(
    logits: Tensor, labels: Tensor, tokens: Tensor, teacher: Tensor, kind: str, temperature: float
) -> tuple[Tensor, Tensor]:
    """(cross entropy, divergence), in nats, each summed over the n positions: of `logits` [n, vocabulary], the `labels`
    [n], and the teacher's k `tokens` with their log-probabilities `teacher` [n, k+1] at `temperature`.

    The divergence is times the temperature squared, so that its gradient does not fade with the temperature (Hinton et
    al., arXiv 1503.02531, section 2)."""

    def part(logits: Tensor, labels: Tensor, tokens: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits.float()
        # float16 on disk rounds: made to sum up to 1 again, an equal student has no loss (W5)
        apart = KINDS[kind](buckets(logits / temperature, tokens.long()), teacher.float().log_softmax(-1))
        return cross_entropy(logits, labels, reduction="sum"), apart.sum() * temperature**2

    entropy, apart = logits.sum() * 0.0, logits.sum() * 0.0  # connected to the model also where there is no position
    for chunk in zip(*(values.split(CHUNK) for values in (logits, labels, tokens, teacher)), strict=True):
        found = checkpoint(part, *chunk, use_reentrant=False)
        entropy, apart = entropy + found[0], apart + found[1]
    return entropy, apart
