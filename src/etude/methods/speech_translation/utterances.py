"""The data record: an utterance with its audio, transcript and translation; and the files it is read from.

JSONL, TSV, CSV, Parquet and saved `datasets` have one row per utterance; fairseq's manifests are read by
their own column names, and a Kaldi folder by `wav.scp`, `segments`, `text` and `text.LANG`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os.path import isfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, model_validator

from etude.data import read_lines, read_records
from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.methods.speech_translation.audio import AudioReference, audio_seconds, parse_reference
from etude.runs import atomic_path, content_hash

_FAIRSEQ = {"src_text": "transcript", "tgt_text": "translation", "src_lang": "source_lang",
            "tgt_lang": "target_lang"}  # fmt: skip


class Utterance(BaseModel):
    """One utterance."""

    id: str = ""
    audio: str
    source_lang: str = "en"
    transcript: str | None = None
    target_lang: str | None = None
    translation: str | None = None
    question: str | None = None
    answer: str | None = None
    speaker: str | None = None
    split: str | None = None
    base: str = ""

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        row = {_FAIRSEQ.get(name, name): value for name, value in row.items()}
        if "id" in row:
            row["id"] = str(row["id"])
        if isinstance(row.get("audio"), dict):
            row["audio"] = _stored(row["audio"])
        if row.get("audio") == "":
            raise ValueError("needs the path of an audio file in `audio`")
        return row

    @property
    def reference(self) -> AudioReference:
        """Where its audio is."""
        return parse_reference(self.audio, Path(self.base) if self.base else None)


def read_utterances(source: Path | str, *, split: str | None = None) -> list[Utterance]:
    """Read utterances; relative audio paths belong to the data file's folder.

    Args:
        source: A table (`.jsonl`, `.tsv`, `.csv`, `.parquet`), a Kaldi folder, a saved dataset, a hub id, or
            one audio file.
        split: Only rows of this split, where rows have one.

    Raises:
        EtudeError: A row is bad, an audio file is missing, an id stands twice, or nothing is left.
    """
    path = Path(source)
    if path.suffix.lower() in (".wav", ".flac", ".mp3", ".ogg"):
        rows = [Utterance(id=path.stem, audio=str(path))]
    elif (path / "wav.scp").is_file():
        rows = list(_read_kaldi(path))
    elif path.is_dir() and not (path / "state.json").exists() and not (path / "dataset_dict.json").exists():
        rows = list(_read_folder(path))
    else:
        base = str(path.parent) if path.is_file() else ""
        rows = [row.model_copy(update={"base": base}) for row in read_records(source, Utterance)]
    if split is not None and any(row.split for row in rows):
        rows = [row for row in rows if row.split == split]
        if not rows:
            raise EtudeError(f"{source}: no utterance of the split {split!r}", "Check the column `split`.")
    if not rows:
        raise EtudeError(f"{source}: holds no utterance", "Each row needs at least `audio`.")
    rows = [r if r.id else r.model_copy(update={"id": f"{path.stem}-{i}"}) for i, r in enumerate(rows)]
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise EtudeError(f"{source}: two utterances have the id {row.id!r}", "Ids must be unique.")
        seen.add(row.id)
    missing = [row for row in rows if not isfile(row.reference.path)]  # False for an impossible name too
    if missing:
        raise EtudeError(
            f"{source}: {len(missing)} of {len(rows)} audio files are missing, the first is "
            f"{missing[0].reference.path} (id {missing[0].id})",
            "Paths are relative to the data file's folder.",
        )
    return rows


def require(utterances: Sequence[Utterance], field: str, why: str) -> None:
    """Refuse utterances without a field.

    Raises:
        EtudeError: Some lack it; the first is named.
    """
    lacking = [u for u in utterances if not (getattr(u, field) or "").strip()]
    if lacking:
        raise EtudeError(
            f"{len(lacking)} of {len(utterances)} utterances have no {field} (the first: {lacking[0].id}), "
            f"which {why} needs",
            f"Add the column `{field}`, or leave these rows out.",
        )


def within_length(
    utterances: Sequence[Utterance], shortest: float, longest: float
) -> tuple[list[Utterance], int]:
    """Utterances between two lengths in seconds, and how many were left out."""
    kept = [u for u in utterances if shortest <= audio_seconds(u.reference) <= longest]
    return kept, len(utterances) - len(kept)


def _read_folder(folder: Path) -> Iterator[Utterance]:
    """A folder with `data.tsv` (or .jsonl, .csv, .parquet), or only audio files."""
    tables = [folder / f"data{s}" for s in (".jsonl", ".tsv", ".csv", ".parquet")]
    table = next((t for t in tables if t.is_file()), None)
    if table is not None:
        for row in read_records(table, Utterance):
            yield row.model_copy(update={"base": str(folder)})
        return
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".wav", ".flac", ".mp3", ".ogg"))
    if not files:
        raise EtudeError(
            f"{folder}: neither a table (data.tsv, data.jsonl ...) nor wav.scp nor audio files",
            "Give a data file, or a folder of audio.",
        )
    for file in files:
        yield Utterance(id=file.stem, audio=str(file))


def _read_kaldi(folder: Path) -> Iterator[Utterance]:
    files = _two_columns(folder / "wav.scp")
    piped = next((f"{key} {value}" for key, value in files.items() if value.endswith("|")), None)
    if piped:
        raise EtudeError(
            f"{folder / 'wav.scp'}: {piped[:80]!r} is a command, and none is run", "Give files, not pipes."
        )
    transcripts = _two_columns(folder / "text") if (folder / "text").exists() else {}
    translated = {p.suffix[1:]: _two_columns(p) for p in sorted(folder.glob("text.*"))}
    if len(translated) > 1:
        raise EtudeError(
            f"{folder}: translations into {', '.join(translated)}", "Keep one text.LANG beside wav.scp."
        )
    language, texts = next(iter(translated.items()), (None, {}))
    speakers = _two_columns(folder / "utt2spk") if (folder / "utt2spk").exists() else {}
    if (folder / "segments").exists():
        pieces = {}
        for key, value in _two_columns(folder / "segments").items():
            name, start, end = value.split()
            if name not in files:
                raise EtudeError(
                    f"{folder / 'segments'}: {key} names the unknown recording {name}", "Mend wav.scp."
                )
            pieces[key] = f"{files[name]}:{start}:{end}"
    else:
        pieces = files
    for key, audio in pieces.items():
        yield Utterance(
            id=key,
            audio=audio,
            base=str(folder),
            transcript=transcripts.get(key),
            target_lang=language,
            translation=texts.get(key),
            speaker=speakers.get(key),
        )


def _two_columns(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, _, value = line.strip().partition(" ")
        if key and not value.strip():
            raise EtudeError(f"{path}:{number}: {key!r} has no value", "Each line is: KEY VALUE.")
        if key:
            found[key] = value.strip()
    return found


def _stored(audio: dict[str, Any]) -> str:
    """The path of audio that lies in a dataset's own bytes; it is written to the cache under its hash."""
    content = audio.get("bytes")
    if not content:
        return str(audio.get("path") or "")
    suffix = Path(str(audio.get("path") or "a.wav")).suffix or ".wav"
    path = cache_root() / "speech-translation" / "audio" / f"{content_hash(content.hex())[:32]}{suffix}"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    return str(path)
