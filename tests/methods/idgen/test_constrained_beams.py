"""The constrained search against transformers' own, on random models and catalogues."""

import math

import pytest
import torch

from etude.errors import EtudeError
from etude.methods.idgen.constrained_beams import constrained_beam_search
from etude.methods.idgen.decoders import CausalDecoder, tree_decoder
from etude.methods.idgen.trie import TokenTrie

from .conftest import EOS, PAD, gpt2, llama, random_ids, t5


def inputs(model, lengths=(5, 3, 7, 1), seed=3):
    """Rows of unequal length, padded as the family wants it."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(3, 60, (length,), generator=generator) for length in lengths]
    most = max(lengths)
    ids, mask = torch.zeros(len(rows), most, dtype=torch.long), torch.zeros(len(rows), most, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if model.config.is_encoder_decoder else slice(most - len(row), most)
        ids[number, place], mask[number, place] = row, 1
    return ids, mask


def transformers_search(model, ids, mask, rows, beams, k, normalize, seen=None):
    """Items and scores of every row by `generate(prefix_allowed_tokens_fn=...)`."""
    prompt = 1 if model.config.is_encoder_decoder else ids.shape[1]
    index = {row: number for number, row in enumerate(rows)}
    follow = []
    for user in range(len(ids)):
        table = {}
        for row in rows:
            if seen is not None and index[row] in seen[user]:
                continue
            full = (*row, EOS)
            for at in range(len(full)):
                table.setdefault(full[:at], set()).add(full[at])
        follow.append(table)

    def allowed(user, sentence):
        return sorted(follow[user].get(tuple(sentence[prompt:].tolist()), {PAD}))

    out = model.generate(
        input_ids=ids, attention_mask=mask, num_beams=beams, num_return_sequences=k, do_sample=False,
        prefix_allowed_tokens_fn=allowed, max_new_tokens=10, length_penalty=0.0, early_stopping=False,
        renormalize_logits=normalize == "allowed", return_dict_in_generate=True, output_scores=True,
        pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    items, scores = [], []
    for sequence, score in zip(out.sequences.tolist(), out.sequences_scores.tolist(), strict=True):
        row = tuple(sequence[prompt:])
        row = row[: row.index(EOS)] if EOS in row else None
        items.append(index.get(row, -1) if row and math.isfinite(score) and score > -1e8 else -1)
        scores.append(score)
    size = len(ids)
    return torch.tensor(items).view(size, k), torch.tensor(scores).view(size, k)


@pytest.mark.parametrize("normalize", ["allowed", "vocabulary"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_top_k_is_that_of_transformers_with_a_prefix_function(model, normalize, seed):
    rows = random_ids(150, seed=seed, tokens=14)
    ids, mask = inputs(model, seed=seed)
    theirs, scores = transformers_search(model, ids, mask, rows, 8, 6, normalize)
    trie = TokenTrie.from_tokens(rows, EOS)
    ours = constrained_beam_search(tree_decoder(model), ids, mask, trie, beams=8, k=6, normalize=normalize)
    assert ours.items.tolist() == theirs.tolist()
    torch.testing.assert_close(ours.logprobs, scores, rtol=1e-4, atol=1e-4)
    assert not ours.short.any()


@pytest.mark.parametrize("make", [t5, gpt2])
def test_seen_items_are_masked_for_each_user_as_a_prefix_function_per_user_would(make):
    model, rows = make(), random_ids(60, seed=4, tokens=9)
    ids, mask = inputs(model)
    trie = TokenTrie.from_tokens(rows, EOS)
    free = constrained_beam_search(tree_decoder(model), ids, mask, trie, beams=10, k=5)
    seen = [row.tolist() for row in free.items]
    ours = constrained_beam_search(tree_decoder(model), ids, mask, trie, beams=10, k=5, seen=seen)
    theirs, _ = transformers_search(model, ids, mask, rows, 10, 5, "allowed", seen)
    assert ours.items.tolist() == theirs.tolist()
    assert all(not set(a) & set(b) for a, b in zip(seen, ours.items.tolist(), strict=True))


@pytest.mark.parametrize("normalize", ["allowed", "vocabulary"])
def test_with_beams_for_all_items_the_ranking_is_the_exhaustive_one(model, normalize):
    rows = random_ids(25, seed=5, tokens=8, longest=4)
    ids, mask = inputs(model)
    trie = TokenTrie.from_tokens(rows, EOS)
    found = constrained_beam_search(tree_decoder(model), ids, mask, trie, beams=60, k=25, normalize=normalize)
    for user in range(len(ids)):
        scores = [exhaustive_score(model, ids[user], mask[user], row, trie, normalize) for row in rows]
        expected = sorted(range(len(rows)), key=lambda item: -scores[item])
        assert found.items[user].tolist() == expected
        torch.testing.assert_close(found.logprobs[user], torch.tensor(scores)[expected], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def exhaustive_score(model, ids, mask, row, trie, normalize):
    """Sum of log-probabilities of one id by one plain forward pass without any cache."""
    real = ids[mask.bool()][None]
    full = torch.tensor([[*row, EOS]])
    if model.config.is_encoder_decoder:
        logits = model(
            input_ids=real, decoder_input_ids=torch.cat([torch.tensor([[PAD]]), full[:, :-1]], 1)
        ).logits
    else:
        logits = model(input_ids=torch.cat([real, full[:, :-1]], 1)).logits[:, real.shape[1] - 1 :]
    total = 0.0
    for at, token in enumerate(full[0].tolist()):
        line = logits[0, at]
        if normalize == "allowed":
            keep = torch.full_like(line, float("-inf"))
            places = trie.allowed(full[0, :at].tolist())
            keep[places] = line[places]
            line = keep
        total += line.log_softmax(0)[token].item()
    return total


def test_only_the_rows_of_allowed_tokens_are_read_from_the_output_projection():
    model = gpt2()
    rows = random_ids(40, seed=6, tokens=20)
    ids, mask = inputs(model)
    decoder = CausalDecoder(model)
    trie = TokenTrie.from_tokens(rows, EOS)
    before = constrained_beam_search(decoder, ids, mask, trie, beams=10, k=10)
    decoder.weight = decoder.weight.detach().clone()
    decoder.weight[20:] = float("nan")  # no id holds these tokens
    after = constrained_beam_search(decoder, ids, mask, trie, beams=10, k=10)
    assert torch.equal(before.items, after.items)
    with pytest.raises(EtudeError, match="NaN"):
        constrained_beam_search(decoder, ids, mask, trie, beams=10, k=10, normalize="vocabulary")


def test_steps_without_a_choice_do_not_run_the_model():
    model = llama()
    rows = [(5, *range(10, 20)), (6, *range(20, 30)), (7, *range(30, 40), 5, 6), (7, *range(30, 40), 6)]
    decoder = Counted(CausalDecoder(model))
    ids, mask = inputs(model)
    trie = TokenTrie.from_tokens(rows, EOS)
    found = constrained_beam_search(decoder, ids, mask, trie, beams=4, k=4)
    assert decoder.passes == 2  # at the root and where the last two ids part
    for user in range(len(ids)):
        scores = [exhaustive_score(model, ids[user], mask[user], row, trie, "allowed") for row in rows]
        assert found.items[user].tolist() == sorted(range(4), key=lambda item: -scores[item])


class Counted:
    """A decoder that counts its passes."""

    def __init__(self, decoder):
        self.decoder, self.weight, self.bias, self.passes = decoder, decoder.weight, decoder.bias, 0

    def read(self, input_ids, attention_mask):
        return self.decoder.read(input_ids, attention_mask)

    def extend(self, *arguments):
        self.passes += 1
        return self.decoder.extend(*arguments)


def test_a_users_history_is_read_once_whatever_the_number_of_beams():
    model = gpt2()
    decoder, shapes = CausalDecoder(model), []
    model.base_model.register_forward_hook(
        lambda module, args, kwargs, out: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    ids, mask = inputs(model, lengths=(30, 30, 30))
    constrained_beam_search(
        decoder, ids, mask, TokenTrie.from_tokens(random_ids(80, seed=8), EOS), beams=20, k=5
    )
    assert shapes[0] == (3, 29)
    assert all(rows == 3 for rows, _ in shapes)  # never a row per beam


def test_fewer_items_than_k_give_a_short_row_that_says_so():
    model, rows = t5(), random_ids(3, seed=1)
    ids, mask = inputs(model)
    trie = TokenTrie.from_tokens(rows, EOS)
    found = constrained_beam_search(
        tree_decoder(model), ids, mask, trie, beams=10, k=5, seen=[[], [0], [0, 1], [0, 1, 2]]
    )
    assert [sorted(i for i in row if i >= 0) for row in found.items.tolist()] == [[0, 1, 2], [1, 2], [2], []]
    assert found.short.all()
    assert torch.equal(found.logprobs == float("-inf"), found.items == -1)


def test_one_beam_is_greedy_search():
    model, rows = gpt2(), random_ids(50, seed=2, tokens=10)
    ids, mask = inputs(model)
    trie = TokenTrie.from_tokens(rows, EOS)
    found = constrained_beam_search(tree_decoder(model), ids, mask, trie, beams=1, k=1)
    for user in range(len(ids)):
        prefix = []
        while EOS not in prefix:
            row = torch.cat([ids[user][mask[user].bool()], torch.tensor(prefix, dtype=torch.long)])[None]
            logits, places = model(input_ids=row).logits[0, -1], trie.allowed(prefix)
            prefix.append(places[int(logits[places].argmax())])
        assert rows[found.items[user, 0]] == tuple(prefix[:-1])


@pytest.mark.parametrize(("k", "beams"), [(0, 5), (6, 5)])
def test_k_outside_of_the_beams_is_refused(k, beams):
    model = t5()
    ids, mask = inputs(model)
    with pytest.raises(EtudeError, match="beams"):
        constrained_beam_search(
            tree_decoder(model), ids, mask, TokenTrie.from_tokens([(5,)], EOS), beams=beams, k=k
        )


@pytest.mark.parametrize("seen", [[[0]], [[9], [], [], []], [[-1], [], [], []]])
def test_seen_items_that_do_not_fit_are_refused(seen):
    model = t5()
    ids, mask = inputs(model)
    with pytest.raises(EtudeError, match="seen items"):
        constrained_beam_search(
            tree_decoder(model), ids, mask, TokenTrie.from_tokens([(5,), (6,)], EOS), beams=2, k=1, seen=seen
        )


def test_prompts_padded_on_the_right_are_refused():
    model = gpt2()
    with pytest.raises(EtudeError, match="padded on the right"):
        CausalDecoder(model).read(torch.tensor([[5, 6, 0]]), torch.tensor([[1, 1, 0]]))


def test_a_model_that_changes_its_logits_is_refused():
    model = gpt2()
    forward = model.forward

    def capped(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.logits = 3 * torch.tanh(out.logits / 3)
        return out

    model.forward = capped
    with pytest.raises(EtudeError, match="logits"):
        CausalDecoder(model)


def test_a_model_with_broken_weights_is_refused_before_any_search():
    model = t5()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(EtudeError, match="NaN"):
        tree_decoder(model)
