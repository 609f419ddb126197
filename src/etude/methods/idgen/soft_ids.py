"""Ids with a gradient: what a generator writes, as expected embeddings of the recommender (section 3.4).

The generator decodes greedily. At step s its distribution p_s over the shared vocabulary gives the embedding
sum_v p_s(v) E(v), with E the recommender's; punctuation is zeroed. The steps are decoded without a gradient
and then read again in one pass, which gives the same distributions with one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.idgen.backbones import Backbone

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_ID = 10
"""Steps of a generator (paper)."""


@dataclass(frozen=True)
class SoftIds:
    """Ids of some items.

    Args:
        tokens: What greedy decoding wrote for each item, at least one token, without the end.
        embeddings: Expected embeddings, (items, longest, width); those past an item's end are not used.
    """

    tokens: list[list[int]]
    embeddings: Tensor


def write_soft_ids(
    generator: Any,
    texts: Tensor,
    mask: Tensor,
    embedding: Tensor,
    *,
    end: int,
    punctuation: Tensor,
    temperature: float = 1.0,
    straight_through: bool = False,
    longest: int = LONGEST_ID,
) -> SoftIds:
    """Decode ids greedily and give their embeddings, differentiable in the generator's weights.

    Args:
        generator: A sequence-to-sequence model in evaluation mode.
        texts: Tokens of the items' texts, int64 (items, length).
        mask: 1 for what counts, int64 (items, length).
        embedding: The recommender's input embeddings, (vocabulary, width).
        end: The token that ends an id.
        punctuation: Tokens whose positions are zeroed, bool (vocabulary,).
        temperature: Divides the logits; towards 0 the embeddings become those of the greedy tokens.
        straight_through: Use the greedy tokens' embeddings, with the gradient of the expected ones.
        longest: Steps at most.
    """
    written = greedy_tokens(generator, texts, mask, end, longest)  # (items, steps)
    start = torch.full_like(written[:, :1], generator.config.decoder_start_token_id)
    read = torch.cat([start, written[:, :-1]], 1)
    logits = generator(input_ids=texts, attention_mask=mask, decoder_input_ids=read).logits
    p = (logits / temperature).softmax(2)  # (items, steps, vocabulary)
    if straight_through:
        p = torch.nn.functional.one_hot(written, p.shape[2]).to(p.dtype) + p - p.detach()
    soft = p.to(embedding.dtype) @ embedding  # (items, steps, width)
    soft = soft.masked_fill(punctuation.to(written.device)[written][:, :, None], 0.0)
    return SoftIds(_until_end(written, end), soft)


@torch.no_grad()
def greedy_tokens(generator: Any, texts: Tensor, mask: Tensor, end: int, longest: int) -> Tensor:
    """The most likely token at each step until all rows have ended, int64 (items, steps).

    The first token is never the end: an item's slot must not be empty.
    """
    states = generator.get_encoder()(input_ids=texts, attention_mask=mask)
    token = torch.full((len(texts), 1), generator.config.decoder_start_token_id, device=texts.device)
    ended = torch.zeros(len(texts), dtype=torch.bool, device=texts.device)
    written: list[Tensor] = []
    cache = None
    for _ in range(longest):
        output = generator(
            encoder_outputs=states,
            attention_mask=mask,
            decoder_input_ids=token,
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = output.past_key_values, output.logits[:, -1]
        if not written:
            logits[:, end] = float("-inf")
        token = logits.argmax(1, keepdim=True)
        token[ended] = end
        written.append(token)
        ended |= token[:, 0] == end
        if bool(ended.all()):
            break
    return torch.cat(written, 1)


def punctuation_tokens(tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> Tensor:
    """Which tokens are no words: without any letter or digit, bool (vocabulary,)."""
    mask = torch.zeros(vocabulary, dtype=torch.bool)
    for token, place in tokenizer.get_vocab().items():
        if place < vocabulary and not any(sign.isalnum() for sign in token):
            mask[place] = True
    return mask


def embeddings(model: Any) -> Tensor:
    """A model's input embeddings, (vocabulary, width)."""
    table: Tensor = model.get_input_embeddings().weight
    return table


def require_shared_vocabulary(generator: Backbone, recommender: Backbone) -> None:
    """Refuse a generator and a recommender that number their tokens differently.

    Raises:
        EtudeError: Their tokenizers or their embeddings do not agree, or the generator has no encoder.
    """
    if not generator.is_seq2seq:
        raise EtudeError(
            "the id generator is a causal model, alternation needs one with an encoder", "Give a T5."
        )
    ours, theirs = generator.tokenizer.get_vocab(), recommender.tokenizer.get_vocab()
    rows = [len(embeddings(one.model)) for one in (generator, recommender)]
    if ours != theirs or rows[0] != rows[1]:
        differing = sum(theirs.get(token) != place for token, place in ours.items())
        raise EtudeError(
            f"generator and recommender have different tokenizers ({len(ours)} and {len(theirs)} tokens, "
            f"{differing} of them numbered differently; embeddings of {rows[0]} and {rows[1]} rows)",
            "Soft ids need one vocabulary: start both from the same model, or use tiny ones.",
        )


def _until_end(written: Tensor, end: int) -> list[list[int]]:
    return [row[: row.index(end)] if end in row else row for row in written.tolist()]
