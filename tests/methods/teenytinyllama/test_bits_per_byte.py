import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.teenytinyllama.bits_per_byte import (
    document_bits,
    encode_text,
    start_token,
    summarize,
    windows,
)
from etude.methods.teenytinyllama.reading import Document
from etude.models import load_causal_lm

TEXTS = (
    "O gato dorme na casa velha.",
    "Ünïcode ▁ e </s> são só texto, e <0x41> também.\n\nOutro parágrafo 😀.",
    "A menina lê um livro sobre o mar e o menino canta uma canção na cidade cheia de água. " * 3,
)
DOCUMENTS = [Document(id=str(i), text=text, source="s") for i, text in enumerate(TEXTS)]


def test_a_uniform_model_has_log2_of_the_vocabulary_bits_a_token(llama_folder):
    lm = load_causal_lm(str(llama_folder(uniform=True)))
    for score in document_bits(lm, DOCUMENTS):
        assert score.bits_per_byte == pytest.approx(
            math.log2(400) * score.tokens / score.utf8_bytes, rel=1e-6
        )
    figures = summarize(document_bits(lm, DOCUMENTS), 400)
    assert figures["bits_per_byte"] == pytest.approx(figures["chance"], rel=1e-6)
    assert figures["perplexity"] == pytest.approx(400, rel=1e-5)


@pytest.mark.parametrize("stride", [1, 7, 16, 32])
def test_windows_agree_with_one_token_at_a_time_by_brute_force(llama_folder, stride):
    lm = load_causal_lm(str(llama_folder()))
    context = 32
    for score, document in zip(document_bits(lm, DOCUMENTS, stride=stride), DOCUMENTS, strict=True):
        row = [start_token(lm.tokenizer), *encode_text(lm.tokenizer, document.text)]
        bits, end = 0.0, min(len(row) - 1, context)
        for target in range(1, len(row)):
            if target > end:
                end = min(len(row) - 1, end + stride)
            seen = row[max(0, end - context) : target]
            with torch.no_grad():
                logits = lm.model(torch.tensor([seen])).logits[0, -1].double()
            bits -= float(logits.log_softmax(-1)[row[target]]) / math.log(2)
        assert score.bits == pytest.approx(bits, rel=1e-4)
        assert (score.tokens, score.utf8_bytes) == (len(row) - 1, len(document.text.encode()))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 90), st.integers(1, 40), st.data())
def test_every_token_is_a_target_exactly_once_and_in_order(length, context, data):
    stride = data.draw(st.integers(1, context))
    ids = list(range(100, 100 + length))
    pieces = list(windows(ids, start=7, context=context, stride=stride))
    assert [token for piece in pieces for token in piece.targets] == ids
    for piece in pieces:
        assert 1 <= len(piece.targets) <= len(piece.inputs) <= context
        follows = [*piece.inputs, piece.targets[-1]]
        assert follows[-len(piece.targets) :] == piece.targets


def test_batching_does_not_change_a_document(llama_folder):
    lm = load_causal_lm(str(llama_folder()))
    together = document_bits(lm, DOCUMENTS)
    alone = [document_bits(lm, [document])[0] for document in DOCUMENTS]
    for one, other in zip(together, alone, strict=True):
        assert one.bits == pytest.approx(other.bits, rel=1e-5)


def test_a_written_end_token_is_text(llama_folder):
    lm = load_causal_lm(str(llama_folder()))
    ids = encode_text(lm.tokenizer, "fim </s> fim")
    assert lm.tokenizer.eos_token_id not in ids
    assert lm.tokenizer.decode(ids) == "fim </s> fim"


def test_documents_follow_the_end_token_unless_the_tokenizer_adds_a_start_token(llama_folder):
    tokenizer = load_causal_lm(str(llama_folder())).tokenizer
    assert start_token(tokenizer) == tokenizer.eos_token_id
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    assert start_token(tokenizer) == tokenizer.bos_token_id


def test_the_figures_are_sums_and_the_interval_holds_them(llama_folder):
    scores = document_bits(load_causal_lm(str(llama_folder())), DOCUMENTS)
    figures = summarize(scores, 400)
    assert figures["bits_per_byte"] == pytest.approx(
        sum(s.bits for s in scores) / sum(s.utf8_bytes for s in scores)
    )
    assert figures["loss"] == pytest.approx(math.log(figures["perplexity"]))
    low, high = figures["bits_per_byte_ci"]
    assert low <= figures["bits_per_byte"] <= high


def test_a_context_longer_than_the_model_and_a_stride_outside_it_are_refused(llama_folder):
    lm = load_causal_lm(str(llama_folder()))
    with pytest.raises(EtudeError, match="context = 64"):
        document_bits(lm, DOCUMENTS, context=64)
    with pytest.raises(EtudeError, match="stride = 33"):
        document_bits(lm, DOCUMENTS, stride=33)


def test_a_tokenizer_larger_than_the_model_is_refused(llama_folder):
    lm = load_causal_lm(str(llama_folder()))
    lm.tokenizer.add_tokens(["gatogato"])
    with pytest.raises(EtudeError, match="token id 400"):
        document_bits(lm, [Document(id="d", text="o gatogato dorme")])
