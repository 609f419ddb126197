"""Contrastive generation against plain decoding, transformers' own generate, and a closed form."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice, product
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from etude.errors import EtudeError
from etude.methods.semcsr import PromptSet, TripleGenerator, generate
from etude.methods.semcsr.contrast import contrast
from etude.methods.semcsr.journal import Journal
from etude.methods.semcsr.paired_streams import read_heads, write_pairs
from etude.methods.semcsr.prompts import PROMPTS, prompt_set, read_answer
from etude.methods.semcsr.writers import Writing, load_writer
from etude.models import load_causal_lm, register_scripted
from etude.models.generation import generate_batch


def sentences(count: int) -> list[str]:
    """Distinct sentences over the vocabulary of the tiny models."""
    parts = product(("red", "blue", "big", "small"), ("sleeping", "running", "eating"),
                    ("house", "garden", "car"), ("dog", "cat", "man", "woman", "boy", "girl"))  # fmt: skip
    return [
        f"the {color} {who} is {verb} in the {place} ." for color, verb, place, who in islice(parts, count)
    ]


PLAIN = PromptSet(
    "plain",
    "completion",
    ('rewrite the sentence with other words first . sentence : "{sentence}" rewrite : "',),
    ('write a sentence that contradicts . sentence : "{sentence}" contradicts : "',),
)


def rows_of(lm, kind_prompts, texts):  # type: ignore[no-untyped-def]
    return [lm.tokenizer.encode(p.replace("{sentence}", t)) for p in kind_prompts for t in texts]


def by_hand(lm, wanted, opposite, omega, plausibility, steps):  # type: ignore[no-untyped-def]
    """One row at a time, no cache, no batch: the definition."""
    written: list[int] = []
    for _ in range(steps):
        with torch.no_grad():
            a = lm.model(torch.tensor([wanted + written])).logits[0, -1]
            b = lm.model(torch.tensor([opposite + written])).logits[0, -1]
        plausible = a.softmax(-1) >= plausibility * a.softmax(-1).max()
        token = int(torch.where(plausible, a - omega * b, -torch.inf).argmax())
        if token == lm.tokenizer.eos_token_id:
            break
        written.append(token)
    return written


@pytest.mark.parametrize("omega", [0.0, 0.3, 1.5])
def test_paired_streams_write_what_the_definition_gives_row_by_row(tiny, omega) -> None:  # type: ignore[no-untyped-def]
    lm = load_causal_lm(str(tiny("llama")))
    texts = [*sentences(4), "the dog .", "a big red car is not in the small house with the blue cat ."]
    rows = rows_of(lm, (PLAIN.entailment[0], PLAIN.contradiction[0]), texts)
    n, heads = len(texts), [rows[0][:10], rows[len(texts)][:7]]
    got = write_pairs(
        lm, read_heads(lm, heads), [i // n for i in range(2 * n)],
        [row[len(heads[i // n]) :] for i, row in enumerate(rows)], [(i + n) % (2 * n) for i in range(2 * n)],
        omega=omega, plausibility=0.1, max_tokens=8, stop=(),
    )  # fmt: skip
    for i, row in enumerate(rows):
        tokens = by_hand(lm, row, rows[(i + n) % (2 * n)], omega, 0.1, 8)
        ended = len(tokens) < 8
        assert (got[i] is not None) == ended
        if ended:
            assert got[i] == lm.tokenizer.decode(tokens, skip_special_tokens=True)


def test_omega_zero_equals_plain_greedy_token_for_token(tiny) -> None:  # type: ignore[no-untyped-def]
    lm = load_causal_lm(str(tiny("llama")))
    texts = sentences(6)
    rows = rows_of(lm, (PLAIN.entailment[0], PLAIN.contradiction[0]), texts)
    n = len(texts)
    streams = write_pairs(
        lm, read_heads(lm, [[], []]), [i // n for i in range(2 * n)], rows,
        [(i + n) % (2 * n) for i in range(2 * n)], omega=0.0, plausibility=0.1, max_tokens=12, stop=(".",),
    )  # fmt: skip
    greedy = generate_batch(lm, rows, max_tokens=12, stop=(".",))
    assert streams == [one.text if one.stop_reason == "stop" else None for one in greedy]


def test_the_shared_head_changes_nothing(tiny) -> None:  # type: ignore[no-untyped-def]
    name = str(tiny("llama"))
    for omega in (0.0, 0.5):
        together = load_writer(Writing(name, PLAIN, omega, max_tokens=10)).write(sentences(5))
        alone = [load_writer(Writing(name, PLAIN, omega, max_tokens=10)).write([s])[0] for s in sentences(5)]
        assert together == alone


@given(st.lists(st.floats(-20, 20), min_size=4, max_size=8), st.floats(0, 3))
def test_what_is_not_plausible_never_wins(values, omega) -> None:  # type: ignore[no-untyped-def]
    wanted = torch.tensor([values])
    opposite = torch.flip(wanted, [1])
    scores = contrast(wanted, opposite, omega, 0.1)
    shares = wanted.softmax(-1)
    chosen = int(scores.argmax())
    assert shares[0, chosen] >= 0.1 * shares.max() * (1 - 1e-4)
    if omega == 0:
        assert wanted[0, chosen] == wanted.max()


def test_contrast_moves_away_from_what_both_instructions_say() -> None:
    wanted = torch.tensor([[2.0, 1.9, -9.0]])
    opposite = torch.tensor([[2.0, -2.0, -30.0]])
    assert contrast(wanted, opposite, 0.0).argmax() == 0
    assert contrast(wanted, opposite, 0.3).argmax() == 1  # 1.9 + 0.6 > 2 - 0.6; the third is not plausible
    assert torch.isinf(contrast(wanted, opposite, 0.3)[0, 2])


def test_an_encoder_decoder_with_omega_zero_writes_what_transformers_does(tiny) -> None:  # type: ignore[no-untyped-def]
    folder = str(tiny("t5"))
    pool = PromptSet("t5", "chat", ("rewrite {sentence}",), ("contradicts {sentence}",))
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = sentences(3)
    for omega in (0.0, 1e-9):  # both instruction streams in one call: a vanishing omega must not change it
        written = load_writer(Writing(folder, pool, omega, max_tokens=6)).write(texts)
        for text, one in zip(texts, written, strict=True):
            ids = tokenizer(f"rewrite {text}", return_tensors="pt")
            made = model.generate(**ids, max_new_tokens=6, do_sample=False)[0].tolist()
            expected = tokenizer.decode(made, skip_special_tokens=True) if 1 in made[1:] else ""
            assert one.sent1 == expected


def test_the_built_in_prompts_are_opposites_place_by_place() -> None:
    for found in PROMPTS.values():
        assert len(found.entailment) == len(found.contradiction)
        for place in range(len(found.entailment)):
            prompts = {found.prompt(kind, place, 'He said "no".') for kind in ("entailment", "contradiction")}
            assert len(prompts) == 2
            assert all("He said 'no'." in prompt for prompt in prompts)
    assert len(PROMPTS["zero-shot"].entailment) == 4
    assert PROMPTS["nli-fewshot"].entailment[0].count("Write a sentence that") == 3  # two shown, one asked


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A dog runs.", "A dog runs."),
        ('"A dog runs."\nMore', "A dog runs."),
        ("Here is a sentence:\nA dog  runs.", "A dog runs."),
        ("Paraphrase: A dog runs.", "A dog runs."),
        (" \n ", ""),
    ],
)
def test_an_answer_is_its_first_sentence_line(text: str, sentence: str) -> None:
    assert read_answer(text) == sentence


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"entailment": ["a {sentence}"], "contradiction": []}', "as many"),
        ('{"entailment": ["a"], "contradiction": ["b {sentence}"]}', "once"),
        ('{"style": "poem", "entailment": ["a {sentence}"], "contradiction": ["b {sentence}"]}', "poem"),
        ("[1]", "not a set of prompts"),
    ],
)
def test_own_prompts_that_cannot_be_used_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(EtudeError, match=message):
        prompt_set(str(path))


def test_own_prompts_are_used(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text('{"entailment": ["wahr: {sentence}"], "contradiction": ["falsch: {sentence}"]}')
    asked: list[str] = []
    register_scripted("echo", lambda talk: asked.append(talk[-1]["content"]) or "Ein Satz.", revision="own")  # type: ignore[func-returns-value]
    generator = TripleGenerator("scripted/echo", str(path), 0.0)
    [triple] = generator.generate(["Ein Hund."])
    assert asked == ["wahr: Ein Hund.", "falsch: Ein Hund."]
    assert triple.sent1 == "Ein Satz." and triple.prompt_id.startswith("own-")


def test_a_provider_without_logits_and_omega_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="contrastive generation needs logits") as caught:
        TripleGenerator("openai/some-model", omega=0.3)
    assert "--omega 0" in caught.value.hint


def test_failed_rows_are_kept_and_asked_again(tmp_path: Path) -> None:
    source = tmp_path / "s.txt"
    source.write_text("\n".join(sentences(12)))
    calls = {"fail": True}

    def answer(conversation):  # type: ignore[no-untyped-def]
        if calls["fail"] and "cat" in conversation[-1]["content"]:
            raise EtudeError("429", "later")
        return "A sentence."

    register_scripted("moody", answer)
    options = {"lm": "scripted/moody", "omega": 0.0, "max_connections": 1, "out": tmp_path / "t.jsonl"}
    found = generate(source, **options)  # type: ignore[arg-type]
    assert found.failed == {"failed": 2} and found.triples == 10
    calls["fail"] = False
    found = generate(source, **options)  # type: ignore[arg-type]
    assert found.triples == 12 and not found.failed
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [row["sent0"] for row in rows] == sentences(12)


def test_a_provider_that_is_gone_ends_the_run_with_what_was_written(tmp_path: Path) -> None:
    source = tmp_path / "s.txt"
    source.write_text("\n".join(sentences(12)))

    def answer(conversation):  # type: ignore[no-untyped-def]
        if "garden" in conversation[-1]["content"]:
            raise EtudeError("the server is gone", "start it")
        return "A sentence."

    register_scripted("gone", answer)
    with pytest.raises(EtudeError, match="the server is gone"):
        generate(
            source, lm="scripted/gone", omega=0, max_connections=1, batch_size=2, out=tmp_path / "t.jsonl"
        )
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) >= 4


SCRIPT = """
import sys, time
from pathlib import Path
from etude.models import register_scripted
from etude.methods.semcsr import generate
def answer(conversation):
    with open(sys.argv[2], "a") as log: log.write(conversation[-1]["content"].replace("\\n", " ") + "\\n")
    time.sleep(0.02)
    return "About " + conversation[-1]["content"][-30:]
