"""Batched diverse beam search against a plain one that follows the documented rules, one row at a time."""

import math

import pytest
import torch

from etude.errors import EtudeError
from etude.methods.idgen.decoders import tree_decoder
from etude.methods.idgen.diverse_beams import Diversity, diverse_beam_search

from .conftest import EOS, MODELS, PAD, gpt2, t5


@torch.no_grad()
def next_log_probabilities(model, row, written):
    """Of one beam, by a plain forward pass without a cache."""
    if model.config.is_encoder_decoder:
        logits = model(input_ids=row[None], decoder_input_ids=torch.tensor([[PAD, *written]])).logits
    else:
        logits = model(input_ids=torch.cat([row, torch.tensor(written, dtype=torch.long)])[None]).logits
    return logits[0, -1].log_softmax(0).tolist()


def plain_diverse_search(model, row, how):
    """Group beam search as transformers documents it: groups in turn, Hamming penalty, scores by length."""
    size = how.beams // how.groups
    beams = [[(0.0, [])] for _ in range(how.groups)]  # (sum of penalized log-probabilities, tokens)
    complete = [[] for _ in range(how.groups)]
    closed = [False] * how.groups
    for step in range(how.most):
        taken = []
        for group in range(how.groups):
            if closed[group]:
                continue
            options = []
            for total, written in beams[group]:
                for token, value in enumerate(next_log_probabilities(model, row, written)):
                    value = -math.inf if token == EOS and step < how.fewest else value
                    options.append((total + value - how.penalty * taken.count(token), written, token))
            options = sorted(options, key=lambda one: -one[0])[: 2 * size]
            beams[group] = []
            for rank, (total, written, token) in enumerate(options):
                if token == EOS:
                    if rank < size:
                        complete[group].append((total / (step + 1), written))
                elif len(beams[group]) < size:
                    beams[group].append((total, [*written, token]))
            complete[group] = sorted(complete[group], key=lambda one: -one[0])[:size]
            if len(complete[group]) == size and complete[group][-1][0] >= options[0][0] / (step + 1):
                closed[group] = True
            else:
                taken += [written[-1] for _, written in beams[group]]
    for group in range(how.groups):
        if not closed[group]:
            complete[group] += [(total / how.most, written) for total, written in beams[group]]
            complete[group] = sorted(complete[group], key=lambda one: -one[0])[:size]
    pool = sorted((one for group in complete for one in group), key=lambda one: -one[0])
    return [written for _, written in pool]


def rows_and_mask(model, rows):
    most = max(map(len, rows))
    ids, mask = torch.zeros(len(rows), most, dtype=torch.long), torch.zeros(len(rows), most, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if model.config.is_encoder_decoder else slice(most - len(row), most)
        ids[number, place], mask[number, place] = row, 1
    return ids, mask


SETTINGS = [
    Diversity(beams=10, groups=10, penalty=1.0, fewest=0, most=10),
    Diversity(beams=10, groups=10, penalty=3.0, fewest=3, most=6),
    Diversity(beams=6, groups=3, penalty=0.5, fewest=0, most=7),
    Diversity(beams=4, groups=1, penalty=0.0, fewest=1, most=5),
]


@pytest.mark.parametrize("how", SETTINGS, ids=str)
@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_every_row_of_a_batch_has_the_candidates_of_the_plain_search(family, how):
    model = MODELS[family]()
    with torch.no_grad():  # let some candidates end early
        model.get_output_embeddings().weight[EOS].mul_(3)
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(3, 60, (length,), generator=generator) for length in (6, 2, 9)]
    found = diverse_beam_search(tree_decoder(model), *rows_and_mask(model, rows), EOS, how)
    for row, ours in zip(rows, found, strict=True):
        theirs = plain_diverse_search(model, row, how)
        assert ours == theirs
        assert len(ours) == how.beams
        assert all(len(one) <= how.most for one in ours)


def test_one_group_without_penalty_is_the_beam_search_of_transformers():
    model, row = t5(), torch.tensor([5, 9, 30, 12])
    how = Diversity(beams=4, groups=1, penalty=0.0, most=6)
    ours = diverse_beam_search(tree_decoder(model), row[None], torch.ones(1, 4, dtype=torch.long), EOS, how)[
        0
    ]
    out = model.generate(
        input_ids=row[None], num_beams=4, num_return_sequences=4, do_sample=False, max_new_tokens=6,
        length_penalty=1.0, early_stopping=False, pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    theirs = [one[1:] for one in out.tolist()]
    assert ours == [one[: one.index(EOS)] if EOS in one else one for one in theirs]


def test_a_large_penalty_makes_all_first_tokens_different():
    model = gpt2()
    ids = torch.tensor([[5, 9, 30]])
    how = Diversity(beams=10, groups=10, penalty=1e4, fewest=4, most=8)
    found = diverse_beam_search(tree_decoder(model), ids, torch.ones_like(ids), EOS, how)[0]
    for place in range(4):
        assert len({one[place] for one in found}) == 10


@pytest.mark.parametrize("settings", [{"beams": 10, "groups": 3}, {"fewest": 5, "most": 5}, {"groups": 0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(EtudeError, match="beams in"):
        Diversity(**settings)


def test_a_broken_model_is_reported():
    model = t5()
    with torch.no_grad():
        decoder = tree_decoder(model)
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(EtudeError, match="NaN"):
        diverse_beam_search(
            decoder, torch.tensor([[4, 5]]), torch.ones(1, 2, dtype=torch.long), EOS, Diversity()
        )
