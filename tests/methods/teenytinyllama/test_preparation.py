"""Preparation: what is on disk is exactly the text that went in, less what was counted as removed."""

import errno
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tokenizers import Tokenizer

from etude.data import prose
from etude.errors import EtudeError
from etude.methods.teenytinyllama import TokenShards, prepare, tokenizer, train_tokenizer
from etude.methods.teenytinyllama.deduplication import text_key
from etude.methods.teenytinyllama.llama_tokenizer import save_tokenizer
from etude.methods.teenytinyllama.loading import wrap_tokenizer
from etude.methods.teenytinyllama.reading import Document, corpus, same_language
from etude.methods.teenytinyllama.screening import Rules
from etude.methods.teenytinyllama.shard_writing import write_shards
from etude.methods.teenytinyllama.splitting import is_held_out

PARAGRAPHS = [p for p in prose()[:200_000].split("\n\n") if len(p.split()) > 20][:120]
END = 2


@cache
def trained() -> Tokenizer:
    return train_tokenizer(PARAGRAPHS, vocab_size=500)


@pytest.fixture
def own(tmp_path: Path) -> str:
    save_tokenizer(trained(), tmp_path / "tok")
    return str(tmp_path / "tok")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return path


def decoded(folder: Path, split: Any = "train") -> list[str]:
    """The documents of a split, cut at the end tokens and decoded."""
    shards = TokenShards.open(folder, split)
    own = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    documents: list[list[int]] = [[]]
    for token in shards.read(0, len(shards)).tolist():
        if token == END:
            documents.append([])
        else:
            documents[-1].append(token)
    assert documents.pop() == []  # the last token is an end token
    return [own.decode(ids, skip_special_tokens=False) for ids in documents]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """What a corpus is, without the run's own times and records."""
    kept = [p for p in folder.rglob("*") if p.is_file() and p.name not in ("run.json", ".run.lock")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept if "steps" not in p.parts}


