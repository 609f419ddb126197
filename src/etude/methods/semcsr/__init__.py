# ruff: noqa: F401
"""SemCSR: a sentence encoder for your domain, from pairs that a language model writes and grades.

Three stages: contrastive generation of a positive and a hard negative for each sentence, curation by
similarity scores, contrastive training with masked false negatives. Paper: Wang et al., Semantic-Aware
Contrastive Sentence Representation Learning with Large Language Models, arXiv 2310.10962 (v2: MultiCSR).

    from etude.methods.semcsr import curate, generate, score, train
    generate("sentences.txt", lm="smollm2", omega=0.3, out="triples.jsonl")
    score("triples.jsonl", scorer="expected", out="scored.jsonl")
    curate("scored.jsonl", alpha=3, beta=3, gamma=1, out="clean.jsonl")
    train("clean.jsonl", encoder="smollm2", out="model")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.semcsr.comparison import evaluate
    from etude.methods.semcsr.curation import Curator
    from etude.methods.semcsr.generation import TripleGenerator
    from etude.methods.semcsr.inspect_task import sts_grading
    from etude.methods.semcsr.learning import train
    from etude.methods.semcsr.making import curate, generate, score
    from etude.methods.semcsr.masked_info_nce import CachedMaskedInfoNCE, MaskedInfoNCE, ReferenceTable
    from etude.methods.semcsr.pipeline import run
    from etude.methods.semcsr.prompts import PromptSet
    from etude.methods.semcsr.similarity_scorers import Scorer, load_scorer
    from etude.methods.semcsr.sts import STSPair, read_sts, sts_eval
    from etude.methods.semcsr.training import TrainConfig, train_encoder
    from etude.methods.semcsr.triple_audit import audit
    from etude.methods.semcsr.triples import Triple, read_triples, write_triples

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "CachedMaskedInfoNCE": "masked_info_nce",
        "Curator": "curation",
        "MaskedInfoNCE": "masked_info_nce",
        "PromptSet": "prompts",
        "ReferenceTable": "masked_info_nce",
        "STSPair": "sts",
        "Scorer": "similarity_scorers",
        "TrainConfig": "training",
        "Triple": "triples",
        "TripleGenerator": "generation",
        "audit": "triple_audit",
        "curate": "making",
        "evaluate": "comparison",
        "generate": "making",
        "load_scorer": "similarity_scorers",
        "read_sts": "sts",
        "read_triples": "triples",
        "run": "pipeline",
        "score": "making",
        "sts_eval": "sts",
        "sts_grading": "inspect_task",
        "train": "learning",
        "train_encoder": "training",
        "write_triples": "triples",
    },
)
