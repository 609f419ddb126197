"""The packaged sample as a fitted linker, and tiny models: real architectures, a few thousand weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.tiny_models import tiny_bert, tiny_llama

from etude.methods.bioelqa.case_base import Case, CaseBase
from etude.methods.bioelqa.demo import sample
from etude.methods.bioelqa.linker import prepare_base
from etude.methods.bioelqa.mentions import Preprocessing, training_cases
from etude.methods.bioelqa.ngram_retriever import CharNgram
from etude.methods.bioelqa.pubtator import read_pubtator
from etude.methods.bioelqa.questions import LETTERS, Clue, Option, Question
from etude.methods.bioelqa.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_tsv(sample("vocabulary.tsv"))


@pytest.fixture(scope="session")
def cases(vocabulary: Vocabulary) -> list[Case]:
    return training_cases(read_pubtator(sample("train.pubtator")), vocabulary, Preprocessing())[0]


@pytest.fixture
def base(vocabulary: Vocabulary, cases: list[Case]) -> CaseBase:
    return prepare_base(CharNgram(), vocabulary, cases, learn_names=True)


def marked_questions(count: int, options: int = 4) -> list[Question]:
    """Questions whose right option is called right, and whose mention is a word for its place."""
    made = []
    for i in range(count):
        gold = (i * 7 + i // 3) % options
        shown = tuple(
            Option(str(j), "right" if j == gold else "wrong", "x", 0.5 - 0.1 * j) for j in range(options)
        )
        mention = ("right", "wrong", "what", "case")[gold % 4]
        made.append(Question(mention, shown, (Clue("case", "9", "right", 0.3),), gold))
    return made


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[[str], str]:
    """`tiny("t5")`, `tiny("llama")`, `tiny("bert")`: a folder with random weights and a word tokenizer."""

    def make(kind: str) -> str:
        import transformers as hf
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

        words = ["<pad>", "<unk>", "</s>", "<s>", *LETTERS, *map(str, range(10)), ".", '"', "?", ":"]
        words += [
            "right",
            "wrong",
            "what",
            "case",
            "is",
            "Solved",
            "cases",
            "Which",
            "entry",
            "does",
            "stand",
        ]
        words += ["for", "Answer"]
        tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
        )
        if kind != "llama":
            single = "<s> $A </s>" if kind == "bert" else "$A </s>"
            tokenizer.post_processor = processors.TemplateProcessing(
                single=single, special_tokens=[("<s>", 3), ("</s>", 2)]
            )
        wrapped = hf.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>",
            bos_token="<s>", cls_token="<s>", sep_token="</s>", model_max_length=256,
        )  # fmt: skip
        torch.manual_seed(0)
        size = {"vocab_size": len(words), "pad_token_id": 0, "eos_token_id": 2}
        if kind == "t5":
            config = hf.T5Config(
                **size, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0,
                dropout_rate=0.0,
            )  # fmt: skip
            model = hf.T5ForConditionalGeneration(config)
        elif kind == "llama":
            special = {"pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 3}
            model = tiny_llama(len(words), max_position_embeddings=256, initializer_range=0.3, **special)
        else:
            model = tiny_bert(
                len(words), max_position_embeddings=256, hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0, pad_token_id=0, eos_token_id=2,
            )  # fmt: skip
        folder = tmp_path / kind
        model.save_pretrained(folder)
        wrapped.save_pretrained(folder)
        return str(folder)

    return make