def test_the_shards_hold_the_text_and_the_manifest_says_so(own: str, tmp_path: Path) -> None:
    rows = [
        {"id": i, "text": text, "lang": "en", "license": "PSF-2.0" if i % 2 else "CC0-1.0", "source": "pydoc"}
        for i, text in enumerate(PARAGRAPHS)
    ]
    source = write_rows(tmp_path / "t.jsonl", rows)
    found = prepare(source, tokenizer=own, block=16, out=tmp_path / "c", val_fraction=0.2, dedup="none")
    out = tmp_path / "c"
    train, val = decoded(out), decoded(out, "val")
    assert sorted(train + val) == sorted(PARAGRAPHS)
    assert [p for p in PARAGRAPHS if p in set(train)] == train  # in order
    assert 10 < len(val) < 40
    manifest = found.manifest
    assert manifest == json.loads((out / "manifest.json").read_text())
    for name, texts in (("train", train), ("val", val)):
        totals = manifest["splits"][name]
        assert totals["documents"] == len(texts)
        assert totals["bytes"] == sum(len(text.encode()) for text in texts)
        assert totals["words"] == sum(len(text.split()) for text in texts)
        assert totals["tokens"] == sum(map(len, wrap_tokenizer(trained()).encode(texts))) + len(texts)
        for shard in totals["shards"]:
            assert hashlib.sha256((out / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]
    assert manifest["dtype"] == "uint16" and manifest["vocab_size"] == 500 and manifest["end_token"] == END
    digest = hashlib.sha256((out / "tokenizer" / "tokenizer.json").read_bytes()).hexdigest()
    assert manifest["tokenizer_sha256"] == digest
    held_out = [json.loads(line) for line in (out / "val.jsonl").read_text().splitlines()]
    assert [row["text"] for row in held_out] == val
    assert {row["source"] for row in held_out} == {"pydoc"}
    assert [(s["license"], s["documents"]) for s in manifest["sources"]] == [("CC0-1.0", 60), ("PSF-2.0", 60)]
    assert {s["sha256"] for s in manifest["sources"]} == {hashlib.sha256(source.read_bytes()).hexdigest()}
    assert sum(s["tokens"] for s in manifest["sources"]) == sum(
        manifest["splits"][name]["tokens"] for name in ("train", "val")
    )


def test_many_small_shards_hold_the_same_tokens_as_one(tmp_path: Path) -> None:
    documents = [Document(str(i), text) for i, text in enumerate(PARAGRAPHS)]
    rules = Rules(val_fraction=0.1)
    one = write_shards(documents, trained(), tmp_path / "one", block=16, rules=rules)
    many = write_shards(documents, trained(), tmp_path / "many", block=16, rules=rules, shard_tokens=1000)
    assert len(one.splits["train"].shards) == 1 and len(many.splits["train"].shards) > 5
    for split in ("train", "val"):
        a, b = (TokenShards.open(tmp_path / name, split) for name in ("one", "many"))  # type: ignore[arg-type]
        assert a.read(0, len(a)).tolist() == b.read(0, len(b)).tolist()
    assert one.sources == many.sources


def test_constructed_duplicates_are_removed_and_counted(own: str, tmp_path: Path) -> None:
    distinct = PARAGRAPHS[:30]
    exact = [f"  {text.replace(' ', '  ', 1)}\n" for text in distinct[:7]]
    near = [f"{text.upper()} indeed" for text in distinct if len(text.split()) > 60][:4]
    rows = [{"text": text} for text in [*distinct, *exact, *near, "", " \n", "too short"]]
    source = write_rows(tmp_path / "t.jsonl", rows)

    def removed(dedup: Any, out: str) -> dict[str, int]:
        made = prepare(
            source, tokenizer=own, block=8, out=tmp_path / out, val_fraction=0, dedup=dedup, min_words=3
        )
        counts: dict[str, int] = made.manifest["removed"]
        assert made.manifest["splits"]["train"]["documents"] == len(rows) - sum(counts.values())
        return {reason: count for reason, count in counts.items() if count}

    assert removed("none", "a") == {"empty": 2, "short": 1}
    assert removed("exact", "b") == {"empty": 2, "short": 1, "exact": 7}
    assert removed("near", "c") == {"empty": 2, "short": 1, "exact": 7, "near": 4}
    assert decoded(tmp_path / "c") == distinct


def test_a_text_is_on_one_side_only_whatever_its_place_or_number(own: str, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "t.jsonl", [{"text": text} for text in PARAGRAPHS * 2])
    other = write_rows(tmp_path / "u.jsonl", [{"text": text} for text in reversed(PARAGRAPHS)])
    sides = []
    for path, out in ((source, "a"), (other, "b")):
        prepare(path, tokenizer=own, block=8, out=tmp_path / out, val_fraction=0.2, dedup="none", seed=5)
        sides.append((set(decoded(tmp_path / out)), set(decoded(tmp_path / out, "val"))))
    assert sides[0] == sides[1]
    assert not sides[0][0] & sides[0][1]


def test_validation_text_inside_training_text_is_refused_unless_forced(own: str, tmp_path: Path) -> None:
    train = write_rows(
        tmp_path / "t.jsonl", [{"text": "\n".join(PARAGRAPHS[i : i + 3])} for i in range(0, 60, 3)]
    )
    long = next(line for line in PARAGRAPHS[9].split("\n") if len(line) > 60)
    inside = write_rows(tmp_path / "v.jsonl", [{"id": "leak", "text": long}, {"text": PARAGRAPHS[100]}])
    options: dict[str, Any] = {"tokenizer": own, "block": 8, "dedup": "none", "validation": (inside,)}
    with pytest.raises(EtudeError, match="1 validation documents are inside the training text, first 'leak'"):
        prepare(train, out=tmp_path / "a", **options)
    with pytest.raises(EtudeError, match="inside the training text"):
        prepare(train, out=tmp_path / "b", **{**options, "dedup": "near"})
    forced = prepare(train, out=tmp_path / "c", force=True, **options)
    assert forced.manifest["leaked_documents"] == 1
    assert any("not a held-out loss" in notice for notice in forced.notices)
    clean = write_rows(tmp_path / "w.jsonl", [{"text": PARAGRAPHS[100]}])
    passed = prepare(train, out=tmp_path / "d", **{**options, "validation": (clean,)})
    assert passed.manifest["leaked_documents"] == 0 and decoded(tmp_path / "d", "val") == [PARAGRAPHS[100]]


def test_training_text_that_repeats_validation_text_is_removed_by_deduplication(
    own: str, tmp_path: Path
) -> None:
    train = write_rows(tmp_path / "t.jsonl", [{"text": text} for text in PARAGRAPHS[:40]])
    val = write_rows(tmp_path / "v.jsonl", [{"text": text} for text in PARAGRAPHS[35:45]])
    found = prepare(train, tokenizer=own, block=8, out=tmp_path / "c", dedup="exact", validation=(val,))
    assert found.manifest["removed"]["exact"] == 5
    assert set(decoded(tmp_path / "c", "val")) == set(PARAGRAPHS[35:45])
    assert set(decoded(tmp_path / "c")) == set(PARAGRAPHS[:35])


def test_a_held_out_document_within_a_longer_one_is_dropped_and_counted(tmp_path: Path) -> None:
    whole = [Document(str(i), text.replace("\n", " ")) for i, text in enumerate(PARAGRAPHS)]
    rules = Rules(val_fraction=0.2, dedup="exact")
    single = write_shards(whole, trained(), tmp_path / "a", block=8, rules=rules)
    held_out = decoded(tmp_path / "a", "val")
    longer = [Document("some", "\n".join(held_out[:-3]))]  # a training document that holds all but three
    assert not is_held_out(text_key(longer[0].text), 0.2, 0)
    found = write_shards([*whole, *longer], trained(), tmp_path / "b", block=8, rules=rules)
    assert found.removed["leaked"] == single.splits["val"].documents - 3 > 10
    assert decoded(tmp_path / "b", "val") == held_out[-3:]
    with pytest.raises(EtudeError, match="inside the training text"):
        write_shards([*whole, *longer], trained(), tmp_path / "c", block=8, rules=Rules(val_fraction=0.2))


def test_other_languages_are_reported_or_removed(own: str, tmp_path: Path) -> None:
    german = "Der Hund läuft durch den Garten und die Katze schläft auf dem Dach des alten Hauses."
    rows = [{"text": text} for text in PARAGRAPHS[:20]] + [{"text": f"{german} {i}"} for i in range(3)]
    rows += [{"text": PARAGRAPHS[30], "lang": "pt-BR"}, {"text": PARAGRAPHS[31], "lang": "en-GB"}]
    source = write_rows(tmp_path / "t.jsonl", rows)
    options: dict[str, Any] = {"tokenizer": own, "block": 8, "val_fraction": 0, "dedup": "none"}
    told = prepare(source, out=tmp_path / "a", language="en", **options)
    assert told.manifest["other_language"] == 4 and told.manifest["splits"]["train"]["documents"] == 25
    assert any("16.0% of the documents are not in 'en'" in notice for notice in told.notices)
    kept = prepare(source, out=tmp_path / "b", language="en", filter_language=True, **options)
    assert kept.manifest["removed"]["language"] == 4 and kept.manifest["other_language"] == 0
    with pytest.raises(EtudeError, match="filter-language without language"):
        prepare(source, out=tmp_path / "c", filter_language=True, **options)


def test_language_tags_match_by_their_parts() -> None:
    assert same_language("pt-BR", "pt") and same_language("pt_PT", "pt") and same_language("pt", "pt-BR")
    assert not same_language("pt-PT", "pt-BR") and not same_language("en", "pt")


def test_what_a_user_should_know_is_said(own: str, tmp_path: Path) -> None:
    rows = [{"text": text, "license": "CC-BY-NC-4.0" if i else ""} for i, text in enumerate(PARAGRAPHS)]
    source = write_rows(tmp_path / "t.jsonl", rows)
    seen = tokenizer(source, out=tmp_path / "seen", vocab_size=400)
    lossy = tokenizer(
        source, out=tmp_path / "lossy", vocab_size=400, byte_fallback=False, val_fraction=0.1, seed=7
    )
    first = prepare(source, tokenizer=seen.out, block=8, out=tmp_path / "a", val_fraction=0.1, seed=7)
    second = prepare(source, tokenizer=lossy.out, block=8, out=tmp_path / "b", val_fraction=0.1, seed=7)
    assert any("trained on the held-out documents" in notice for notice in first.notices)
    assert not any("trained on the held-out documents" in notice for notice in second.notices)
    assert any("no byte fallback" in notice for notice in second.notices)
    assert any("forbids commercial use" in notice for notice in first.notices)
    assert any("states no license" in notice for notice in first.notices)
    assert not any("no byte fallback" in notice for notice in first.notices)


def test_every_kind_of_source_gives_the_same_tokens(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    rows = [{"text": text.replace("\n", " ")} for text in PARAGRAPHS]
    write_rows(Path("t.jsonl"), rows)
    Path("t.txt").write_text("\n\n".join(row["text"] for row in rows))
    Path("lines.txt").write_text("\r\n".join(row["text"] for row in rows))
    with gzip.open("t.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(Path("t.jsonl").read_text())
    pl.DataFrame(rows).write_parquet("t.parquet")
    Path("folder").mkdir()
    write_rows(Path("folder/a.jsonl"), rows[:50])
    pl.DataFrame(rows[50:]).write_parquet("folder/b.parquet")
    Dataset.from_list(rows).save_to_disk("saved")
    Path("org/name").mkdir(parents=True)
    write_rows(Path("org/name/train.jsonl"), rows)  # what a hub id streams through is the same code
    sources = ("t.jsonl", "t.txt", "t.jsonl.gz", "t.parquet", "folder", "saved", "org/name:train")
    contents = set()
    for number, source in enumerate((*sources, "lines.txt")):
        prepare(
            source,  # type: ignore[arg-type]
            tokenizer=own,
            block=8,
            out=Path(f"out{number}"),
            val_fraction=0.1,
            lines=1 if source == "lines.txt" else None,
        )
        contents.add(tuple((Path(f"out{number}") / f"{s}-00000.bin").read_bytes() for s in ("train", "val")))
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b'{"text": "a"}\n{"text": "\xe9"}', {}, r"t\.jsonl:2: not UTF-8"),
        (b'{"text": "a"}\n{"body": "b"}', {}, r"t\.jsonl:2: no field 'text'; it has body"),
        (b'{"text": 7}', {}, r"t\.jsonl:1: text: a int, not text"),
        (b'{"text": "\\ud800"}', {}, r"t\.jsonl:1: text: half of a surrogate pair"),
        (b'{"text": "a"', {}, r"t\.jsonl:1: not valid JSON"),
        (b"", {}, "corpus is empty"),
        (b'{"text": " "}', {}, "corpus is empty: no training document is left .removed: 1 empty"),
        (b'{"text": "one two"}', {"block": 64}, r"gives \d+ tokens, fewer than one block of 64"),
        (b'{"text": "one two"}', {"block": 1}, "block 1"),
        (b'{"text": "one two"}', {"val_fraction": 1.0}, "val-fraction 1"),
        (b'{"text": "one two"}', {"threshold": 0.0}, "threshold 0"),
        (b'{"text": "one two"}', {"shard_tokens": 0}, "shard-tokens 0"),
        (b'{"text": "one two"}', {"lines": 0}, "lines 0"),
        (b'{"text": "one two"}', {"tokenizer": "nowhere"}, "no model 'nowhere'"),
    ],
)
def test_bad_input_is_named(
    own: str, tmp_path: Path, content: bytes, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "t.jsonl").write_bytes(content)
    with pytest.raises(EtudeError, match=message):
        prepare(
            tmp_path / "t.jsonl",
            **{"tokenizer": own, "block": 2, "out": tmp_path / "c", "val_fraction": 0.0, **options},
        )


