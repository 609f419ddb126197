"""The verb `prepare`: a user's text as token shards that training reads, with what was removed and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.loading import LoadedTokenizer, load_any_tokenizer
from etude.methods.teenytinyllama.provenance import is_non_commercial
from etude.methods.teenytinyllama.reading import corpus
from etude.methods.teenytinyllama.screening import Dedup, Rules
from etude.methods.teenytinyllama.shard_writing import write_shards
from etude.methods.teenytinyllama.shards import Dtype, Manifest
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_USUAL_FRACTION = 0.01  # the paper evaluated on about 1 % of the corpus
_MUCH_FOREIGN = 0.01


@dataclass(frozen=True)
class PrepareResult:
    """A prepared corpus.

    Args:
        out: Its folder.
        manifest: What it holds (see `Manifest`).
        notices: What the user should know before training on it.
    """

    out: str
    manifest: dict[str, Any]
    notices: tuple[str, ...]

    def __rich__(self) -> RenderableType:
        """Totals by split, sources with licences, removals, notices."""
        from rich.console import Group

        manifest = Manifest.model_validate(self.manifest)
        totals = [
            (
                name,
                split.documents,
                split.words,
                split.bytes,
                split.tokens,
                split.tokens / split.words if split.words else None,
                split.bytes / split.tokens if split.tokens else None,
                split.tokens // manifest.block,
            )
            for name, split in manifest.splits.items()
        ]
        sources = [
            (s.file, s.license or "unknown", s.language, s.documents, s.tokens) for s in manifest.sources
        ]
        columns = (
            "split",
            "documents",
            "words",
            "bytes",
            "tokens",
            "tokens/word",
            "bytes/token",
            f"blocks of {manifest.block}",
        )
        removed = ", ".join(f"{count:,} {reason}" for reason, count in manifest.removed.items() if count)
        lines = (f"removed: {removed or 'nothing'}", *self.notices, f"corpus: {self.out}")
        return Group(
            table(columns, totals),
            table(("file", "license", "language", "documents", "tokens"), sources),
            *(show(Text(line)) for line in lines),
        )


@verb
def prepare(
    files: tuple[Path, ...],
    *,
    tokenizer: str,
    block: int,
    out: Path,
    val_fraction: float | None = None,
    validation: tuple[Path, ...] = (),
    dedup: Dedup = "near",
    threshold: float = 0.8,
    language: str | None = None,
    filter_language: bool = False,
    min_words: int = 0,
    field: str = "text",
    lines: int | None = None,
    license: str = "",
    dtype: Dtype | Literal["auto"] = "auto",
    shard_tokens: int = 1 << 26,
    seed: int = 0,
    force: bool = False,
) -> PrepareResult:
    """Turn text into memory-mapped token shards: screened, split, encoded, with a manifest of sources.

    Killed at any moment, the same command goes on and ends in the same files.

    Args:
        files: Text: .txt, .jsonl, .csv, .tsv or .parquet files, folders of them, saved datasets, or hub ids
            (org/name, org/name@config:split). Fields lang, license and source of a record are used.
        tokenizer: A tokenizer's folder or tokenizer.json, an embedded model's name, or a hub id.
        block: Tokens of a training sequence.
        out: Folder for the corpus.
        val_fraction: Share of documents to hold out, chosen by the hash of their text and the seed; 0.01
            unless validation is given.
        validation: Text to hold out instead, in the same forms.
        dedup: none, exact (equal up to white space) or near (also similar texts).
        threshold: Jaccard similarity of five-word shingles from which documents are near duplicates.
        language: The language the corpus should be in, such as pt; the share of others is reported.
        filter_language: Remove documents in other languages.
        min_words: Remove documents with fewer words.
        field: Field of a record that holds the text.
        lines: A document of a .txt file is so many lines; by default documents are separated by blank lines.
        license: Licence of documents that do not state one.
        dtype: uint16, uint32, or auto for the narrower one that fits.
        shard_tokens: Tokens of a shard.
        seed: Of the held-out choice.
        force: Accept validation documents that are inside the training text.

    Raises:
        EtudeError: The text cannot be read or is too small, validation text is inside the training text, or
            dtype is too narrow for the vocabulary.
    """
    if filter_language and language is None:
        raise EtudeError(
            "filter-language without language", "Say which language to keep, e.g. --language pt."
        )
    if val_fraction is None:
        val_fraction = 0.0 if validation else _USUAL_FRACTION
    loaded = load_any_tokenizer(tokenizer)
    text = corpus(files, field=field, lines=lines, license=license)
    held_out = corpus(validation, field=field, lines=lines, license=license) if validation else None
    hashes = text.hashes()
    held_out_hashes = held_out.hashes() if held_out else {}
    manifest = write_shards(
        text,
        loaded,
        out,
        block=block,
        rules=Rules(val_fraction, seed, dedup, threshold, language, filter_language, min_words),
        val_documents=held_out or (),
        dtype=dtype,
        shard_tokens=shard_tokens,
        hashes={**hashes, **held_out_hashes},
        force=force,
    )
    notices = list(_notices(manifest, loaded, language))
    if _has_seen_held_out(loaded, set(hashes.values()), set(held_out_hashes.values()), val_fraction, seed):
        notices.append(
            "warning: the tokenizer was trained on the held-out documents; leave their files out, or "
            f"train it with --val-fraction {val_fraction:g} --seed {seed}"
        )
    return PrepareResult(str(out), manifest.model_dump(), tuple(notices))


def _notices(manifest: Manifest, tokenizer: LoadedTokenizer, language: str | None) -> list[str]:
    """What the user should know before training on this corpus."""
    found = []
    documents = sum(split.documents for split in manifest.splits.values())
    if manifest.other_language > _MUCH_FOREIGN * documents:
        share = manifest.other_language / documents
        found.append(
            f"warning: {share:.1%} of the documents are not in {language!r}; --filter-language removes them"
        )
    if manifest.leaked_documents:
        found.append(
            f"warning: {manifest.leaked_documents} validation documents are inside the training text "
            "(forced): the validation loss is not a held-out loss"
        )
    elif manifest.leaked_paragraphs:
        found.append(f"{manifest.leaked_paragraphs} validation paragraphs also occur in the training text")
    if not 0 < manifest.block < manifest.splits["val"].tokens:
        found.append(
            f"warning: the validation text has {manifest.splits['val'].tokens} tokens, under one block"
        )
    if any(is_non_commercial(license) for license in manifest.licenses):
        found.append("warning: some text forbids commercial use, and so does a model trained on it")
    if "unknown" in manifest.licenses:
        found.append("some text states no license; give --license, it goes into the model card")
    if tokenizer.unknown_token is not None and not _writes_every_text(tokenizer):
        found.append("warning: the tokenizer has no byte fallback: characters it does not know are lost")
    return found


def _writes_every_text(tokenizer: LoadedTokenizer) -> bool:
    """Whether characters that no training text holds (here from Ugaritic) come back from their ids."""
    probe = "\U00010380\U00010381"
    ids = tokenizer.encode([probe])[0]
    return probe in tokenizer.tokenizer.decode(ids, skip_special_tokens=False)


def _has_seen_held_out(
    tokenizer: LoadedTokenizer, files: set[str], held_out_files: set[str], val_fraction: float, seed: int
) -> bool:
    """Whether the tokenizer's own record says that it was trained on held-out documents."""
    training = tokenizer.training()
    if training is None:
        return False
    seen = {file["sha256"] for file in training["files"]}
    if seen & held_out_files:
        return True
    left_out = training["seed"] == seed and training["val_fraction"] >= val_fraction
    return bool(val_fraction and seen & files and not left_out)
