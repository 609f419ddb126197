"""What a quantized model lost: KL to the reference, perplexity of both, agreement of their first choices.

Everything is per document, so that two quantized models can be compared on the same documents, and summed by
source.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from etude.data import Document, read_documents
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.signround.blocks import output_layer
from etude.methods.signround.calibration import encode
from etude.methods.signround.exports import load_quantized
from etude.methods.signround.texts import evaluation_documents
from etude.models import load_causal_lm
from etude.render import console, table
from etude.runs import write_json

RESAMPLES = 2000


@dataclass(frozen=True)
class DocumentScore:
    """Sums over the predicted tokens of one document; divide by `tokens` for means.

    Attributes:
        id, source: The document.
        tokens: Predicted tokens.
        nll_ref, nll_q: Negative log-likelihood of the text under the reference and the quantized model, in
            nats.
        kl: KL(reference || quantized), in nats.
        agree: Tokens at which both models' first choice is the same.
    """

    id: str
    source: str
    tokens: int
    nll_ref: float
    nll_q: float
    kl: float
    agree: int


class Reference:
    """A reference model with what it says about some documents computed once.

    Kept is the last hidden state of every token, not the log-probabilities, which would be a vocabulary wide.

    Args:
        model: The full-precision model; not changed.
        documents: Documents, cut to `tokens` tokens; shorter than two tokens are left out.
        tokenizer: Its tokenizer.
        tokens: Tokens per document.

    Raises:
        EtudeError: No document is long enough.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: Any, documents: Sequence[Document], tokens: int
    ) -> None:
        device = next(model.parameters()).device
        encoded = [ids[:tokens] for ids in encode(documents, tokenizer)]
        pairs = [(d, ids) for d, ids in zip(documents, encoded, strict=True) if len(ids) > 1]
        if not pairs:
            raise EtudeError("no evaluation document has two tokens or more", "give documents with text")
        self.model = model
        self.head = require_head(model)
        self.documents = [document for document, _ in pairs]
        self.ids = [torch.tensor([ids], device=device) for _, ids in pairs]
        self.hidden: list[Tensor] = []
        self.plain_head = True
        for ids in self.ids:
            hidden, logits = last_hidden(model, ids)
            self.hidden.append(hidden)
            if len(self.hidden) == 1:  # some models scale or cap what the head gives
                self.plain_head = torch.allclose(self.head(hidden), logits, rtol=1e-4, atol=1e-4)

    def score(self, quantized: PreTrainedModel) -> list[DocumentScore]:
        """Compare a quantized model with the reference on every document."""
        scores = []
        with torch.no_grad():
            for document, ids, hidden in zip(self.documents, self.ids, self.hidden, strict=True):
                logits = self.head(hidden) if self.plain_head else self.model(input_ids=ids).logits
                ours = quantized(input_ids=ids, use_cache=False).logits
                scores.append(score_document(document, ids[0], logits[0], ours[0]))
        return scores


def require_head(model: PreTrainedModel) -> nn.Module:
    """The output layer of a causal LM.

    Raises:
        EtudeError: It has none.
    """
    head = output_layer(model)
    if head is None:
        raise EtudeError(f"{type(model).__name__} has no output layer", "give a causal language model")
    return head