def test_sources_that_hold_nothing_are_named(own: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, message in (("empty", "holds no text file"), ("none.txt", "no such file")):
        with pytest.raises(EtudeError, match=message):
            prepare(tmp_path / source, tokenizer=own, block=8, out=tmp_path / "c")
    with pytest.raises(EtudeError, match="no file was given"):
        prepare((), tokenizer=own, block=8, out=tmp_path / "c")


def test_uint16_is_refused_for_a_large_vocabulary_and_auto_takes_uint32(tmp_path: Path) -> None:
    from tokenizers import models, pre_tokenizers

    words = {"<unk>": 0, "</s>": 1, **{f"w{i}": i + 2 for i in range(70_000)}}
    large = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    large.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    documents = [Document("a", " ".join(f"w{i}" for i in range(69_000, 69_999)))]
    with pytest.raises(EtudeError, match=r"65,535, and the vocabulary has 70,002"):
        write_shards(documents, large, tmp_path / "a", block=8, dtype="uint16")
    made = write_shards(documents, large, tmp_path / "b", block=8)
    assert made.dtype == "uint32" and made.splits["train"].shards[0].largest == 70_000
    shards = TokenShards.open(tmp_path / "b")
    assert shards.read(0, 2).tolist() == [69_002, 69_003]


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    from tokenizers import models

    endless = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    with pytest.raises(EtudeError, match="has no end token"):
        write_shards([Document("a", "a")], endless, tmp_path / "c", block=2)
    with pytest.raises(TypeError, match="more than once"):
        write_shards(iter([Document("a", "a")]), trained(), tmp_path / "c", block=2)


def test_text_cannot_forge_an_end_token(tmp_path: Path) -> None:
    texts = ["before </s> after <s> <0x0A>", *PARAGRAPHS[:5]]
    write_shards([Document(str(i), t) for i, t in enumerate(texts)], trained(), tmp_path / "c", block=8)
    assert decoded(tmp_path / "c") == texts


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("screening", "signature", "no space left for the sig"),
        ("shard_writing", "_held_out_line", "No space left"),
    ],
)
def test_a_full_disk_is_said_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, message: str
) -> None:
    documents = [Document(str(i), text) for i, text in enumerate(PARAGRAPHS)]
    options: dict[str, Any] = {"block": 8, "rules": Rules(val_fraction=0.2, dedup="near")}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"etude.methods.teenytinyllama.{module}.{name}", full)
        with pytest.raises(EtudeError, match=message):
            write_shards(documents, trained(), tmp_path / "c", **options)
    write_shards(documents, trained(), tmp_path / "c", **options)
    write_shards(documents, trained(), tmp_path / "whole", **options)
    assert folder_bytes(tmp_path / "c") == folder_bytes(tmp_path / "whole")


