"""What the loss of distillation is, checked against whole distributions."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from evodistill.trainer.divergence import CHUNK, KINDS, buckets, terms

VOCABULARY = 50


def logits(n: int, seed: int) -> torch.Tensor:
    return 2 * torch.randn(n, VOCABULARY, generator=torch.Generator().manual_seed(seed))


def stored(teacher: torch.Tensor, k: int, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """As they come from disk."""
    soft = teacher / temperature
    tokens = soft.topk(k).indices
    return tokens.int(), buckets(soft, tokens).half()


def apart(student: torch.Tensor, teacher: torch.Tensor, kind: str, k: int, temperature: float = 1.0) -> torch.Tensor:
    labels = torch.zeros(len(student), dtype=torch.long)
    return terms(student, labels, *stored(teacher, k, temperature), kind, temperature)[1]


@pytest.mark.parametrize("k", [1, 5, VOCABULARY - 1])
def test_the_kept_tokens_and_the_tail_sum_up_to_one(k):
    """W5"""
    given = logits(20, 0)
    sums = buckets(given, given.topk(k).indices).exp().sum(-1)
    assert torch.allclose(sums, torch.ones(20), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_an_equal_student_has_no_loss(kind, temperature):
    """W5: float16 on disk does not matter"""
    given = logits(20, 0)
    found = apart(given, given, kind, 8, temperature) / 20
    assert abs(found) < 1e-5
    assert apart(logits(20, 1), given, kind, 8, temperature) / 20 > 0.05


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_with_all_tokens_kept_it_is_the_divergence_of_the_distributions(temperature):
    student, teacher = logits(20, 1), logits(20, 0)
    mine, theirs = (values.div(temperature).log_softmax(-1) for values in (student, teacher))
    mixture = ((mine.exp() + theirs.exp()) / 2).log()
    whole = {
        "forward_kl": kl_div(mine, theirs, reduction="sum", log_target=True),
        "reverse_kl": kl_div(theirs, mine, reduction="sum", log_target=True),
        "jsd": sum(kl_div(mixture, side, reduction="sum", log_target=True) for side in (mine, theirs)) / 2,
    }
    for kind, expected in whole.items():
        found = apart(student, teacher, kind, VOCABULARY - 1, temperature)
        assert found.item() == pytest.approx(expected.item() * temperature**2, rel=2e-3)
        assert apart(student, teacher, kind, 8, temperature) < found  # buckets see less, never more
    assert apart(student, teacher, "jsd", 8) <= 20 * math.log(2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_hides_probability_in_the_tail_is_seen(kind):
    """W5: renormalised over the kept tokens the two would be equal"""
    teacher = torch.tensor([[0.5, 0.3, 0.1, 0.1]]).log()
    student = torch.tensor([[0.05, 0.03, 0.46, 0.46]]).log()
    assert apart(student, teacher, kind, 2) > 0.2


def test_the_answers_cross_entropy_is_that_of_pytorch():
    """W4: both terms are sums over the same positions"""
    student, labels = logits(30, 1), torch.arange(30)
    entropy, _ = terms(student, labels, *stored(logits(30, 0), 8), "forward_kl", 2.0)
    assert entropy.item() == pytest.approx(cross_entropy(student, labels, reduction="sum").item(), rel=1e-6)


def test_chunks_change_neither_the_loss_nor_its_gradient():
    n = CHUNK + 40
    student = logits(n, 1).requires_grad_()
    labels, taught = torch.arange(n) % VOCABULARY, stored(logits(n, 0), 8)
    sum(terms(student, labels, *taught, "jsd", 1.5)).backward()
    whole, student.grad = student.grad, None
    for at in range(0, n, 100):
        rows = slice(at, at + 100)
        sum(terms(student[rows], labels[rows], *(part[rows] for part in taught), "jsd", 1.5)).backward()
    assert torch.allclose(student.grad, whole, atol=1e-6) and whole.abs().max() > 0.1


def test_no_position_is_no_loss_and_still_a_gradient():
    """A process of several may get rows without an answer; the others wait for it."""
    student = logits(0, 1).requires_grad_()
    entropy, divergence = terms(student, torch.zeros(0, dtype=torch.long), *stored(logits(0, 0), 8), "forward_kl", 1.0)
    (entropy + divergence).backward()
    assert entropy == divergence == 0 and student.grad is not None
