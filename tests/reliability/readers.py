"""Every reader with a small valid file: the records of all methods, and the readers of their own formats."""
# ruff: noqa: E501 - a file in a line

from __future__ import annotations

import importlib
import inspect
import io
import json
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import etude


@dataclass(frozen=True)
class Reader:
    """One reader and what it reads.

    Args:
        name: What the table calls it.
        read: Reads a file to its end.
        suffix: Of the file's name.
        sample: A valid file.
        beside: Other files in the folder.
    """

    name: str
    read: Callable[[Path], Any]
    suffix: str
    sample: bytes
    beside: tuple[tuple[str, str], ...] = ()


def record_types() -> list[type[BaseModel]]:
    """Every pydantic record of the package."""
    found = {}
    for module in pkgutil.walk_packages(etude.__path__, "etude."):
        if module.name.rpartition(".")[2] == "spacy_component":
            continue  # imports spaCy
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, BaseModel) and value.__module__ == module.name:
                found[f"{module.name}.{value.__name__}"] = value
    return [found[name] for name in sorted(found)]


def example(kind: Any) -> Any:
    """A JSON value of a type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return example(inner[0])
    if origin is typing.Literal:
        return inner[0]
    if origin in (typing.Union, types.UnionType):
        return example(inner[0])
    if origin in (list, set, frozenset) or (origin is tuple and inner[-1:] == (...,)):
        return [example(inner[0]), example(inner[0])] if inner else []
    if origin is tuple:
        return [example(one) for one in inner]
    if origin is dict:
        return {str(example(inner[0])): example(inner[1])}
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        return {(f.alias or name): example(f.annotation) for name, f in kind.model_fields.items()}
    plain = {str: "a b", int: 1, float: 0.5, bool: True, dict: {"a": 1}, list: ["a"], bytes: "YQ=="}
    return plain.get(kind, "a")


def record_readers() -> Iterator[Reader]:
    """`read_records` of every record, as JSON lines."""
    from etude.data import read_records

    for record in record_types():
        rows = [json.dumps(example(record)) for _ in range(3)]
        yield Reader(
            f"{record.__module__.removeprefix('etude.').removeprefix('methods.')}.{record.__name__}",
            lambda path, record=record: list(read_records(path, record)),
            ".jsonl",
            ("\n".join(rows) + "\n").encode(),
        )


class Plain(BaseModel):
    """A record of all simple kinds."""

    id: str
    text: str = ""
    score: float = 0.0
    at: int = 0
    good: bool = False
    tags: list[str] = []


ROWS = [{"id": f"r{at}", "text": f"words, {at}", "score": at / 2, "at": at, "good": True} for at in range(3)]


def _jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _table(separator: str) -> str:
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, ROWS[0], delimiter=separator)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import polars as pl

    held = io.BytesIO()
    pl.DataFrame(rows).write_parquet(held)
    return held.getvalue()


def _zipped(text: str) -> bytes:
    import gzip

    return gzip.compress(text.encode(), mtime=0)


def _npz() -> bytes:
    import numpy as np

    held = io.BytesIO()
    np.savez(held, data=np.arange(60.0).reshape(10, 3, 2))
    return held.getvalue()


def wav() -> bytes:
    import wave

    held = io.BytesIO()
    with wave.open(held, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(bytes(3200))
    return held.getvalue()


def png() -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.new("RGB", (6, 6), "red").save(held, "PNG")
    return held.getvalue()


PUBTATOR = "1|t|Heart attack\n1|a|A patient had an AD of the skin.\n1\t0\t12\tHeart attack\tDisease\tD1\n\n"
OBO = 'format-version: 1.2\n\n[Term]\nid: HP:1\nname: fever\nsynonym: "hot \\"body\\"" EXACT []\nis_a: HP:0 ! all\n'
QRELS, TREC = (
    "q1 0 d1 2\nq1 0 d2 0\nq2 0 d2 1\n",
    "q1 Q0 d1 1 9.5 tag\nq1 Q0 d2 2 8.5 tag\nq2 Q0 d1 1 3 tag\n",
)
MCTEST = (
    "mc.0\tA: 1\tA long story.\t" + "\t".join(f"one: Who is it {q}?\ta\tb\tc\td" for q in range(4)) + "\n"
)
WIDE = "time,a,b\n" + "".join(f"2024-01-01T00:{at:02d}:00,{at},{at * 2}\n" for at in range(0, 60, 5))
TARGETS = '["the tram"]\nphrase = "the tram line"\nlabels = ["favor", "against"]\n'
DESIGN = 'stages = [{tasks=["st"], steps=2}]\n[sfm]\nname = "whisper-tiny.en"\n[llm]\nname = "smollm2"\n'
OFFICIAL = {
    "1": {
        "text": {"problem_text": "Find x."},
        "choice_list": ["1", "2"],
        "choice_id": "0",
        "answer_value": "1",
    }
}
TOOLKIT = {
    "toolkit": "Mail", "name_for_model": "Mail", "description_for_model": "d", "description_for_human": "d",
    "tools": [{"name": "Send", "summary": "s", "returns": [{"name": "ok", "type": "boolean", "description": "d"}], "exceptions": [],
               "parameters": [{"name": "to", "type": "string", "description": "d", "required": True}]}],
}  # fmt: skip
CASES = [{"name": "c", "Toolkits": ["Mail"], "User Instruction": "Send it."}]
DIALOG = [{"id": "a", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}]
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
EVENTS = "user_id,item_id,timestamp\n" + "".join(f"u{at % 2},i{at},{at}\n" for at in range(12))
MERGE = "relation\tmerged\treversed\nisa\tisa\t\npartof\tpartof\t1\n"
LOSSES = (
    "Steps,Evaluation Loss,Perplexity,Total Energy Consumption (kWh)\n100,4.0,54.6,1.0\n200,3.5,33.1,2.0\n"
)
EMISSIONS = "duration,emissions,energy_consumed,country_name\n3600,0.5,1.0,Germany\n"
MATRIX = "qid,docid,gold,p1,p2\nq1,d1,1,1,0\nq1,d2,0,0,0\nq2,d1,2,2,1\n"
LINK = {"mention": "a", "id": "D1", "candidates": ["D1"], "probability": 0.5}
METHODS = "etude.methods."
OWN: tuple[tuple[str, str, str | bytes], ...] = (  # module:function, suffix, a valid file
    ("etude.data.documents:read_documents", ".jsonl", _jsonl({"text": "a b c"}, {"text": "d"})),
    ("etude.data.documents:read_documents", ".txt", "One text.\n\nAnother text.\n"),
    ("tmpt.targets:read_targets", ".toml", TARGETS),
    ("tmpt.posts:read_posts", ".csv", "id,text,image,target,label\n1,a b,input.png,x,favor\n2,c,input.png,x,against\n"),
    ("easygen.conversations:read_dialogs", ".json", json.dumps(DIALOG)),
    ("easygen.conversations:read_questions", ".jsonl", _jsonl({"question_id": "1", "image": "a.png", "question": "q", "answers": ["x"]})),
    ("easygen.pairs:read_pairs", ".csv", "id,image,caption\n1,input.png,red\n"),
    ("bioelqa.pubtator:read_pubtator", ".pubtator", PUBTATOR * 2),
    ("bioelqa.obo:read_obo", ".obo", OBO),
    ("bioelqa.mentions:read_mentions", ".jsonl", _jsonl({"mention": "a", "id": "D1|D2", "context": "a b"})),
    ("bioelqa.vocabulary_files:read_tsv", ".tsv", "id\tname\tsynonyms\ttype\nD1\tfever\thot|warm\tDisease\nD2\tcold\t\tDisease\n"),
    ("bioelqa.vocabulary_files:read_jsonl", ".jsonl", _jsonl({"id": "D1", "name": "fever", "synonyms": ["hot"]})),
    ("bioelqa.linking:read_links", ".jsonl", _jsonl(LINK, LINK)),
    ("self_explanations.mctest:read_mctest", ".tsv", MCTEST),
    ("etude.data:read_frame", ".csv", WIDE),
    ("etude.data:read_frame", ".parquet", b"events"),
    ("stg_llm.panel_reader:read_panel", ".csv", WIDE),
    ("stg_llm.panel_reader:read_panel", ".parquet", b"panel"),
    ("stg_llm.panel_reader:read_panel", ".npz", b"npz"),
    ("idgen.textual_ids:read_ids", ".tsv", "item_id\ttextual_id\tmethod\ni1\tred hat\tkeywords\ni2\tblue hat\tkeywords\n"),
    ("idgen.histories:read_histories", ".csv", EVENTS),
    ("idgen.histories:read_histories", ".jsonl", _jsonl(*({"user_id": f"u{u}", "items": ["a", "b", "c", "d"]} for u in range(3)))),
    ("idgen.histories:read_histories", ".parquet", b"events"),
    ("idgen.items:read_items", ".jsonl", _jsonl({"item_id": "i1", "title": "Hat"}, {"item_id": "i2", "title": "Cap"})),
    ("idgen.items:read_items", ".txt", "i1 red hat\ni2 blue hat\n"),
    ("idgen.templates:read_templates", ".txt", "sequential; seen; a user bought {history} . what next ?; {target}\n"),
    ("analogykb.analogy_questions:read_questions", ".jsonl", _jsonl({"stem": ["a", "b"], "choice": [["c", "d"], ["e", "f"]], "answer": 0})),
    ("analogykb.analogy_questions:read_questions", ".csv", 'stem,choice,answer\n"[""a"",""b""]","[[""c"",""d""],[""e"",""f""]]",0\n'),
    ("toolemu.toolkits:load_toolkits", ".json", json.dumps([TOOLKIT])),
    ("toolemu.trajectories:read_trajectories", ".jsonl", _jsonl({"case": "c", "agent": "a", "emulator": "e", "mode": "standard", "seed": 0, "steps": [], "final": "f", "stop_reason": "final"})),
    ("word_sensitivity.corpus:read_passages", ".jsonl", _jsonl({"text": "a b c", "label": 1}, {"text": "d e", "label": 0})),
    ("word_sensitivity.corpus:read_passages", ".txt", "One line.\nAnother line.\n"),
    ("geoeval.problems:read_problems", ".jsonl", _jsonl({"problem_id": "1", "problem_text_en": "Find x.", "construction_cdl": ["Shape(AB,BC,CA)"], "goal_cdl": "Value(LengthOfLine(AB))", "problem_answer": "5"})),
    ("geoeval.readers:read_items", ".csv", 'id,question,answer,options\n1,What?,A,"[""1"",""2""]"\n2,Who?,5,\n'),
    ("geoeval.readers:read_items", ".json", json.dumps(OFFICIAL)),
    ("relevance.trec:read_qrels", ".qrels", QRELS),
    ("relevance.trec:read_pairs", ".qrels", QRELS),
    ("relevance.trec:read_run", ".trec", TREC),
    ("relevance.collection:read_topics", ".jsonl", _jsonl({"qid": "q1", "query": "a"}, {"qid": "q2", "query": "b"})),
    ("relevance.collection:read_documents", ".jsonl", _jsonl({"docid": "d1", "text": "a"}, {"docid": "d2", "text": "b"})),
    ("relevance.labels:read_labels", ".jsonl", _jsonl({"qid": "q1", "docid": "d1", "model": "m", "prompt": "-DNA-", "O": 1, "status": "ok"})),
    ("teenytinyllama.energy:read_emissions", ".csv", EMISSIONS),
    ("teenytinyllama.reference_curves:read_reference", ".csv", LOSSES),
    ("teenytinyllama.reference_curves:read_record", ".csv", EMISSIONS),
    ("teenytinyllama.run_logs:read_log", ".jsonl", _jsonl({"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25})),
    ("teenytinyllama.chat_tuning:read_chats", ".jsonl", _jsonl(CHAT, {"instruction": "Hi", "output": "Hello"})),
    ("teenytinyllama.classification:read_labeled", ".csv", "text,label\na b,x\nc d,y\n"),
    ("teenytinyllama.sentence_selection:read_pairs", ".jsonl", _jsonl(*({"id": f"q{at}", "title": f"t{at}", "context": "Ele dorme. Ela lê.", "question": "Quem dorme?", "answers": ["Ele"]} for at in range(8)))),
    ("speech_translation.design:read_design", ".toml", DESIGN),
    ("speech_translation.utterances:read_utterances", ".tsv", "id\taudio\tsource_lang\ttranscript\ttarget_lang\ttranslation\n1\tinput.wav\ten\ta b\tde\tc d\n"),
    ("speech_translation.audio:read_audio", ".wav", b"wav"),
    ("semcsr.sts:read_sts", ".csv", "score,sentence1,sentence2\n4.8,a b,a c\n0.5,d,e\n2,f,g\n3,h,i\n"),
    ("semcsr.sts:read_sts", ".tsv", "main\tMSR\t2012\t1\t4.5\tA man.\tA boy.\nmain\tMSR\t2012\t2\t1.5\tA dog.\tA cat.\nmain\tMSR\t2012\t3\t2\tOne.\tTwo.\n"),
    ("semcsr.sentences:read_sentences", ".txt", "A man reads.\nA dog runs.\n"),
    ("semcsr.triples:read_triples", ".csv", "sent0,sent1,hard_neg\na b,a c,d e\nf g,f h,i j\n"),
    ("counting_stars.haystacks:load_haystack", ".txt", "A long text. Another sentence.\n"),
    ("counting_stars.cells:read_cells", ".jsonl", b"cells"),
    ("pipenet.questions:read_questions", ".jsonl", _jsonl({"id": "1", "question": "Who?", "choices": ["a", "b"], "answer": 0})),
    ("pipenet.relations:read_merge", ".tsv", MERGE),
    ("conspemollm.coco:read_tweets", ".csv", b"coco"),
    ("conspemollm.loco:read_annotations", ".csv", "doc id,seeds,annotator,conspiracy,relatedness\n1,corona,a,1,2\n1,corona,b,0,2\n"),
    ("conspemollm.texts_in:read_texts", ".csv", "id,text\n1,a b\n2,c d\n"),
    ("conspemollm.emobank:read_emobank", ".csv", "id,split,V,A,D,text\n1,train,3,3,3,a\n2,dev,2,3,4,b\n"),
    ("conspemollm.examples:read_examples", ".jsonl", _jsonl({"id": "1", "task": "intention", "instruction": "i", "input": "x", "output": "0. Unrelated", "split": "train"})),
)  # fmt: skip


def _made(kind: bytes) -> bytes:
    """Files that are written by a library or by a method."""
    if kind == b"png":
        return png()
    if kind == b"npz":
        return _npz()
    if kind == b"wav":
        return wav()
    if kind == b"events":
        return _parquet([{"user_id": f"u{at % 2}", "item_id": f"i{at}", "timestamp": at} for at in range(12)])
    if kind == b"panel":
        return _parquet(
            [{"time": f"2024-01-01T00:{at:02d}:00", "a": float(at), "b": 1.0} for at in range(12)]
        )
    if kind == b"cells":
        from etude.methods.counting_stars.cells import Cell

        return _jsonl(example(Cell)).encode()
    if kind == b"coco":
        from etude.methods.conspemollm.tasks import bare, task_named

        names = [bare(label) for label in task_named("theory-type").classes]
        return (
            ",".join(["id", "text", *names]) + "\n" + ",".join(["1", "a b", *("1" * len(names))]) + "\n"
        ).encode()
    return kind


def own_readers() -> Iterator[Reader]:
    """The readers of the methods' own formats."""
    beside = {"self_explanations.mctest:read_mctest": (("input.ans", "A\tB\tC\tD\n"),)}
    for name, suffix, sample in OWN:
        module, _, function = name.partition(":")
        read = getattr(importlib.import_module(module if "etude" in module else METHODS + module), function)
        content = _made(sample) if isinstance(sample, bytes) else sample.encode()
        takes = (lambda path, read=read: _through(read(str(path)))) if "read_merge" in name else (
            lambda path, read=read: _through(read(path))
        )  # fmt: skip
        yield Reader(f"{name.removeprefix('etude.')} {suffix}", takes, suffix, content, beside.get(name, ()))


def data_readers() -> Iterator[Reader]:
    """The data room: one record in every kind of file."""
    from etude.data import read_records

    samples = {
        ".jsonl": _jsonl(*ROWS).encode(), ".csv": _table(",").encode(), ".tsv": _table("\t").encode(),
        ".jsonl.gz": _zipped(_jsonl(*ROWS)), ".csv.gz": _zipped(_table(",")), ".parquet": _parquet(ROWS),
    }  # fmt: skip
    for suffix, sample in samples.items():
        yield Reader(f"data.records {suffix}", lambda path: list(read_records(path, Plain)), suffix, sample)


def all_readers() -> list[Reader]:
    """Every reader that is fuzzed."""
    return [*data_readers(), *own_readers(), *record_readers()]


def _through(found: Any) -> Any:
    """Read to the end."""
    return list(found) if inspect.isgenerator(found) else found
