"""Real architectures with a few thousand random weights and word tokenizers: models that tests can afford.

Weights depend on the seed and the shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def tiny_llama(vocabulary: int, *, seed: int = 0, **shape: Any) -> Any:
    """A Llama with two blocks of width 32 and four heads, unless `shape` says otherwise."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return _drawn(LlamaForCausalLM, LlamaConfig, vocabulary, seed, shape)


def tiny_bert(vocabulary: int, *, seed: int = 0, head: str = "BertModel", **shape: Any) -> Any:
    """A BERT with two blocks of width 32, four heads and 64 positions, unless `shape` says otherwise.

    Args:
        vocabulary: Its tokens.
        seed: Of its weights.
        head: The class in transformers, e.g. `BertForMaskedLM`.
        shape: Other entries of `BertConfig`.
    """
    import transformers

    shape = {"max_position_embeddings": 64, **shape}
    return _drawn(getattr(transformers, head), transformers.BertConfig, vocabulary, seed, shape)


def _drawn(model: Any, config: Any, vocabulary: int, seed: int, shape: dict[str, Any]) -> Any:
    import torch

    usual = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    torch.manual_seed(seed)
    return model(config(vocab_size=vocabulary, **{**usual, **shape})).eval()


def word_tokenizer(words: Sequence[str], *, unknown: str = "<unk>", split: Any = None, **special: Any) -> Any:
    """A tokenizer of whole words.

    Args:
        words: Its vocabulary, special tokens among them, in the order of ids; one given twice counts once.
        unknown: The token of every other word.
        split: A pre-tokenizer; words are split at blanks and punctuation without one.
        special: Other arguments of `PreTrainedTokenizerFast`, e.g. `pad_token`.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = split or pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown, **special)


def bert_word_tokenizer(words: Sequence[str], **special: Any) -> Any:
    """A tokenizer of whole lower-case words that marks beginning and end as BERT's does."""
    from tokenizers import normalizers, pre_tokenizers, processors

    made = word_tokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words], unknown="[UNK]",
        split=pre_tokenizers.BertPreTokenizer(), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64, **special,
    )  # fmt: skip
    made.backend_tokenizer.normalizer = normalizers.Lowercase()
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made
