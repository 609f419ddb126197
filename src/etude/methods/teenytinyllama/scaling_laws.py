"""Published fits of the loss of a language model: L(N, D) = E + A / N^alpha + B / D^beta, in nats per token.

N is the number of parameters, D of training tokens. The perplexity of a loss in nats is e^loss (the published
planner of the paper prints 2^loss). The fits are of English web text under their own tokenizers: they compare
plans, they do not predict the loss on another corpus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FLOPS_PER_PARAMETER = (
    6  # and token, forward and backward (Kaplan et al. 2020, sec. 2.1); attention not counted
)
FRESH_EPOCHS = 4  # Muennighoff et al. 2023: up to here repeated tokens are nearly worth fresh ones
_REPETITION = 15.387756  # R_D* of their appendix A


@dataclass(frozen=True)
class ScalingLaw:
    """One published fit.

    Args:
        source: Where it is printed.
        irreducible: E, nats per token.
        a: A.
        alpha: Exponent of the parameters.
        b: B.
        beta: Exponent of the tokens.
    """

    source: str
    irreducible: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, params: float, tokens: float) -> float:
        """Nats per token of a model with `params` parameters after `tokens` (fresh) tokens."""
        return float(self.irreducible + self.a / params**self.alpha + self.b / tokens**self.beta)

    def optimum(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens of the lowest loss with 6 N D = flops (Hoffmann et al. 2022, eq. 4)."""
        product = flops / FLOPS_PER_PARAMETER
        ratio = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        params = ratio * product ** (self.beta / (self.alpha + self.beta))
        return params, product / params


LAWS = {
    "teenytinyllama": ScalingLaw("Corrêa et al. 2024, arXiv 2401.16640", 1.69, 406.4, 0.32, 410.7, 0.28),
    "hoffmann": ScalingLaw("Hoffmann et al. 2022, arXiv 2203.15556, eq. 10", 1.69, 406.4, 0.34, 410.7, 0.28),
    "besiroglu": ScalingLaw(
        "Besiroglu et al. 2024, arXiv 2404.10102", 1.8172, 482.01, 0.3478, 2085.43, 0.3658
    ),
    "muennighoff": ScalingLaw(
        "Muennighoff et al. 2023, arXiv 2305.16264, app. A",
        math.exp(0.6254804),
        math.exp(6.255414),
        0.3526596,
        math.exp(7.3049974),
        0.3526596,
    ),
}


def perplexity(loss: float) -> float:
    """e^loss: the loss is in nats."""
    return math.exp(loss)


def effective_tokens(unique: float, total: float) -> float:
    """What `total` tokens are worth when only `unique` of them differ (Muennighoff et al. 2023, eq. 5).

    D' = U + U R* (1 - exp(-R / R*)) with R = total / unique - 1 repetitions and R* = 15.39.

    Args:
        unique: Different tokens, U.
        total: Tokens trained on.

    Returns:
        The number of fresh tokens that would give the same loss; `total` itself without repetition.
    """
    if total <= unique:
        return total
    repetitions = total / unique - 1
    return unique * (1 + _REPETITION * -math.expm1(-repetitions / _REPETITION))