register_scripted("slow", answer)
generate(sys.argv[1], lm="scripted/slow", omega=0.0, batch_size=4, max_connections=4, out=sys.argv[3])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_its_file_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    source, script = tmp_path / "s.txt", tmp_path / "run.py"
    source.write_text("\n".join(sentences(24)))
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}

    def command(name: str) -> list[str]:
        return [
            sys.executable,
            str(script),
            str(source),
            str(tmp_path / f"{name}.log"),
            str(tmp_path / f"{name}.jsonl"),
        ]

    subprocess.run(command("whole"), env=environment, check=True, capture_output=True)
    out = tmp_path / "killed.jsonl"
    running = subprocess.Popen(command("killed"), env=environment, stderr=subprocess.DEVNULL)
    while not (out.exists() and out.read_bytes().count(b"\n") >= 8):
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    finished = out.read_bytes().count(b"\n")
    assert finished < 24
    with open(out, "ab") as handle:
        handle.write(b'{"id": "half of a li')  # what a kill in the middle of a write leaves
    subprocess.run(command("killed"), env=environment, check=True, capture_output=True)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    asked = (tmp_path / "killed.log").read_text().splitlines()
    assert len(asked) - len(set(asked)) <= 8  # at most the batch that was under way; finished rows not at all
    assert len(set(asked)) == 48


def test_a_journal_of_other_settings_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "t.jsonl", ["a", "b"]) as journal:
        journal.add([{"id": "a"}])
        with pytest.raises(EtudeError, match="in use"), Journal(tmp_path / "t.jsonl", ["a"]):
            pass
    with pytest.raises(EtudeError, match="other sentences or settings"), Journal(tmp_path / "t.jsonl", ["c"]):
        pass
    with pytest.raises(EtudeError, match="JSONL"):
        Journal(tmp_path / "t.csv", [])
