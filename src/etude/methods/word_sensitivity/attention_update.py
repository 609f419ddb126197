"""The fast evaluator of attention features: changing row i changes one column and one row of the scores.

With y = x_i + Δ, every row j ≠ i of φ is a mixture of y and of m_j, its attention over the rows other than i:

    φ_j(Δ) = β_j m_j + α_j y,   α_j = κ(t_j)/(Z_j + κ(t_j)),   β_j = Z_j/(Z_j + κ(t_j)),   t_j = x_jᵀ W y/√d

where κ is exp or ReLU and Z_j the sum of κ over the other rows. With α_j at Δ = 0 written α⁰_j, u_j = α⁰_j
- α_j, c_j = m_j - x_i (and m_j = 0 where Z_j = 0),

    φ_j(Δ) - φ_j(0) = u_j c_j + α_j Δ,   ‖·‖² = u_j² ‖c_j‖² + 2 α_j u_j ⟨c_j, Δ⟩ + α_j² ‖Δ‖²

which has no cancellation and needs two inner products with Δ. Row i itself has new weights p over (x_l, y);
with q = p - p⁰ it moves by Xᵀq + p_i Δ, whose norm follows from XXᵀ and XΔ. So one step is one product of
the stacked (4n, d) matrix [XW; XWᵀ; C; X] with Δ, one of the symmetric part of W for the score of y with
itself, and their transposes for the gradient: no n x n work over d, no n d² work.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from etude.methods.word_sensitivity.perturbation import Bound, LinearForms, Perturbation, on_sphere

_DRAWS = 3  # random sets M of each size, of which the best counts


class AttentionTerms:
    """What all rows of one text share.

    Args:
        x: (n, d).
        weights: W, (d, d).
    """

    def __init__(self, x: Tensor, weights: Tensor) -> None:
        self.x = x
        scale = x.shape[1] ** -0.5
        self.queries = x @ weights * scale  # row j: Wᵀ x_j/√d, so that t_j = queries_j · y
        self.keys = x @ weights.T * scale  # row l: W x_l/√d, so that row i's scores are keys_l · y
        self.symmetric = (weights + weights.T) * (scale / 2)
        self.scores = self.queries @ x.T
        self.gram = x @ x.T


class AttentionPerturbation(Perturbation):
    """Softmax or ReLU attention features around one text.

    Args:
        terms: The text.
        position: i.
        kernel: κ: `softmax` (exp) or `relu`.
    """

    def __init__(self, terms: AttentionTerms, position: int, kernel: Literal["softmax", "relu"]) -> None:
        x, i = terms.x, position
        n = len(x)
        self.terms, self.position, self.kernel, self.row = terms, i, kernel, x[i]
        others = torch.arange(n, device=x.device) != i
        self.others = others[:, None]
        hidden = terms.scores.masked_fill(~others, -torch.inf)  # column i out of sight
        if kernel == "softmax":
            self.mass = torch.logsumexp(hidden, dim=1, keepdim=True)  # log Z_j; -inf for a lone row
            mixture = torch.exp(hidden - self.mass) if n > 1 else torch.zeros_like(hidden)
        else:
            self.mass = torch.relu(hidden).sum(1, keepdim=True)  # Z_j
            mixture = torch.relu(hidden) / torch.where(self.mass > 0, self.mass, torch.ones_like(self.mass))
        self.mixed = mixture @ x  # m_j
        self.toward = self.mixed - x[i]  # c_j
        self.toward_squared = self.toward.square().sum(1, keepdim=True)
        self.stack = torch.cat([terms.queries, terms.keys, self.toward, x])  # (4n, d)
        self.columns = terms.scores[:, i : i + 1]  # t_j at Δ = 0
        self.alpha, _ = self._shares(self.columns)
        self.own = self._attend(terms.scores[i][:, None])  # p⁰, (n, 1)
        rest = torch.where(
            self.mass > (0 if kernel == "relu" else -torch.inf), 1 - self.alpha, 0 * self.alpha
        )
        base = rest * self.mixed + self.alpha * x[i]
        base[i] = (self.own.T @ x)[0]
        self.base = base
        self.norm = float(base.double().norm())

    def squared_distances(self, deltas: Tensor) -> Tensor:
        """See `Perturbation`."""
        value, *_ = self._forward(deltas.T)
        return value

    def with_gradients(self, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """See `Perturbation`; written out, since one step is small enough for autograd to dominate it."""
        with torch.no_grad():
            return self._backward(deltas.T, *self._forward(deltas.T))

    def linear_forms(self, vectors: Tensor) -> LinearForms:
        """See `Perturbation`; vectors are (m, n, d) or (m, n d)."""
        x, i = self.terms.x, self.position
        v = vectors.to(x).reshape(len(vectors), *x.shape)  # (m, n, d)
        still = (v * self.base).sum((1, 2))
        toward = (v * self.toward).sum(2)  # ⟨c_j, v_j⟩, (m, n)
        own = v[:, i] @ x.T  # ⟨x_l, v_i⟩, (m, n)
        flat = v.reshape(-1, x.shape[1])

        def evaluate(deltas: Tensor) -> Tensor:
            moved = deltas.T
            seen = self.stack[: 2 * len(x)] @ moved
            alpha, _, p, q, _ = self._weights(seen[: len(x)], seen[len(x) :], moved)
            along = (flat @ moved).reshape(len(v), len(x), -1)  # ⟨v_j, Δ⟩, (m, n, B)
            change = torch.where(self.others, self.alpha - alpha, 0 * alpha)
            taken = torch.where(self.others, alpha, p)
            return (still[:, None] + toward @ change + (along * taken).sum(1) + own @ q).T

        return evaluate

    def starts(self, count: int, radius: float, random: torch.Generator) -> Tensor:
        """The best of the closed-form directions Δ_M, filled up with random ones."""
        grid = self._toward_sets(radius, random)
        best = self.squared_distances(grid).argsort(descending=True)[:count]
        return torch.cat([grid[best], on_sphere(count - len(best), self.row, radius, random)])

    def bound(self, radius: float, random: torch.Generator) -> Bound | None:
        """The best Δ_M: a direction that lifts the scores of a set M of queries (a lower bound)."""
        if not self.norm:
            return None
        grid = self._toward_sets(radius, random)
        values = self.squared_distances(grid)
        best = int(values.argmax())
        return Bound(float(values[best].sqrt()) / self.norm, "lower", grid[best])

    def _toward_sets(self, radius: float, random: torch.Generator) -> Tensor:
        """Δ_M = r u/‖u‖, u = Wᵀ Σ_{j in M} x_j, for random nested sets M of sizes 1, 2, 4 ... n."""
        n = len(self.terms.x)
        sizes = [2**e for e in range(n.bit_length()) if 2**e < n] + [n]
        directions = []
        for _ in range(_DRAWS):
            order = torch.randperm(n, generator=random).to(self.row.device)
            summed = self.terms.queries[order].cumsum(0)
            directions.append(summed[torch.tensor(sizes, device=self.row.device) - 1])
        u = torch.cat(directions)
        sets: Tensor = u * (radius / u.norm(dim=1, keepdim=True).clamp(min=1e-30))
        return sets

    def _shares(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α and dα/dt at scores t, (n, B)."""
        if self.kernel == "softmax":
            alpha = torch.sigmoid(t - self.mass)
            return alpha, alpha * (1 - alpha)
        kappa = torch.relu(t)
        total = self.mass + kappa
        safe = torch.where(total > 0, total, torch.ones_like(total))
        return kappa / safe, torch.where(t > 0, self.mass / safe.square(), torch.zeros_like(t))

    def _attend(self, scores: Tensor) -> Tensor:
        """A row's weights from its scores, along dimension 0, (n, B)."""
        if self.kernel == "softmax":
            return torch.softmax(scores, dim=0)
        positive = torch.relu(scores)
        total = positive.sum(0, keepdim=True)
        return positive / torch.where(total > 0, total, torch.ones_like(total))

    def _weights(
        self, queried: Tensor, keyed: Tensor, moved: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """α, dα/dt, p, q, and (row i's scores, SΔ); all (n, B) but SΔ (d, B)."""
        i = self.position
        alpha, slope = self._shares(self.columns + queried)
        turned = self.terms.symmetric @ moved
        itself = queried[i] + (moved * turned).sum(0)  # added to keyed[i]: ΔᵀWx_i + x_iᵀWΔ + ΔᵀWΔ
        scores = self.terms.scores[i][:, None] + keyed
        scores = torch.cat([scores[:i], scores[i : i + 1] + itself, scores[i + 1 :]])
        p = self._attend(scores)
        return alpha, slope, p, p - self.own, (scores, turned)

    def _forward(self, moved: Tensor) -> tuple[Tensor, ...]:
        """Squared distances (B,) in float64, and what the gradient needs; `moved` is (d, B)."""
        n, i = len(self.terms.x), self.position
        queried, keyed, toward, along = torch.split(self.stack @ moved, n)
        alpha, slope, p, q, (scores, turned) = self._weights(queried, keyed, moved)
        length = moved.square().sum(0)
        u = self.alpha - alpha
        rows = u.square() * self.toward_squared + 2 * alpha * u * toward + alpha.square() * length
        rows = torch.where(self.others, rows, torch.zeros_like(rows))
        pulled = self.terms.gram @ q
        own = (q * pulled).sum(0) + 2 * p[i] * (q * along).sum(0) + p[i].square() * length
        value = rows.double().sum(0) + own.double()
        return value.clamp(min=0), alpha, slope, p, q, scores, turned, u, toward, along, length, pulled

    def _backward(
        self,
        moved: Tensor,
        value: Tensor,
        alpha: Tensor,
        slope: Tensor,
        p: Tensor,
        q: Tensor,
        scores: Tensor,
        turned: Tensor,
        u: Tensor,
        toward: Tensor,
        along: Tensor,
        length: Tensor,
        pulled: Tensor,
    ) -> tuple[Tensor, Tensor]:
        i = self.position
        to_query = slope * 2 * ((u - alpha) * toward - u * self.toward_squared + alpha * length)
        to_toward = 2 * alpha * u
        to_length = alpha.square()
        for part in (to_query, to_toward, to_length):
            part[i] = 0
        to_p = 2 * (pulled + p[i] * along)
        to_p[i] += 2 * ((q * along).sum(0) + p[i] * length)
        centered = to_p - (p * to_p).sum(0)
        if self.kernel == "softmax":
            to_scores = p * centered
        else:
            total = torch.relu(scores).sum(0)
            safe = torch.where(total > 0, total, torch.ones_like(total))
            to_scores = torch.where((scores > 0) & (total > 0), centered / safe, torch.zeros_like(centered))
        to_query[i] = to_scores[i]
        stacked = torch.cat([to_query, to_scores, to_toward, 2 * p[i] * q])
        gradient = self.stack.T @ stacked
        gradient += moved * (2 * (to_length.sum(0) + p[i].square())) + turned * (2 * to_scores[i])
        return value, gradient.T