PROGRAM = """
import sys
from etude.methods.teenytinyllama import prepare
prepare(sys.argv[1], tokenizer=sys.argv[2], block=16, out=sys.argv[3], val_fraction=0.1, shard_tokens=50_000)
"""


def start(source: Path, own: str, out: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(source), own, str(out)], env=environment)


def test_a_killed_preparation_ends_in_the_same_files(own: str, tmp_path: Path) -> None:
    rows = [{"text": f"{i} {PARAGRAPHS[(i * 7) % 120]} {PARAGRAPHS[i % 113]} {i}"} for i in range(3_000)]
    source = write_rows(tmp_path / "t.jsonl", rows)
    assert start(source, own, tmp_path / "whole").wait() == 0
    broken = tmp_path / "broken"
    for finished in (1, 3):  # killed while screened or in the first part, then amid the parts
        process = start(source, own, broken)
        deadline = time.monotonic() + 240
        while len(list(broken.glob("steps/*.json"))) < finished:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (broken / "manifest.json").exists()
        with pytest.raises(EtudeError, match="not a prepared corpus"):
            TokenShards.open(broken)
    assert start(source, own, broken).wait() == 0
    assert folder_bytes(broken) == folder_bytes(tmp_path / "whole")
    assert len(list(broken.glob("train-*.bin"))) > 3


