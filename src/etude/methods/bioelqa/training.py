"""`train`: from a corpus and a vocabulary to a linker; a killed training goes on where it stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.bioelqa.contrastive import ContrastiveSettings, train_bi_encoder
from etude.methods.bioelqa.generator_training import GeneratorSettings
from etude.methods.bioelqa.indexing import read_index
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.linker_folders import save_linker
from etude.methods.bioelqa.mentions import Preprocessing, training_cases
from etude.methods.bioelqa.prompted_selector import Mode
from etude.methods.bioelqa.pubtator import read_pubtator
from etude.methods.bioelqa.retrievers import Retriever, retriever_by_name
from etude.methods.bioelqa.selectors import SelectorName, selector_class
from etude.methods.bioelqa.vocabulary import Vocabulary, read_vocabulary
from etude.render import console, table
from etude.runs import Run, file_hash

_DEFAULT_MODELS = {
    "encoder": "minilm",
    "seq2seq": "google-t5/t5-base",
    "causal": "smollm2",
    "prompted": "smollm2",
}


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Args:
        out: The run's folder; the linker lies in its `model`.
        documents: Documents read.
        entities: In the vocabulary.
        cases: Different (mention, id) pairs learned from.
        left_out: Mentions that were not, and why.
        unknown_ids: The most frequent ids that the vocabulary lacks, with their mentions.
        training: Questions, dropped ones, steps, loss.
        notices: What was mended in reading.
    """

    out: str
    documents: int
    entities: int
    cases: int
    left_out: dict[str, int]
    unknown_ids: dict[str, int]
    training: dict[str, Any]
    notices: tuple[str, ...]

    def __rich__(self) -> Any:
        """What was learned, and from what."""
        from rich.console import Group

        rows: list[tuple[str, Any]] = [
            ("documents", self.documents),
            ("vocabulary", f"{self.entities:,} ids"),
            ("solved cases", self.cases),
            *((f"left out, {why}", count) for why, count in self.left_out.items() if count),
            *(
                (name, value)
                for name, value in self.training.items()
                if value is not None and name != "cases"
            ),
            ("linker", f"{self.out}/model"),
        ]
        lines = [f"note: {notice}" for notice in self.notices]
        if self.unknown_ids:
            shown = ", ".join(f"{id} ({count})" for id, count in self.unknown_ids.items())
            lines.append(f"ids that the vocabulary lacks, by mentions: {shown}")
        body = [[n, f"{v:,}" if isinstance(v, int) else v] for n, v in rows]
        return Group(table(("bioelqa train", ""), [[n, str(v)] for n, v in body]), *lines)


@verb
def train(
    corpus: tuple[Path, ...],
    *,
    vocab: str,
    selector: SelectorName | Literal["none"] = "features",
    model: str | None = None,
    retriever: str = "tfidf",
    retriever_epochs: int = 0,
    options: int = 10,
    clues: int = 3,
    clue_mask: float = 0.3,
    variants: int = 4,
    inject_gold: bool = False,
    abstain: bool = False,
    min_score: float = 0.0,
    orders: int = 1,
    symbols: Literal["letters", "numbers"] = "letters",
    mode: Mode = "generate",
    base_url: str | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    limit: int | None = None,
    abbreviations: bool = True,
    learn_names: bool = True,
    fix_offsets: bool = False,
    type: str | None = None,
    seed: int = 0,
    out: Path,
) -> TrainResult:
    """Train a linker on PubTator files; the same command after a kill goes on where it stopped.

    Args:
        corpus: PubTator files with ids (also .gz).
        vocab: A vocabulary (.tsv, .jsonl, .obo, hpo), or an index that `index` wrote.
        selector: features (no pretrained weights), encoder, seq2seq, causal (LoRA), prompted (any chat model,
            nothing is trained), or none: the retriever's first choice.
        model: Of the selector: an embedded name, a directory, a hub id; for prompted any chat model's name.
        retriever: tfidf, or an encoder: minilm, hf:DIR, hf:org/name.
        retriever_epochs: Train an encoder retriever for so many passes, mining hard negatives before each.
        options: N, candidates that are shown.
        clues: k, solved cases that are shown beside them.
        clue_mask: Share of the training questions whose gold id is hidden as if never trained on; without it
            a selector learns to distrust ids it has no case of.
        variants: Copies of each training question, each with its options in another order.
        inject_gold: Put a missing gold in place of the last option, instead of dropping the question.
        abstain: Offer "none of these", learned from questions whose gold was not found.
        min_score: Abstain below this probability when linking.
        orders: When linking, average over so many orders of the options (4 for models with letter bias).
        symbols: Call options by letters (at most 26) or numbers.
        mode: Of a prompted selector: generate an answer, or compare log-probabilities.
        base_url: Of a served model behind a prompted selector.
        epochs: Passes over the training questions; each selector has a default.
        batch_size: Questions of a step.
        learning_rate: Peak rate.
        limit: Train the selector on at most so many questions.
        abbreviations: Write short forms out that their document defines.
        learn_names: Add training mentions to the vocabulary as names.
        fix_offsets: Look for misplaced mentions up to 20 characters around.
        type: Keep only entities of this type.
        seed: Of masking, orders, weights.
        out: The run's folder; the linker lies in its model.

    Raises:
        EtudeError: Malformed files, settings that do not fit, or an unknown model.
    """
    if not corpus:
        raise EtudeError("no corpus", "Give at least one PubTator file.")
    settings = {
        "selector": selector, "model": model, "retriever": retriever, "retriever_epochs": retriever_epochs,
        "options": options, "clues": clues, "clue_mask": clue_mask, "variants": variants,
        "inject_gold": inject_gold, "abstain": abstain, "min_score": min_score, "orders": orders,
        "symbols": symbols, "mode": mode, "base_url": base_url, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "limit": limit, "abbreviations": abbreviations,
        "learn_names": learn_names, "fix_offsets": fix_offsets, "type": type, "seed": seed,
    }  # fmt: skip
    documents = read_pubtator(*corpus, fix_offsets=fix_offsets)
    vocabulary, searcher, vectors = _vocabulary(vocab, retriever, type)
    linker = BioELQA(
        searcher,
        make_selector(selector, model, symbols=symbols, mode=mode, base_url=base_url, epochs=epochs,
                      batch_size=batch_size, learning_rate=learning_rate),
        n_options=options, n_clues=clues, clue_mask=clue_mask, variants=variants, inject_gold=inject_gold,
        abstain=abstain, learn_names=learn_names, preprocessing=Preprocessing(abbreviations), orders=orders,
        min_score=min_score,
    )  # fmt: skip
    config = {
        **settings,
        "corpus": [file_hash(path) for path in corpus],
        "vocabulary": vocabulary.hash,
        "identity": [linker.retriever.identity, linker.selector.identity if linker.selector else None],
    }
    cases, linker.left_out = training_cases(documents, vocabulary, linker.preprocessing)
    linker.trained_documents = frozenset(document.id for document in documents)
    with Run(out, config, command="bioelqa train") as run:
        if run.result is None:
            if retriever_epochs:
                vectors = None
                pairs = [(case.mention, case.id) for case in cases]
                _train_retriever(linker, vocabulary, pairs, out, retriever_epochs, seed)
            linker.fit_cases(
                cases, vocabulary, out=out / "checkpoints", seed=seed, vectors=vectors, limit=limit
            )
            save_linker(linker, out / "model")
            found = TrainResult(
                str(out), len(documents), len(vocabulary), len(cases), linker.left_out,
                _unknown(documents, vocabulary), linker.training, documents.notices,
            )  # fmt: skip
            run.complete(asdict(found))
        stored: dict[str, Any] = run.result or {}
    return TrainResult(**{**stored, "out": str(out), "notices": tuple(stored["notices"])})


