"""Stage 3: InfoNCE over in-batch candidates, with probable false negatives masked.

A batch has N anchors x_i and candidates c_1..c_2N: all positives, then all hard negatives (or c_1..c_N for
pairs). With s_ij = cos(E(x_i), E(c_j)) / τ and a frozen reference encoder's cosines r_ij,

    L = -(1/N) Σ_i log [ e^{s_ii} / Σ_j m_ij e^{s_ij} ],    m_ij = 0 where r_ij > φ and j ≠ i, else 1.

- The reference encodes each distinct text once (`ReferenceTable`); a batch carries row numbers as its labels.
- Candidates of all processes are gathered on request, so that the number of negatives does not change.
- `OfficialLoss` is what the released code computes instead; it is here to be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from sentence_transformers.util import all_gather_with_grad
from torch import Tensor, nn

from etude.errors import EtudeError

TAU = 0.05
PHI = 0.95
Variant: TypeAlias = Literal["masked", "official"]
Features: TypeAlias = dict[str, Tensor]


class ReferenceTable:
    """The reference encoder's unit vectors of every row of the training set, encoded once.

    Args:
        columns: One array (rows, dimension) for each of anchors, positives and perhaps hard negatives.
    """

    def __init__(self, columns: Sequence[NDArray[np.float32]]) -> None:
        self.columns = [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]

    def similarities(self, rows: Tensor, candidates: Tensor) -> Tensor:
        """Cosines r_ij of the rows' anchors, (N,), with the candidates of M rows: (N, 2M) or (N, M)."""
        anchors = self.columns[0][rows.cpu()]
        others = torch.cat([column[candidates.cpu()] for column in self.columns[1:]])
        return (anchors @ others.T).to(rows.device)


class MaskedInfoNCE(nn.Module):
    """The loss, for `SentenceTransformerTrainer`; without a reference or with φ ≥ 1 nothing is masked.

    Args:
        model: The `SentenceTransformer`.
        tau: Temperature τ.
        phi: Candidates whose reference cosine is above φ are no negatives.
        reference: Vectors of the training set; the dataset then has a column `label` with row numbers.
        variant: `masked`, or the released code's `official` loss.
        gather_across_devices: Use the candidates of all processes as negatives.

    Example:
        `MaskedInfoNCE(model, phi=0.95, reference=ReferenceTable(vectors))`
    """

    def __init__(
        self,
        model: nn.Module,
        tau: float = TAU,
        phi: float = PHI,
        *,
        reference: ReferenceTable | None = None,
        variant: Variant = "masked",
        gather_across_devices: bool = False,
    ) -> None:
        super().__init__()
        check_settings(tau, phi)
        self.model, self.tau, self.phi = model, tau, phi
        self.reference, self.variant = reference, variant
        self.gather_across_devices = gather_across_devices

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch: features of anchors, positives and perhaps hard negatives; row numbers."""
        # all columns are sentences of one kind, so one pass embeds them all
        embeddings = embed_columns(self.model, sentence_features, separate_first=False)
        return self.loss_of(embeddings, labels)

    def loss_of(self, embeddings: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss from embeddings, each (N, dimension), and row numbers, (N,)."""
        if len(embeddings) < 2:
            raise ValueError(f"two or more columns are needed, not {len(embeddings)}")
        anchors, others, first = embeddings[0], list(embeddings[1:]), 0
        candidate_rows = labels
        if self.gather_across_devices and torch.distributed.is_initialized():
            first = torch.distributed.get_rank() * len(anchors)
            others = [all_gather_with_grad(other) for other in others]
            candidate_rows = None if labels is None else all_gather_with_grad(labels)
        unit = nn.functional.normalize
        scores = unit(anchors, dim=-1) @ unit(torch.cat(others), dim=-1).T / self.tau  # (N, 2M)
        own = torch.arange(first, first + len(anchors), device=scores.device)
        masked = self._masked(labels, candidate_rows, own)
        return (official_loss if self.variant == "official" else info_nce)(scores, own, masked)

    def _masked(self, rows: Tensor | None, candidates: Tensor | None, own: Tensor) -> Tensor | None:
        """Where a candidate does not count as a negative, (N, 2M)."""
        if self.reference is None or self.phi >= 1:
            return None
        if rows is None or candidates is None:
            raise EtudeError(
                "the reference needs each row's number", "Add a column `label` with row numbers 0, 1, 2 ..."
            )
        masked = self.reference.similarities(rows, candidates) > self.phi
        masked[torch.arange(len(own), device=own.device), own] = False
        return masked

    def get_config_dict(self) -> dict[str, Any]:
        """Settings for the model card."""
        return {"tau": self.tau, "phi": self.phi, "variant": self.variant}


def check_settings(tau: float, phi: float) -> None:
    """Refuse settings outside their ranges.

    Raises:
        EtudeError: τ is not positive or φ is not in [-1, 2].
    """
    if tau <= 0 or not -1 <= phi <= 2:
        raise EtudeError(
            f"tau {tau}, phi {phi} cannot be", "Tau is positive; phi is a cosine, or above 1 for no mask."
        )


def info_nce(scores: Tensor, own: Tensor, masked: Tensor | None) -> Tensor:
    """-mean log e^{s_ii} / Σ_j m_ij e^{s_ij}; a masked cell takes no part and has zero gradient.

    Args:
        scores: s_ij, (N, candidates).
        own: Each row's own positive, (N,).
        masked: True where m_ij = 0, (N, candidates).
    """
    if masked is not None:
        scores = scores.masked_fill(masked, -torch.inf)
    return nn.functional.cross_entropy(scores, own)


def official_loss(scores: Tensor, own: Tensor, masked: Tensor | None) -> Tensor:
    """The released code's loss: logits times the 0/1 mask, then the mean of all cells' binary log-losses.

    A masked cell keeps e⁰ in the softmax's denominator, and the positive's term is diluted by the number of
    candidates. Arguments as in `info_nce`.
    """
    if masked is not None:
        scores = scores * (~masked)
    shares = scores.softmax(-1)
    target = nn.functional.one_hot(own, scores.shape[1]).to(shares.dtype)
    return nn.functional.binary_cross_entropy(shares, target)


class CachedMaskedInfoNCE(CachedMultipleNegativesRankingLoss):  # type: ignore[misc]
    """The same loss for batches that do not fit: GradCache (Gao et al. 2021), rows embedded in mini-batches.

    Args:
        model: The `SentenceTransformer`.
        mini_batch_size: Rows embedded together.
        **settings: As for `MaskedInfoNCE`.
    """

    def __init__(self, model: nn.Module, *, mini_batch_size: int = 32, **settings: Any) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.whole = MaskedInfoNCE(nn.Identity(), **settings)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The loss of the whole batch from its mini-batches' embeddings."""
        loss = self.whole.loss_of([torch.cat(column) for column in reps], labels)
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
            loss = loss.detach()
        return loss

    def get_config_dict(self) -> dict[str, Any]:
        """Settings for the model card."""
        return {**self.whole.get_config_dict(), "mini_batch_size": self.mini_batch_size}