@torch.no_grad()
def last_hidden(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What enters the output layer, (1, tokens, hidden), and the logits, (1, tokens, vocabulary)."""
    seen: list[Tensor] = []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(arguments[0])

    handle = require_head(model).register_forward_pre_hook(note)
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        handle.remove()
    return seen[0], logits


def score_document(document: Document, ids: Tensor, reference: Tensor, quantized: Tensor) -> DocumentScore:
    """Sums over one document.

    Args:
        document: Where the tokens come from.
        ids: Token ids, (tokens,).
        reference: Logits of the reference, (tokens, vocabulary).
        quantized: Logits of the quantized model, (tokens, vocabulary).
    """
    p = reference[:-1].float().log_softmax(-1)
    q = quantized[:-1].float().log_softmax(-1)
    following = ids[1:, None]
    return DocumentScore(
        id=document.id,
        source=document.source,
        tokens=len(ids) - 1,
        nll_ref=-float(p.gather(1, following).double().sum()),
        nll_q=-float(q.gather(1, following).double().sum()),
        kl=float((p.exp() * (p - q)).double().sum()),
        agree=int((p.argmax(-1) == q.argmax(-1)).sum()),
    )


def summarize(scores: Iterable[DocumentScore], seed: int = 0) -> dict[str, dict[str, Any]]:
    """{source: {documents, tokens, ppl_ref, ppl_q, kl_ref_q, top1_agreement, and their 95 % intervals}}."""
    by_source: dict[str, list[DocumentScore]] = {}
    for score in scores:
        by_source.setdefault(score.source or "text", []).append(score)
    return {source: summarize_source(group, seed) for source, group in by_source.items()}


def summarize_source(scores: Sequence[DocumentScore], seed: int) -> dict[str, Any]:
    """Figures of one source; intervals are percentiles of a bootstrap that draws whole documents."""
    sums = np.array([[s.tokens, s.nll_ref, s.nll_q, s.kl, s.agree] for s in scores], dtype=float)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    resampled = sums[drawn].sum(1)  # (resamples, 5)

    def figures(total: NDArray[np.float64]) -> NDArray[np.float64]:
        means = total[..., 1:] / total[..., :1]
        return np.concatenate([np.exp(means[..., :2]), means[..., 2:]], axis=-1)

    names = ("ppl_ref", "ppl_q", "kl_ref_q", "top1_agreement")
    low, high = np.percentile(figures(resampled), (2.5, 97.5), axis=0)
    result: dict[str, Any] = {"documents": len(scores), "tokens": int(sums[:, 0].sum())}
    result |= {name: float(value) for name, value in zip(names, figures(sums.sum(0)), strict=True)}
    result |= {f"{name}_ci": [float(a), float(b)] for name, a, b in zip(names, low, high, strict=True)}
    return result


def evaluation_texts(path: Path | None, documents: int) -> list[Document]:
    """At most `documents` documents of each source of a file, or of the built-in texts."""
    if documents < 1:
        raise EtudeError(f"documents = {documents} is too small", "use at least 1 per source")
    kept: dict[str, list[Document]] = {}
    for document in read_documents(path) if path else evaluation_documents():
        kept.setdefault(document.source, []).append(document)
    return [document for group in kept.values() for document in group[:documents]]


def source_table(sources: dict[str, dict[str, Any]], title: str) -> Any:
    """Figures by source for a terminal."""
    columns = ("source", "documents", "KL", "95 % CI", "perplexity", "reference", "same first choice")
    rows = [
        (
            source,
            x["documents"],
            x["kl_ref_q"],
            f"{x['kl_ref_q_ci'][0]:.3g} – {x['kl_ref_q_ci'][1]:.3g}",
            x["ppl_q"],
            x["ppl_ref"],
            f"{x['top1_agreement']:.1%}",
        )
        for source, x in sources.items()
    ]
    return table(columns, rows, title=title)


@dataclass(frozen=True)
class EvaluationResult:
    """Figures of a quantized model by source of text."""

    model: str
    reference: str
    sources: dict[str, dict[str, Any]]

    def __rich__(self) -> Any:
        return source_table(self.sources, f"{self.model} against {self.reference}")


@verb
def evaluate(
    model: Path,
    *,
    reference: str,
    eval: Path | None = None,
    documents: int = 20,
    tokens: int = 512,
    out: Path | None = None,
) -> EvaluationResult:
    """Measure what a quantized model lost: KL to the reference, perplexity, top-1 agreement, by source of
    text.

    Args:
        model: Directory of a quantized model (compressed-tensors, gptq, awq, auto_round or dequantized).
        reference: The full-precision model: an embedded name, a directory, or a hub id.
        eval: Documents, .jsonl/.parquet with `text` and `source`, or .txt; built-in texts when not given.
        documents: Documents per source.
        tokens: Tokens per document; longer ones are cut.
        out: Write the figures to this JSON file.

    Raises:
        EtudeError: The model cannot be read, or no document is long enough.
    """
    full = load_causal_lm(reference, dtype="float32", device="cpu")
    quantized = load_quantized(model)
    console().print(f"evaluating {model} on up to {documents} documents per source")
    known = Reference(full.model, full.tokenizer, evaluation_texts(eval, documents), tokens)
    result = EvaluationResult(str(model), reference, summarize(known.score(quantized.model)))
    if out is not None:
        write_json(out, asdict(result))
    return result
