"""A word-level vocabulary: each word of the ids is one token, in its own case.

`</s>` ends an id and, in a packed stream, also stands between ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerBase:
    """A tokenizer that splits at white space and knows the given words.

    Args:
        words: The vocabulary, in the order of the token numbers; repeated words count once.

    Returns:
        A fast tokenizer with `<pad>` 0, `</s>` 1 and `<unk>` 2, which `save_pretrained` can store.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    known = dict.fromkeys([PAD, END, UNKNOWN, *words])
    raw = Tokenizer(WordLevel({word: place for place, word in enumerate(known)}, unk_token=UNKNOWN))
    raw.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=raw,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def words_of(texts: Iterable[str], most: int | None = None) -> list[str]:
    """The words of texts: all of them in the order of appearance, or the most frequent ones.

    Args:
        texts: Read word by word at white space.
        most: Keep so many; among equally frequent words the alphabet decides.
    """
    counts = Counter(word for text in texts for word in text.split())
    if most is None or len(counts) <= most:
        return list(counts)
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]
