# ruff: noqa: F401
"""TeenyTinyLlama: train a small language model from nothing, in the open.

Corrêa, Falk, Fatimah, Sen, de Oliveira, "TeenyTinyLlama: open-source tiny language models trained in
Brazilian Portuguese", arXiv 2401.16640. A team with text in one language and a small budget makes its own
base model: tokenizer, plan, corpus, pretraining, evaluation, fine-tuning and a folder with every log.

    from etude.methods.teenytinyllama import tokenizer, prepare, pretrain, evaluate, export
    tokenizer("texts.jsonl", vocab_size=4096, out="tok")
    prepare("texts.jsonl", tokenizer="tok", block=128, out="corpus")
    pretrain("corpus", preset="nano", steps=600, out="runs/nano")
    print(evaluate("runs/nano", texts="held_out.jsonl"))
    export("runs/nano", out="nano-hf")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.teenytinyllama.configs import PRESETS, ModelConfig
    from etude.methods.teenytinyllama.evaluating import evaluate
    from etude.methods.teenytinyllama.exporting import export
    from etude.methods.teenytinyllama.finetuning import finetune
    from etude.methods.teenytinyllama.planning import plan
    from etude.methods.teenytinyllama.preparation import prepare
    from etude.methods.teenytinyllama.pretraining import pretrain
    from etude.methods.teenytinyllama.reporting import report
    from etude.methods.teenytinyllama.shards import TokenShards
    from etude.methods.teenytinyllama.tokenizer_training import tokenizer, train_tokenizer
    from etude.methods.teenytinyllama.tokens_per_word import fertility

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "PRESETS": "configs",
        "ModelConfig": "configs",
        "TokenShards": "shards",
        "evaluate": "evaluating",
        "export": "exporting",
        "fertility": "tokens_per_word",
        "finetune": "finetuning",
        "plan": "planning",
        "prepare": "preparation",
        "pretrain": "pretraining",
        "report": "reporting",
        "tokenizer": "tokenizer_training",
        "train_tokenizer": "tokenizer_training",
    },
)
