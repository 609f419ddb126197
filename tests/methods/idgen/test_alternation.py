import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from etude.errors import EtudeError
from etude.methods.idgen.alternation import Alternator, GeneratorTraining, tune_generator
from etude.methods.idgen.backbones import build_backbone
from etude.methods.idgen.generator_training import teach_ids
from etude.methods.idgen.items import Item
from etude.methods.idgen.preparation import read_corpus, tiny_generator
from etude.methods.idgen.recommender_training import Training
from etude.methods.idgen.setup import Setup, assemble, start_alternation
from etude.methods.idgen.soft_ids import (
    embeddings,
    greedy_tokens,
    punctuation_tokens,
    require_shared_vocabulary,
    write_soft_ids,
)
from etude.methods.idgen.templates import own_templates
from etude.methods.idgen.textual_ids import read_ids
from etude.methods.idgen.through_recommender import SampledTargets, ThroughRecommender, target_loss
from etude.methods.idgen.vocabulary import word_tokenizer
from etude.runs import Run

END = 1


@pytest.fixture
def corpus(tmp_path, shop):
    return read_corpus(*shop.write(tmp_path, users=12, length=5))


def pair(corpus, backbone):
    """An untrained generator and an untrained recommender with one vocabulary."""
    from etude.methods.idgen.preparation import item_names

    setup = Setup(backbone=backbone, templates=tuple(own_templates(user_ids=False)), dropout=0.1)
    texts = [item.line for item in corpus.items.values()]
    rec = assemble(corpus, setup, item_names(corpus, "textual"), texts=texts)
    return tiny_generator(rec.backbone), rec


def batch(rec):
    return {"history": torch.tensor([[0, 1, 2], [3, 0, -1]]), "target": torch.tensor([4, 5])}