def test_the_same_command_again_reads_nothing_and_another_is_refused(own: str, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "t.jsonl", [{"text": text} for text in PARAGRAPHS])
    options: dict[str, Any] = {"tokenizer": own, "out": tmp_path / "c", "val_fraction": 0.1}
    first = prepare(source, block=8, **options)
    stamp = (tmp_path / "c" / "train-00000.bin").stat().st_mtime_ns
    assert prepare(source, block=8, **options) == first
    assert (tmp_path / "c" / "train-00000.bin").stat().st_mtime_ns == stamp
    with pytest.raises(EtudeError, match="another configuration"):
        prepare(source, block=16, **options)
    write_rows(source, [{"text": text} for text in PARAGRAPHS[:50]])
    with pytest.raises(EtudeError, match="another configuration"):
        prepare(source, block=8, **options)


MEMORY = """
import sys
from pathlib import Path
from etude.methods.teenytinyllama import prepare
prepare(sys.argv[1], tokenizer=sys.argv[2], block=16, out=sys.argv[3], shard_tokens=1 << 20, language="en")
status = Path("/proc/self/status").read_text()  # ru_maxrss would include the parent's pages before exec
print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_memory_does_not_grow_with_the_corpus(own: str, tmp_path: Path) -> None:
    peaks = []
    one_heap = {**os.environ, "MALLOC_ARENA_MAX": "1", "RAYON_NUM_THREADS": "1"}  # what threads keep is noise
    for copies in (6, 24):
        rows = (
            {"text": f"{i} {p}\n{i * 31} {p}", "lang": "en"} for i in range(copies * 20) for p in PARAGRAPHS
        )
        source = write_rows(tmp_path / f"{copies}.jsonl", rows)
        command = [sys.executable, "-c", MEMORY, str(source), own, str(tmp_path / f"out{copies}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=one_heap)
        peaks.append(int(done.stdout) / 1024)
    grown = (tmp_path / "24.jsonl").stat().st_size / 2**20 - (tmp_path / "6.jsonl").stat().st_size / 2**20
    assert grown > 20
    assert peaks[1] - peaks[0] < 0.6 * grown  # held in memory, it would be several times `grown`


def test_pages_of_other_languages_are_prepared_by_the_same_command(
    own: str, tmp_path: Path, shared_data: Any
) -> None:
    pages = shared_data("teenytinyllama") / "parallel_handbook.jsonl"
    made = tokenizer(pages, out=tmp_path / "es", vocab_size=1000, field="es", documents=40)
    found = prepare(
        pages,
        tokenizer=made.out,
        block=64,
        out=tmp_path / "c",
        field="es",
        language="es",
        val_fraction=0.1,
    )
    assert found.manifest["splits"]["train"]["tokens"] > 50_000
    assert found.manifest["sources"][0]["license"] == "CC-BY-SA-3.0 or GPL-2.0+"
    assert found.manifest["other_language"] > 10  # pages that were never translated are English
    assert len(corpus((pages,), field="es").files()) == 1
