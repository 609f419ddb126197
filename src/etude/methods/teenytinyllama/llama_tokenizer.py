"""The Llama-2 tokenizer design: reserved pieces, normalizer, words, decoder; and its folder on disk.

Notable:
- Ids 0-3 are `<unk>`, `<s>`, `</s>`, `<pad>`; with byte fallback the 256 byte tokens `<0x00>` ... follow.
  They must be inside the vocabulary: a flag set after training leaves them out, and unknown characters become
  `<unk>`.
- Text goes through Llama-2's normalizer (a mark `▁` before the text, spaces to `▁`) and decoder. A `▁` of the
  text itself, which Llama-2 turns into a space, is escaped, so that `decode(encode(text)) == text`.
- Words are cut before encoding: at each space, at line breaks, and around `<`. No piece crosses a cut, so
  cutting changes no segmentation (a runtime that does not cut, such as llama.cpp, gives the same ids), and no
  text can spell a reserved piece such as `<s>` or `<0x41>`.
- BPE merges follow SentencePiece: any two neighbors whose union is a piece may merge, the earliest learned
  piece first. So a vocabulary with scores -id is the whole tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from etude.errors import EtudeError
from etude.runs import atomic_path, write_json

Kind = Literal["bpe", "unigram"]

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
UNKNOWN, BEGIN, END, PAD = range(4)
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "training.json")

_SPACE = "▁"
_ESCAPE = "\ue000"  # private use: `▁` is written escape-1, the escape itself escape-0
_WORD = r"▁?[^▁\n<]+|▁|\n+|<"


@dataclass(frozen=True)
class Piece:
    """One entry of a vocabulary, as SentencePiece and GGUF see it.

    Args:
        text: What it stands for, `▁` for a space.
        score: BPE: -id, so that earlier learned pieces merge first. Unigram: log-probability.
        kind: `unknown`, `control` (`<s>`, `</s>`, `<pad>`), `byte` or `normal`.
    """

    text: str
    score: float
    kind: Literal["unknown", "control", "byte", "normal"]


def reserved(byte_fallback: bool) -> tuple[str, ...]:
    """The pieces before the learned ones, in the order of their ids."""
    return SPECIAL + (BYTES if byte_fallback else ())


def bare_tokenizer(model: models.Model) -> Tokenizer:
    """A tokenizer with Llama-2's normalizer and decoder around a model, without special tokens."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(_ESCAPE, _ESCAPE + "0"),
            normalizers.Replace(_SPACE, _ESCAPE + "1"),
            normalizers.Prepend(_SPACE),
            normalizers.Replace(" ", _SPACE),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
            decoders.Replace(_ESCAPE + "1", _SPACE),
            decoders.Replace(_ESCAPE + "0", _ESCAPE),
        ]
    )
    return tokenizer


def bpe_tokenizer(pieces: Sequence[str], *, byte_fallback: bool) -> Tokenizer:
    """A BPE tokenizer from its learned pieces, single characters included, in the order they were learned."""
    vocabulary = {piece: index for index, piece in enumerate((*reserved(byte_fallback), *pieces))}
    merges = sorted(
        (index, vocabulary[piece[:cut]], vocabulary[piece[cut:]])
        for piece, index in vocabulary.items()
        if index >= len(reserved(byte_fallback))
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    )
    names = list(vocabulary)
    model = models.BPE(
        vocab=vocabulary,
        merges=[(names[left], names[right]) for _, left, right in merges],
        unk_token=SPECIAL[UNKNOWN],
        fuse_unk=True,
        byte_fallback=byte_fallback,
    )
    return _with_special_tokens(bare_tokenizer(model))


def unigram_tokenizer(pieces: Iterable[tuple[str, float]], *, byte_fallback: bool) -> Tokenizer:
    """A unigram tokenizer from its learned pieces and their log-probabilities."""
    vocabulary = [*((name, 0.0) for name in reserved(byte_fallback)), *pieces]
    model = models.Unigram(vocab=vocabulary, unk_id=UNKNOWN, byte_fallback=byte_fallback)
    return _with_special_tokens(bare_tokenizer(model))


def vocabulary_pieces(tokenizer: Tokenizer) -> list[Piece]:
    """The vocabulary of a tokenizer of this design, by id, with the scores that SentencePiece readers expect.

    Raises:
        EtudeError: The tokenizer is of another design.
    """
    state = json.loads(tokenizer.to_str())["model"]
    if state["type"] == "BPE":
        scored = [(name, -float(index)) for name, index in sorted(state["vocab"].items(), key=lambda i: i[1])]
    elif state["type"] == "Unigram":
        scored = [(name, float(score)) for name, score in state["vocab"]]
    else:
        raise EtudeError(f"a {state['type']} tokenizer", "Give one that `tokenizer` trained.")
    if tuple(name for name, _ in scored[: len(SPECIAL)]) != SPECIAL:
        raise EtudeError(
            f"the tokenizer begins with {scored[0][0]!r}, not {', '.join(SPECIAL)}",
            "Give one that `tokenizer` trained.",
        )

    def kind(index: int, name: str) -> Literal["unknown", "control", "byte", "normal"]:
        if index == UNKNOWN:
            return "unknown"
        return "control" if index < len(SPECIAL) else "byte" if name in BYTES else "normal"

    return [
        Piece(name, 0.0 if name in BYTES or index < len(SPECIAL) else score, kind(index, name))
        for index, (name, score) in enumerate(scored)
    ]


def save_tokenizer(tokenizer: Tokenizer, folder: Path | str, *, training: object = None) -> None:
    """Write the folder that `transformers.AutoTokenizer.from_pretrained` reads, in one step.

    Args:
        tokenizer: A tokenizer of this design.
        folder: A folder that is new, empty, or holds a tokenizer alone.
        training: What it was trained on (JSON), written as `training.json`.

    Raises:
        EtudeError: The folder holds other files, or cannot be written.
    """
    folder = Path(folder)
    check_folder(folder)
    names = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), SPECIAL, strict=True))
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        tokenizer.save(str(temporary / "tokenizer.json"))
        write_json(
            temporary / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "clean_up_tokenization_spaces": False,
                "model_input_names": ["input_ids", "attention_mask"],
                **names,
            },
        )
        write_json(temporary / "special_tokens_map.json", names)
        if training is not None:
            write_json(temporary / "training.json", training)


def check_folder(folder: Path) -> None:
    """Refuse a place where a tokenizer folder cannot go without deleting something else.

    Raises:
        EtudeError: It is a file, or a folder that holds files other than a tokenizer's.
    """
    if folder.is_file():
        raise EtudeError(f"{folder} is a file", "Give a folder as --out.")
    others = sorted(p.name for p in folder.iterdir() if p.name not in FILES) if folder.is_dir() else []
    if others:
        raise EtudeError(f"{folder} holds other files ({others[0]})", "Give a new folder as --out.")


def _with_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL])
    return tokenizer
