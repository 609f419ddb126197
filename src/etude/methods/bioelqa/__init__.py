# ruff: noqa: F401
"""bioelqa: link names in text to the ids of any vocabulary, as multiple choice with solved examples.

Lin et al., "Biomedical Entity Linking as Multiple Choice Question Answering", LREC-COLING 2024, arXiv
2402.15189. A retriever proposes candidates; a selector sees them as lettered options beside the most similar
solved training cases and chooses one. The report says whether that beats the retriever's own first choice,
and where: on unseen mentions, unseen ids, rare ids.

    from etude.methods.bioelqa import BioELQA, Vocabulary, read_pubtator
    linker = BioELQA(n_options=10, n_clues=3)
    linker.fit(read_pubtator("train.pubtator"), Vocabulary.from_tsv("vocab.tsv"))
    linker.link(["heart attack"])[0].id
    linker.predict(["5-FU", "high blood pressure"])
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.bioelqa.abbreviations import find_abbreviations
    from etude.methods.bioelqa.bi_encoder import BiEncoder
    from etude.methods.bioelqa.causal_selector import CausalSelector
    from etude.methods.bioelqa.contrastive import train_bi_encoder
    from etude.methods.bioelqa.encoder_selector import EncoderSelector
    from etude.methods.bioelqa.feature_selector import FeatureSelector
    from etude.methods.bioelqa.generator_training import GeneratorSettings
    from etude.methods.bioelqa.indexing import index
    from etude.methods.bioelqa.linker import BioELQA, Link
    from etude.methods.bioelqa.linker_folders import load_linker, save_linker
    from etude.methods.bioelqa.linking import link
    from etude.methods.bioelqa.ngram_retriever import CharNgram
    from etude.methods.bioelqa.prompted_selector import PromptedSelector
    from etude.methods.bioelqa.pubtator import Corpus, Document, Mention, read_pubtator
    from etude.methods.bioelqa.questions import Clue, Option, Question
    from etude.methods.bioelqa.scoring import evaluate
    from etude.methods.bioelqa.seq2seq_selector import Seq2SeqSelector
    from etude.methods.bioelqa.sklearn_face import MentionClassifier
    from etude.methods.bioelqa.training import train
    from etude.methods.bioelqa.vocabulary import Entity, Vocabulary, hold_out_synonyms, read_vocabulary
    from etude.methods.bioelqa.whole_run import run

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BiEncoder": "bi_encoder",
        "BioELQA": "linker",
        "CausalSelector": "causal_selector",
        "CharNgram": "ngram_retriever",
        "Clue": "questions",
        "Corpus": "pubtator",
        "Document": "pubtator",
        "EncoderSelector": "encoder_selector",
        "Entity": "vocabulary",
        "FeatureSelector": "feature_selector",
        "GeneratorSettings": "generator_training",
        "Link": "linker",
        "Mention": "pubtator",
        "MentionClassifier": "sklearn_face",
        "Option": "questions",
        "PromptedSelector": "prompted_selector",
        "Question": "questions",
        "Seq2SeqSelector": "seq2seq_selector",
        "Vocabulary": "vocabulary",
        "evaluate": "scoring",
        "find_abbreviations": "abbreviations",
        "hold_out_synonyms": "vocabulary",
        "index": "indexing",
        "link": "linking",
        "load_linker": "linker_folders",
        "read_pubtator": "pubtator",
        "read_vocabulary": "vocabulary",
        "run": "whole_run",
        "save_linker": "linker_folders",
        "train": "training",
        "train_bi_encoder": "contrastive",
    },
)