def make_selector(
    name: str,
    model: str | None,
    *,
    symbols: str = "letters",
    mode: Mode = "generate",
    base_url: str | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
) -> Any:
    """A selector from the options of `train`; False for none."""
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    chosen = {key: value for key, value in given.items() if value is not None}
    if any(value <= 0 for value in chosen.values()):
        raise EtudeError(f"{chosen}", "Epochs, batch size and learning rate are above 0.")
    if name == "none":
        return False
    kind = selector_class(name)
    if name == "features":
        if model is not None:
            raise EtudeError(
                "--model with the selector features", "It has no pretrained model; leave it out."
            )
        if "epochs" in chosen:
            chosen["epochs"] = max(1, round(chosen["epochs"]))
        return kind(**chosen)
    model = model or _DEFAULT_MODELS[name]
    if name == "prompted":
        return kind(model, mode, symbols=symbols, base_url=base_url)
    rates = {"encoder": 5e-5, "seq2seq": 1e-4, "causal": 3e-4}
    how: dict[str, Any] = {"learning_rate": rates[name], **chosen, "symbols": symbols}
    return kind(model, GeneratorSettings(**how))


def _vocabulary(
    source: str, retriever: str, type: str | None
) -> tuple[Vocabulary, Retriever, np.ndarray | None]:
    """The vocabulary with its retriever; of an index also the encoded names."""
    if Path(source).is_dir():
        if type is not None:
            raise EtudeError("--type with an index", "Restrict the vocabulary when you index it.")
        return read_index(Path(source))
    vocabulary = read_vocabulary(source)
    restricted = vocabulary if type is None else vocabulary.restrict(type=type)
    return restricted, retriever_by_name(retriever), None


def _train_retriever(
    linker: BioELQA, vocabulary: Vocabulary, pairs: list[tuple[str, str]], out: Path, epochs: int, seed: int
) -> None:
    from etude.methods.bioelqa.bi_encoder import BiEncoder

    if not isinstance(linker.retriever, BiEncoder):
        raise EtudeError(
            "--retriever-epochs with tfidf", "Only an encoder can be trained: --retriever minilm."
        )
    how = ContrastiveSettings(epochs=epochs)
    result = train_bi_encoder(
        linker.retriever, vocabulary, pairs, out=out / "retriever-checkpoints", settings=how, seed=seed
    )
    console().print(f"bioelqa: retriever trained, loss {result.train_loss:.3f}")


def _unknown(documents: Any, vocabulary: Vocabulary) -> dict[str, int]:
    """The twenty most frequent ids that the vocabulary lacks."""
    counts: dict[str, int] = {}
    for document in documents:
        for mention in document.mentions:
            for id in mention.ids:
                if id not in vocabulary:
                    counts[id] = counts.get(id, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20])
