"""PipeNet: an encoder, frozen or tuned, and the reasoner over pruned subgraphs, as one module.

encoder = load_encoder("minilm")
network = PipeNet(encoder, dim=64, layers=2)
network.fit(questions, store, out=Path("fit"), epochs=5)
network.predict(questions[:1], store)[0].probabilities
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.pipenet.attention_layer import Attention
from etude.methods.pipenet.graph_batch import GraphBatch, batch_graphs, by_budget
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.questions import Question, encoder_text
from etude.methods.pipenet.reasoner import Reasoner, ReasonerSettings, choice_logits
from etude.methods.pipenet.subgraph import Subgraph
from etude.methods.pipenet.vectors import ConceptVectors, separator_of, statement_vectors
from etude.models import Encoder
from etude.models.encoder import pool

if TYPE_CHECKING:
    from etude.methods.pipenet.training import Training
    from etude.training import FitResult

EDGE_BUDGET = 200_000  # messages of one forward pass when predicting


@dataclass(frozen=True)
class ChoiceAttention:
    """What the reasoner looked at for one choice.

    Attributes:
        graph: The subgraph it saw.
        nodes: Weight of each node in the pooling, mean over heads, (n,).
        triples: Weight of each triple in the last layer, the larger of its two directions, (e,).
    """

    graph: Subgraph
    nodes: NDArray[np.float32]
    triples: NDArray[np.float32]


@dataclass(frozen=True)
class ChoiceResult:
    """The answer to a question.

    Attributes:
        id: The question.
        probabilities: One per choice.
        choice: The likeliest.
        grounded: Whether any choice has a concept; if not, the encoder answered alone.
        attention: One per choice, when asked for.
    """

    id: str
    probabilities: tuple[float, ...]
    choice: int
    grounded: bool
    attention: tuple[ChoiceAttention, ...] = field(default=(), repr=False)


class PipeNet(nn.Module):
    """Encoder and reasoner.

    Args:
        encoder: Gives the statement vector s from "question [SEP] answer".
        dim: Width of the graph part (paper: 200).
        layers: Its layers (paper: 5); 0 leaves the encoder alone.
        heads, pooling_heads, dropout, attention, hidden_layers: See `ReasonerSettings`.
        relations: Merged relations of the graph.
        concept_dim: Width of the concepts' features; the encoder's by default.
        tune: Train the encoder too.
        max_length: Tokens after which "question [SEP] answer" is cut, when tuning.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        dim: int = 200,
        layers: int = 5,
        heads: int = 4,
        pooling_heads: int = 2,
        dropout: float = 0.2,
        attention: Attention = "target",
        hidden_layers: int = 0,
        relations: int = 17,
        concept_dim: int | None = None,
        tune: bool = False,
        max_length: int = 128,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.tune = tune
        self.max_length = max_length
        self.settings = ReasonerSettings(
            relations,
            concept_dim or encoder.dimension,
            encoder.dimension,
            dim,
            layers,
            heads,
            pooling_heads,
            dropout,
            attention,
            hidden_layers,
        )
        self.reasoner = Reasoner(self.settings)
        self.language_frozen = False  # set by the thaw callback while the encoder rests
        if tune:
            self.language: nn.Module = encoder.model
            self.language.requires_grad_(True)

    def forward(
        self,
        features: Tensor,
        graph: Mapping[str, Tensor],
        owner: Tensor,
        answers: Tensor | None = None,
        statement: Tensor | None = None,
        tokens: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Logits of all choices and, with answers, the cross-entropy over each question's choices.

        Args:
            features: Of the concepts, (nodes, concept_dim).
            graph: Fields of a `GraphBatch`.
            owner: Question of each graph, (G,).
            answers: Right choice of each question, (questions,).
            statement: Frozen vectors s, (G, statement_dim); or
            tokens: What the encoder reads.

        Returns:
            `logits` (questions, most choices), `attention`, and `loss`.
        """
        if statement is None:
            assert tokens is not None
            statement = self._encode(tokens)
        logits, attention = self.reasoner(statement, features, GraphBatch(**graph))
        questions = int(owner[-1]) + 1
        table = choice_logits(logits, owner, questions)
        result: dict[str, Any] = {"logits": table, "attention": attention}
        if answers is not None:
            result["loss"] = F.cross_entropy(table.float(), answers)
        return result

    def _encode(self, tokens: Mapping[str, Tensor]) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.language_frozen):
            states = self.language(**tokens).last_hidden_state
            pooled = pool(states, tokens["attention_mask"], self.encoder.pooling)
            return F.normalize(pooled.float(), dim=-1) * math.sqrt(self.encoder.dimension)

    def inputs(
        self,
        questions: Sequence[Question],
        graphs: Sequence[Sequence[Subgraph]],
        vectors: ConceptVectors,
        statements: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> dict[str, Any]:
        """What `forward` takes for some questions.

        Args:
            questions: Any number, with any numbers of choices.
            graphs: Subgraphs of each question's choices.
            vectors: Features of concepts.
            statements: Frozen vectors by question id; not used when the encoder is tuned.
        """
        flat = [g for one in graphs for g in one]
        owner = torch.from_numpy(np.repeat(np.arange(len(questions)), [len(q.choices) for q in questions]))
        given: dict[str, Any] = {
            "features": vectors.of(flat),
            "graph": vars(batch_graphs(flat, None, self.settings.relations)),
            "owner": owner,
        }
        if all(q.answer is not None for q in questions):
            given["answers"] = torch.tensor([q.answer for q in questions])
        if self.tune:
            separator = separator_of(self.encoder)
            texts = [encoder_text(q, c, separator) for q in questions for c in range(len(q.choices))]
            tokens = self.encoder.tokenizer(
                texts,
                truncation=True,
                max_length=min(self.max_length, self.encoder.max_length),
                padding=True,
                return_tensors="pt",
            )
            given["tokens"] = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        else:
            assert statements is not None
            given["statement"] = torch.from_numpy(np.concatenate([statements[q.id] for q in questions]))
        return given

    def fit(
        self,
        questions: Sequence[Question],
        store: GraphStore,
        *,
        out: Path,
        how: Training | None = None,
        vectors: ConceptVectors | None = None,
        validation: Sequence[Question] = (),
    ) -> FitResult:
        """Train on answered questions; see `etude.methods.pipenet.training.fit_network`.

        Args:
            questions: With answers.
            store: Their subgraphs.
            out: Folder for checkpoints; the same call goes on from the last one.
            how: Epochs, batch, rates.
            vectors: Features of concepts; the encoder's of their names by default.
            validation: Questions on which the best epoch is chosen; the last one without.
        """
        from etude.methods.pipenet.training import Training, fit_network

        chosen = vectors or ConceptVectors.encoded([store], self.encoder)
        return fit_network(self, questions, store, chosen, how or Training(), out=out, validation=validation)

    @torch.inference_mode()
    def predict(
        self,
        questions: Sequence[Question],
        store: GraphStore,
        *,
        vectors: ConceptVectors | None = None,
        edge_budget: int = EDGE_BUDGET,
        attention: bool = False,
    ) -> list[ChoiceResult]:
        """Answer questions, in batches of at most `edge_budget` messages.

        Args:
            questions: Grounded in `store`.
            store: Their subgraphs, pruned as in training.
            vectors: Features of concepts; the encoder's of their names by default.
            edge_budget: Bounds memory.
            attention: Also return what was looked at.
        """
        if not questions:
            return []
        vectors = vectors or ConceptVectors.encoded([store], self.encoder)
        if vectors.width != self.settings.concept_dim:
            raise EtudeError(
                f"concept vectors of width {vectors.width}, not {self.settings.concept_dim}",
                "Use the vectors it was trained with.",
            )
        statements = None if self.tune else statement_vectors(questions, self.encoder)
        device = next(self.parameters()).device
        graphs = [store.of_question(q) for q in questions]
        loads = [sum(g.messages for g in one) for one in graphs]
        self.eval()
        results: list[ChoiceResult] = []
        for places in by_budget(loads, edge_budget):
            asked = [questions[i] for i in places]
            seen = [graphs[i] for i in places]
            given = _on(self.inputs(asked, seen, vectors, statements), device)
            given.pop("answers", None)
            found = self(**given)
            table = found["logits"].float().softmax(dim=1).cpu().numpy()
            looked = _looked(found["attention"], given["graph"], seen) if attention else [()] * len(asked)
            for q, row, one, look in zip(asked, table, seen, looked, strict=True):
                values = tuple(float(p) for p in row[: len(q.choices)])
                grounded = any(len(g.nodes) for g in one)
                results.append(ChoiceResult(q.id, values, int(np.argmax(values)), grounded, look))
        return results


def _on(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    return {name: _on(item, device) for name, item in value.items()}


def _looked(
    attention: Mapping[str, Any], graph: Mapping[str, Tensor], questions: Sequence[Sequence[Subgraph]]
) -> list[tuple[ChoiceAttention, ...]]:
    """Attention cut into questions and choices."""
    first = graph["context"].cpu().numpy()
    source, target = graph["source"].cpu().numpy(), graph["target"].cpu().numpy()
    if attention:
        weights = attention["nodes"].float().mean(dim=1).cpu().numpy()
        edges = attention["edges"].float().mean(dim=1).cpu().numpy()
        by_pair: dict[tuple[int, int], float] = {}
        for s, t, w in zip(source.tolist(), target.tolist(), edges.tolist(), strict=True):
            by_pair[s, t] = max(w, by_pair.get((s, t), 0.0))
    results, k, done = [], 0, 0
    for one in questions:
        looks = []
        for g in one:
            begin, n = int(first[k]) + 1, len(g.nodes)
            if attention:
                pairs = (g.edge_index + begin).T.tolist()
                triples = [max(by_pair[h, t], by_pair[t, h]) for h, t in pairs]
                looks.append(
                    ChoiceAttention(g, weights[done : done + n], np.array(triples, dtype=np.float32))
                )
            else:
                looks.append(
                    ChoiceAttention(g, np.zeros(n, np.float32), np.zeros(g.edge_index.shape[1], np.float32))
                )
            k, done = k + 1, done + n
        results.append(tuple(looks))
    return results
