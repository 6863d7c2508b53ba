"""The length-controlled win rate of AlpacaEval (Dubois et al., arXiv 2404.04475).

What a judge prefers is modelled as  P(win) = σ(θ + φ · tanh(Δ / sd(Δ)) + ψ · γ),  with Δ the length of a model's answer
less that of its rival in characters, and γ the difficulty of the instruction, where it is known. The length-controlled
win rate is the mean of P with Δ = 0. Labels may be probabilities. AlpacaEval penalises its weights (L1, chosen by
cross-validation) and adds judgements of two models that gamed it, neither of which is published with its results: ours
is the plain maximum of the likelihood, but for a ridge so weak that it matters only where every answer wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RIDGE = 1e-3
STEPS = 50  # of Newton's method; it takes about six


def controlled(preferences: np.ndarray, difference: np.ndarray, difficulty: np.ndarray | None = None) -> float:
    """The length-controlled win rate. `preferences` are P(win) in [0, 1], `difference` is Δ, `difficulty` γ; all (n,).
    Without any difference of length it is the win rate itself."""
    import numpy as np

    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    length = np.tanh(difference / spread) if spread > 0 else np.zeros(len(difference))
    design = np.stack([length, np.ones(len(length)), *([] if difficulty is None else [difficulty])], axis=1)
    weights = fit(design, preferences)
    return float(logistic(design[:, 1:] @ weights[1:]).mean())


def fit(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression on probabilities, by Newton's method."""
    import numpy as np

    weights = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = logistic(design @ weights)
        gradient = design.T @ (target - chance) - RIDGE * weights
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    return weights


def logistic(x: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.exp(-np.logaddexp(0, -x))
