"""The loss that trains the generator: the frozen recommender's, on a history of soft ids (section 3.4).

For a batch of histories every distinct item is written once; its soft id stands in all of the batch's slots
of that item. The recommender's loss on the target's current id flows back through the slots into the
generator. The recommender's weights get no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from etude.methods.idgen.backbones import Backbone
from etude.methods.idgen.items import Item
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.soft_ids import (
    embeddings,
    punctuation_tokens,
    require_shared_vocabulary,
    write_soft_ids,
)
from etude.methods.idgen.training_batches import IGNORED, EpochBatches, pad_rows


class ThroughRecommender(nn.Module):
    """Generator and frozen recommender as one module; only the generator is trained.

    Both stay in evaluation mode: dropout would make the re-read distributions differ from the decoded ones.

    Args:
        generator: Writes ids from texts.
        recommender: Reads them; its current ids are the targets. It is frozen.
        items: The catalogue.
        temperature: Of the soft ids.
        straight_through: Whether the slots hold the greedy tokens' embeddings.
        text_tokens: Tokens of an item's text that are read.

    Raises:
        EtudeError: The two do not share a vocabulary.
    """

    def __init__(
        self,
        generator: Backbone,
        recommender: GenerativeRecommender,
        items: Mapping[str, Item],
        *,
        temperature: float = 1.0,
        straight_through: bool = False,
        text_tokens: int = 256,
    ) -> None:
        super().__init__()
        require_shared_vocabulary(generator, recommender.backbone)
        self.generator: Any = generator.model
        self.frozen: Any = recommender.backbone.model
        self.frozen.requires_grad_(False)
        self.recommender = recommender
        self.temperature, self.straight_through = temperature, straight_through
        tokenizer = generator.tokenizer
        self.texts = text_tokens_of([items[name] for name in recommender.items], tokenizer, text_tokens)
        self.punctuation = punctuation_tokens(tokenizer, len(embeddings(self.frozen)))
        self.eval()

    def train(self, mode: bool = True) -> ThroughRecommender:
        """Stay in evaluation mode, see above."""
        return super().train(False)

    def forward(self, history: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Mean cross-entropy of the targets' ids, in nats per token.

        Args:
            history: Item numbers, -1 for padding, int64 (rows, longest).
            target: Item numbers, int64 (rows,).
        """
        rec, device = self.recommender, history.device
        distinct = torch.unique(history[history >= 0])
        place = {int(item): row for row, item in enumerate(distinct)}
        texts, mask = pad_rows([self.texts[item] for item in place], rec.padding)
        embedding = self.frozen.get_input_embeddings()
        soft = write_soft_ids(
            self.generator,
            texts.to(device),
            mask.to(device),
            embedding.weight,
            end=rec.end,
            punctuation=self.punctuation,
            temperature=self.temperature,
            straight_through=self.straight_through,
        )
        prompts, slots = [], []  # slots: (row, place in the prompt, item's row, step)
        for row, items in enumerate(history.tolist()):
            written = [place[item] for item in items if item >= 0]
            prompt, starts = rec.reader.fill([soft.tokens[item] for item in written])
            prompts.append(prompt)
            for item, start in zip(written, starts, strict=True):
                slots += [(row, start + step, item, step) for step in range(len(soft.tokens[item]))]
        left = not rec.backbone.is_seq2seq
        tokens, mask = (one.to(device) for one in pad_rows(prompts, rec.padding, left=left))
        row, position, item, step = torch.tensor(slots, device=device).T
        if left:
            position = position + (mask == 0).sum(1)[row]
        embedded = embedding(tokens).index_put((row, position), soft.embeddings[item, step])
        targets = [[*rec.tokens[rec.items[one]], rec.end] for one in target.tolist()]
        return {"loss": target_loss(self.frozen, embedded, mask, targets, rec.padding)}


def target_loss(
    model: Any, embedded: Tensor, mask: Tensor, targets: Sequence[Sequence[int]], padding: int
) -> Tensor:
    """Cross-entropy of ids after embedded prompts; padding has no part in it.

    Args:
        model: A T5 or a causal model.
        embedded: Prompts, (rows, length, width); for a causal model padded on the left.
        mask: 1 for what counts, int64 (rows, length).
        targets: Tokens of the ids with their ends.
        padding: The token of padding.
    """
    tokens, real = (one.to(mask.device) for one in pad_rows(targets, padding))
    labels = tokens.masked_fill(real == 0, IGNORED)
    if model.config.is_encoder_decoder:
        loss: Tensor = model(inputs_embeds=embedded, attention_mask=mask, labels=labels).loss
        return loss
    whole = torch.cat([mask, real], 1)
    output = model(
        inputs_embeds=torch.cat([embedded, model.get_input_embeddings()(tokens)], 1),
        attention_mask=whole,
        position_ids=(whole.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
    )
    logits = output.logits[:, mask.shape[1] - 1 : -1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


class SampledTargets(EpochBatches):
    """One random target of each history in an epoch, and what precedes it, as item numbers.

    Args:
        histories: Item numbers per user, training part only.
        max_history: The most items that are read.
        most: Use so many random histories in an epoch; None for all.
        epochs: Passes.
        batch_size: Histories of a batch (paper: 12).
        seed: Of order and sampling.
    """

    def __init__(
        self,
        histories: Sequence[Sequence[int]],
        *,
        max_history: int = 20,
        most: int | None = None,
        epochs: int = 1,
        batch_size: int = 12,
        seed: int = 0,
    ) -> None:
        self.histories = [list(history) for history in histories if len(history) > 1]
        self.max_history, self.most = max_history, most
        super().__init__(epochs=epochs, batch_size=batch_size, seed=seed)

    def draw(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of (history, position of the target)."""
        chosen = generator.permutation(len(self.histories))[: self.most]
        positions = [int(generator.integers(1, len(self.histories[number]))) for number in chosen]
        rows = np.stack([chosen, positions], 1).astype(np.int64)
        return rows, np.minimum(rows[:, 1], self.max_history)

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Histories padded with -1, (rows, longest), and targets, (rows,), both int64."""
        prefixes = [self.histories[n][max(p - self.max_history, 0) : p] for n, p in rows.tolist()]
        return {
            "history": pad_rows(prefixes, -1)[0],
            "target": torch.tensor([self.histories[n][p] for n, p in rows.tolist()]),
        }


def text_tokens_of(items: Sequence[Item], tokenizer: Any, most: int) -> list[list[int]]:
    """Tokens of the items' texts, at most so many, at least one."""
    encoded = tokenizer([item.line or "item" for item in items], truncation=True, max_length=most)
    return [list(row) for row in encoded["input_ids"]]