@pytest.mark.parametrize("backbone", ["tiny", "causal-tiny"])
def test_the_generator_gets_a_gradient_and_the_frozen_recommender_none(corpus, backbone):
    gen, rec = pair(corpus, backbone)
    module = ThroughRecommender(gen, rec, corpus.items)
    loss = module(**batch(rec))["loss"]
    loss.backward()
    silent = [name for name, p in gen.model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert silent == []
    assert all(p.grad is None for p in rec.backbone.model.parameters())


@pytest.mark.parametrize("backbone", ["tiny", "causal-tiny"])
def test_the_gradient_is_that_of_finite_differences(corpus, backbone, monkeypatch):
    gen, rec = pair(corpus, backbone)
    gen.model.double(), rec.backbone.model.double()
    module = ThroughRecommender(gen, rec, corpus.items, temperature=0.7)
    # the decoded tokens are constants of the gradient: an untrained model is near a tie of two of them
    decoded = {}

    def once(model, texts, mask, end, longest):
        return decoded.setdefault("tokens", greedy_tokens(model, texts, mask, end, longest))

    monkeypatch.setattr("etude.methods.idgen.soft_ids.greedy_tokens", once)
    weight = gen.model.decoder.block[0].layer[1].EncDecAttention.v.weight
    module(**batch(rec))["loss"].backward()
    place = divmod(int(weight.grad.abs().argmax()), weight.shape[1])
    values = []
    for step in (1e-4, -1e-4):
        with torch.no_grad():
            weight[place] += step
            values.append(float(module(**batch(rec))["loss"]))
            weight[place] -= step
    slope = (values[0] - values[1]) / 2e-4
    assert slope == pytest.approx(float(weight.grad[place]), rel=2e-2)  # T5 norms in float32


def soft(gen, embedding, **options):
    texts = torch.tensor([[5, 6, 7, 8], [9, 10, 3, 0]])
    mask = (texts > 0).long()
    none = torch.zeros(len(embedding), dtype=torch.bool)
    return write_soft_ids(
        gen.model.eval(), texts, mask, embedding, end=END, **{"punctuation": none, **options}
    )


def test_soft_embeddings_are_expectations_under_probabilities_not_log_probabilities(corpus):
    gen, _ = pair(corpus, "tiny")
    embedding = torch.eye(len(embeddings(gen.model)))
    found = soft(gen, embedding)  # with the identity the embeddings are the distributions themselves
    assert torch.allclose(found.embeddings.sum(2), torch.ones(found.embeddings.shape[:2]), atol=1e-5)
    assert (found.embeddings >= 0).all()
    steps = (
        gen.model(input_ids=torch.tensor([[5, 6, 7, 8]]), decoder_input_ids=torch.tensor([[0]]))
        .logits[0, 0]
        .softmax(0)
    )
    assert torch.allclose(found.embeddings[0, 0], steps, atol=1e-5)


def test_the_reread_distributions_are_those_of_decoding_step_by_step(corpus):
    gen, _ = pair(corpus, "tiny")
    model = gen.model.eval()
    texts = torch.tensor([[5, 6, 7, 8]])
    tokens, read = [], [0]
    for step in range(10):
        logits = model(input_ids=texts, decoder_input_ids=torch.tensor([read])).logits[0, -1].clone()
        if step == 0:
            logits[END] = -torch.inf
        tokens.append(int(logits.argmax()))
        if tokens[-1] == END:
            break
        read.append(tokens[-1])
    written = greedy_tokens(model, texts, torch.ones_like(texts), END, 10)[0].tolist()
    assert written[: len(tokens)] == tokens


def test_a_low_temperature_and_straight_through_give_the_greedy_tokens(corpus):
    gen, _ = pair(corpus, "tiny")
    embedding = torch.randn(len(embeddings(gen.model)), 8)
    for options in ({"temperature": 1e-4}, {"straight_through": True}):
        found = soft(gen, embedding, **options)
        for row, tokens in enumerate(found.tokens):
            expected = embedding[torch.tensor(tokens)]
            assert torch.allclose(found.embeddings[row, : len(tokens)], expected, atol=1e-4)


def test_straight_through_has_the_gradient_of_the_soft_ids(corpus):
    gen, _ = pair(corpus, "tiny")
    embedding = torch.randn(len(embeddings(gen.model)), 8)
    grads = []
    for straight in (False, True):
        gen.model.zero_grad()
        soft(gen, embedding, straight_through=straight).embeddings.sum().backward()
        grads.append(gen.model.shared.weight.grad.clone())
    assert torch.allclose(*grads, atol=1e-5) and grads[0].abs().sum() > 0


def test_positions_of_punctuation_are_zeroed(corpus):
    gen, _ = pair(corpus, "tiny")
    size = len(embeddings(gen.model))
    every = torch.ones(size, dtype=torch.bool)
    assert soft(gen, torch.randn(size, 8), punctuation=every).embeddings.abs().sum() == 0
    tokenizer = word_tokenizer([";", "after", "?", "x1"])
    marked = punctuation_tokens(tokenizer, 10)
    assert [tokenizer.convert_ids_to_tokens(n) for n in range(3, 7) if marked[n]] == [";", "?"]


@pytest.mark.parametrize("backbone", ["tiny", "causal-tiny"])
def test_with_greedy_embeddings_the_loss_is_the_recommenders_own(corpus, backbone):
    gen, rec = pair(corpus, backbone)
    module = ThroughRecommender(gen, rec, corpus.items, straight_through=True)
    data = {"history": torch.tensor([[2, 1]]), "target": torch.tensor([4])}
    texts = [module.texts[item] for item in (2, 1)]
    rows = []
    for text in texts:
        tokens = greedy_tokens(
            gen.model.eval(), torch.tensor([text]), torch.ones(1, len(text)).long(), END, 10
        )
        row = tokens[0].tolist()
        rows.append(row[: row.index(END)] if END in row else row)
    words = [rec.backbone.tokenizer.decode(row) for row in rows]
    mirror = replace(rec, extra={"first": words[0], "second": words[1]})
    target = rec.items[4]
    expected = -mirror.score(["first", "second"], [target])[0] / (len(rec.tokens[target]) + 1)
    punctuated = module.punctuation[torch.tensor([token for row in rows for token in row])]
    assert not punctuated.any()
    assert module(**data)["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_labels_of_targets_are_masked_where_they_are_padded(corpus):
    _, rec = pair(corpus, "tiny")
    model = rec.backbone.model.eval()
    embedded = model.get_input_embeddings()(torch.tensor([[5, 6], [5, 6]]))
    mask = torch.ones(2, 2, dtype=torch.long)
    both = target_loss(model, embedded, mask, [[7, END], [7, 8, 9, END]], 0)
    first = target_loss(model, embedded[:1], mask[:1], [[7, END]], 0)
    second = target_loss(model, embedded[1:], mask[1:], [[7, 8, 9, END]], 0)
    assert float(both) == pytest.approx((2 * float(first) + 4 * float(second)) / 6, rel=1e-4)


def test_tuning_moves_the_generator_and_leaves_the_recommender_as_it_was(corpus, tmp_path):
    gen, rec = pair(corpus, "causal-tiny")
    before = {name: p.clone() for name, p in rec.backbone.model.named_parameters()}
    start = {name: p.clone() for name, p in gen.model.named_parameters()}
    how = GeneratorTraining(learning_rate=1e-3, batch_size=4)
    loss = tune_generator(gen, rec, corpus.items, corpus.split, how, seed=0, out=tmp_path / "tune")
    assert loss > 0
    assert all(torch.equal(before[name], p) for name, p in rec.backbone.model.named_parameters())
    assert any(not torch.equal(start[name], p) for name, p in gen.model.named_parameters())
    assert all(p.requires_grad for p in rec.backbone.model.parameters())
    stored = load_file(next((tmp_path / "tune").glob("checkpoint-*/trained.safetensors")))
    assert all(name.startswith("generator.") for name in stored)


def test_tuning_lowers_the_loss_through_the_recommender(corpus, tmp_path):
    gen, rec = pair(corpus, "causal-tiny")
    module = ThroughRecommender(gen, rec, corpus.items)
    optimizer = torch.optim.Adam(gen.model.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        loss = module(**batch(rec))["loss"]
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_generator_and_recommender_with_different_tokenizers_are_refused():
    ours = build_backbone("tiny", ["a", "b", "c"])
    for other in (build_backbone("tiny", ["a", "c", "b"]), build_backbone("causal-tiny", ["a", "b"])):
        with pytest.raises(EtudeError, match="different tokenizers"):
            require_shared_vocabulary(ours, other)
    require_shared_vocabulary(ours, build_backbone("causal-tiny", ["a", "b", "c"]))
    with pytest.raises(EtudeError, match="causal"):
        require_shared_vocabulary(build_backbone("causal-tiny", ["a"]), ours)


def test_a_t5_generator_with_a_tiny_recommender_is_refused(corpus, tmp_path):
    with pytest.raises(EtudeError, match="do not match"):
        start_alternation(corpus, Setup(generator="t5:somewhere"), out=tmp_path)
    with pytest.raises(EtudeError, match="no gradient"):
        start_alternation(corpus, Setup(generator="lm:smollm2"), out=tmp_path)


def test_alternation_without_texts_is_refused(tmp_path, shop):
    sequences, _ = shop.write(tmp_path)
    with pytest.raises(EtudeError, match="texts"):
        start_alternation(read_corpus(sequences), Setup(), out=tmp_path / "out")


def test_a_tiny_generator_learns_ids(tmp_path):
    items = {f"i{n}": Item(item_id=f"i{n}", title=f"word{n} thing") for n in range(8)}
    ids = {name: item.title for name, item in items.items()}
    gen = build_backbone("tiny", ["title:", *(f"word{n}" for n in range(8)), "thing"], dropout=0.0)
    loss = teach_ids(gen, items, ids, epochs=60, learning_rate=1e-2, out=tmp_path)
    assert loss < 0.3
    text = torch.tensor([gen.tokenizer.encode(items["i3"].line)])
    written = greedy_tokens(gen.model.eval(), text, torch.ones_like(text), END, 5)[0].tolist()
    assert gen.tokenizer.decode(written[: written.index(END)]) == "word3 thing"


def alternator(corpus, tmp_path, **options):
    gen, rec = pair(corpus, "causal-tiny")
    tune = GeneratorTraining(learning_rate=1e-2, batch_size=4, text_tokens=16)
    return Alternator(
        gen, rec, corpus.items, corpus.split, tune=tune, train=Training(epochs=1, batch_size=8), **options
    )


def test_a_round_renames_items_and_keeps_each_phase_in_a_file_named_by_its_hash(corpus, tmp_path):
    made = alternator(corpus, tmp_path)
    phase_zero = dict(made.rec.ids)
    with Run(tmp_path / "run", {}, command="test") as run:
        reports = made.run(run, rounds=2)
    assert [report.round for report in reports] == [1, 2]
    assert reports[0].changed == sum(
        read_ids(next((tmp_path / "run/round-1").glob("ids-*.tsv")))[item] != words
        for item, words in phase_zero.items()
    ) / len(phase_zero)
    for report in reports:
        (path,) = (tmp_path / f"run/round-{report.round}").glob("ids-*.tsv")
        assert report.ids_sha256.startswith(path.stem.removeprefix("ids-"))
    assert len(set(made.rec.ids.values())) == len(made.rec.ids)


def test_the_frozen_control_keeps_its_ids_and_trains_as_much(corpus, tmp_path):
    made = alternator(corpus, tmp_path, frozen=True)
    phase_zero, before = dict(made.rec.ids), made.gen.model.shared.weight.clone()
    with Run(tmp_path / "run", {}, command="test") as run:
        (report,) = made.run(run, rounds=1)
    assert made.rec.ids == phase_zero and report.changed == 0 and report.generator_loss is None
    assert torch.equal(made.gen.model.shared.weight, before) and report.recommender_loss > 0


def test_finished_stages_are_read_not_repeated(corpus, tmp_path, monkeypatch):
    results = []
    for attempt in range(2):
        made = alternator(corpus, tmp_path)
        if attempt:
            monkeypatch.setattr(Alternator, "_tune", lambda *a: pytest.fail("tuned again"))
            monkeypatch.setattr(Alternator, "_train", lambda *a: pytest.fail("trained again"))
        with Run(tmp_path / "run", {}, command="test") as run:
            reports = made.run(run, rounds=1, order="rec_first")
        results.append(
            (reports, made.rec.ids, made.gen.model.shared.weight, made.rec.backbone.model.lm_head.weight)
        )
    assert results[0][0] == results[1][0] and results[0][1] == results[1][1]
    assert torch.equal(results[0][2], results[1][2]) and torch.equal(results[0][3], results[1][3])


def test_sampled_targets_come_from_the_training_part(corpus):
    split = corpus.split
    number = {item: place for place, item in enumerate(sorted(corpus.items))}
    train = [[number[item] for item in history.items] for history in split.train]
    data = SampledTargets(train, epochs=3, batch_size=4, most=6)
    assert sum(len(data[n]["target"]) for n in range(data.per_epoch)) == 6
    for n in range(len(data)):
        for history, target in zip(data[n]["history"].tolist(), data[n]["target"].tolist(), strict=True):
            prefix = [item for item in history if item >= 0]
            assert any(row[: len(prefix)] == prefix and row[len(prefix)] == target for row in train)


def test_the_report_of_a_round_is_json(corpus, tmp_path):
    made = alternator(corpus, tmp_path, frozen=True)
    with Run(tmp_path / "run", {}, command="test") as run:
        made.run(run, rounds=1)
        assert json.dumps(run.record("report-1"))
