from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.models import generation, kv_cache
from etude.models.decoding import Decoding
from etude.models.generation import crop_prefix, generate_batch, generate_rows, prefill, score_batch

LENGTHS = (5, 9, 9, 1, 30, 70)


@pytest.fixture
def rows() -> list[list[int]]:
    random = torch.Generator().manual_seed(1)
    return [torch.randint(4, 100, (length,), generator=random).tolist() for length in LENGTHS]


@pytest.fixture
def head() -> list[int]:
    return torch.randint(4, 100, (40,), generator=torch.Generator().manual_seed(2)).tolist()


@pytest.fixture
def some_ends(tiny, rows, head) -> Iterator[list[int]]:
    """End tokens such that the rows end at different places."""
    before = tiny.model.generation_config.eos_token_id
    written = [plain(tiny, head + row, 20) for row in rows]
    places = (3, 7, 1, 19, 12, 15)
    tiny.model.generation_config.eos_token_id = [
        w[min(at, len(w) - 1)] for w, at in zip(written, places, strict=True)
    ]
    yield tiny.model.generation_config.eos_token_id
    tiny.model.generation_config.eos_token_id = before


def plain(lm, row: list[int], tokens: int, **options: float) -> list[int]:
    """What the `generate` of transformers writes after one row alone, without the end token."""
    ids = torch.tensor([row])
    made = lm.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, **options
    )
    written = made[0, len(row) :].tolist()
    return written[:-1] if written[-1] in generation.end_tokens(lm) else written


def naive_logprobs(lm, row: list[int], option: list[int]) -> list[float]:
    """Log-probabilities of an option from one forward pass over everything."""
    with torch.inference_mode():
        logprobs = lm.model(torch.tensor([row + option])).logits[0].log_softmax(-1)
    return [float(logprobs[len(row) - 1 + i, token]) for i, token in enumerate(option)]


def test_a_batch_writes_what_plain_generate_writes_one_at_a_time(tiny, rows):
    made = generate_batch(tiny, rows, max_tokens=20)
    assert [one.tokens for one in made] == [plain(tiny, row, 20) for row in rows]


def test_a_shared_prefix_changes_nothing_but_the_work(tiny, rows, head):
    prefix = prefill(tiny, head)
    made = generate_batch(tiny, rows, prefix=prefix, max_tokens=20)
    assert [one.tokens for one in made] == [plain(tiny, head + row, 20) for row in rows]


def test_rows_that_end_early_leave_the_others_as_they_are(tiny, rows, head, some_ends):
    made = generate_batch(tiny, rows, prefix=prefill(tiny, head), max_tokens=40)
    assert [one.tokens for one in made] == [plain(tiny, head + row, 40) for row in rows]
    assert len({len(one.tokens) for one in made}) > 3
    assert "stop" in {one.stop_reason for one in made}


def test_rows_arrive_as_soon_as_they_are_finished(tiny, rows, head, some_ends):
    made = list(generate_rows(tiny, rows, prefix=prefill(tiny, head), max_tokens=40))
    assert [len(one.tokens) for _, one in made] == sorted(len(one.tokens) for _, one in made)


def test_small_memory_means_smaller_batches_and_the_same_text(tiny, rows, monkeypatch):
    whole = generate_batch(tiny, rows, max_tokens=10)
    monkeypatch.setattr(generation, "CACHE_BYTES", 1)
    assert generate_batch(tiny, rows, max_tokens=10) == whole


def test_a_prefix_is_as_it_was_after_generating_and_scoring(tiny, rows, head):
    prefix = prefill(tiny, head)
    keys = [layer.keys.clone() for layer in prefix.cache.layers]
    generate_batch(tiny, rows[:1], prefix=prefix, max_tokens=5)
    generate_batch(tiny, rows, prefix=prefix, max_tokens=5)
    generate_batch(tiny, [[], [5]], prefix=prefix, max_tokens=5)
    score_batch(tiny, rows[:1], [[[5, 6], [7]]], prefix=prefix)
    score_batch(tiny, [[]], [[[5, 6], [7]]], prefix=prefix)
    assert prefix.tokens == head
    for layer, before in zip(prefix.cache.layers, keys, strict=True):
        torch.testing.assert_close(layer.keys, before)


def test_a_row_without_own_tokens_continues_the_prefix(tiny, rows, head):
    made = generate_batch(tiny, [[], rows[0]], prefix=prefill(tiny, head), max_tokens=10)
    assert [one.tokens for one in made] == [plain(tiny, head, 10), plain(tiny, head + rows[0], 10)]


def test_a_prefix_of_one_token_can_lend_it_too(tiny):
    prefix = prefill(tiny, [7])
    for _ in range(2):
        assert generate_batch(tiny, [[]], prefix=prefix, max_tokens=6)[0].tokens == plain(tiny, [7], 6)
        assert prefix.tokens == [7]
    (scored,) = score_batch(tiny, [[]], [[[5, 6]]], prefix=prefix)
    assert scored[0].logprobs == pytest.approx(naive_logprobs(tiny, [7], [5, 6]), abs=2e-5)


def test_a_prefix_grows_and_is_cropped_like_nested_prompts(tiny, head, rows):
    prefix = None
    for end in (10, 25, 40):
        prefix = prefill(tiny, head[len(prefix) if prefix else 0 : end], prefix)
        made = generate_batch(tiny, [rows[0]], prefix=prefix, max_tokens=10)
        assert made[0].tokens == plain(tiny, head[:end] + rows[0], 10)
    crop_prefix(prefix, 25)
    assert len(prefix) == 25
    assert generate_batch(tiny, [rows[1]], prefix=prefix, max_tokens=10)[0].tokens == plain(
        tiny, head[:25] + rows[1], 10
    )


def test_reading_in_chunks_gives_the_same_keys_and_values(tiny, rows):
    whole, parts = prefill(tiny, rows[5]), prefill(tiny, rows[5], chunk=7)
    for one, other in zip(whole.cache.layers, parts.cache.layers, strict=True):
        torch.testing.assert_close(one.keys, other.keys, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(one.values, other.values, atol=1e-5, rtol=1e-4)


def test_scores_are_those_of_a_plain_forward_pass(tiny, rows, head):
    options = [[[5], [6, 7, 8], list(range(9, 30))] for _ in rows]
    for prefix, before in ((None, []), (prefill(tiny, head), head)):
        found = score_batch(tiny, rows, options, prefix=prefix)
        for row, scored, offered in zip(rows, found, options, strict=True):
            for one, option in zip(scored, offered, strict=True):
                assert one.logprobs == pytest.approx(naive_logprobs(tiny, before + row, option), abs=2e-5)


def test_scoring_in_small_steps_gives_the_same_scores(tiny, rows, monkeypatch):
    options = [[list(range(9, 30)), [6, 7, 8]] for _ in rows]
    whole = score_batch(tiny, rows, options)
    monkeypatch.setattr(generation, "LOGIT_BYTES", 1)
    parts = score_batch(tiny, rows, options, max_rows=3)
    for one, other in zip(whole, parts, strict=True):
        assert [s.total for s in one] == pytest.approx([s.total for s in other], abs=2e-5)


def test_greedy_marks_are_true_exactly_where_greedy_decoding_agrees(tiny, rows):
    written = plain(tiny, rows[0], 8)
    other = [*written[:3], (written[3] + 1) % 100 + 4, *written[4:]]
    scored = score_batch(tiny, [rows[0]], [[written, other]])[0]
    assert scored[0].greedy == [True] * len(written)
    assert scored[1].greedy[:4] == [True, True, True, False]


def test_what_a_row_draws_does_not_depend_on_its_neighbors(tiny, rows, head):
    prefix = prefill(tiny, head)
    together = generate_batch(tiny, rows, prefix=prefix, max_tokens=12, temperature=1.0, seeds=range(6))
    alone = [
        generate_batch(tiny, [row], prefix=prefix, max_tokens=12, temperature=1.0, seeds=[i])[0]
        for i, row in enumerate(rows)
    ]
    assert together == alone
    other = generate_batch(tiny, rows, prefix=prefix, max_tokens=12, temperature=1.0, seeds=range(6, 12))
    assert other != together


def test_samples_follow_the_softmax_at_the_temperature(tiny, rows):
    draws = 3000
    made = generate_batch(
        tiny, [rows[0]] * draws, max_tokens=1, temperature=2.0, seeds=range(draws), max_rows=1000
    )
    counts = torch.bincount(torch.tensor([one.tokens[0] if one.tokens else 2 for one in made]), minlength=118)
    with torch.inference_mode():
        expected = (tiny.model(torch.tensor([rows[0]])).logits[0, -1] / 2.0).softmax(-1)
    top = expected.topk(5).indices
    spread = (expected[top] * (1 - expected[top]) / draws).sqrt()
    assert ((counts[top] / draws - expected[top]).abs() < 5 * spread).all()


def test_an_answer_ends_before_a_stop_string(tiny, rows):
    free = generate_batch(tiny, [rows[0]], max_tokens=12)[0]
    words = free.text.split()
    cut = generate_batch(tiny, [rows[0]], max_tokens=12, stop=[words[4]])[0]
    assert cut.stop_reason == "stop"
    assert words[4] not in cut.text
    assert cut.text == free.text[: free.text.index(words[4])]


def test_writing_stops_where_the_context_ends(tiny, rows):
    long = (rows[5] * 4)[:250]
    made = generate_batch(tiny, [long, rows[0]], max_tokens=20)
    assert len(made[0].tokens) <= 6
    assert made[1] == generate_batch(tiny, [rows[0]], max_tokens=20)[0]


def test_a_model_with_a_recurrent_state_is_refused_with_a_way_out():
    from transformers import Qwen3NextConfig

    from etude.errors import EtudeError

    config = Qwen3NextConfig(
        num_hidden_layers=4, hidden_size=32, layer_types=["linear_attention"] * 3 + ["full_attention"]
    )
    with pytest.raises(EtudeError, match="cannot share") as caught:
        kv_cache.new_cache(config)
    assert "openai/" in caught.value.hint


@pytest.mark.parametrize("kind", ["sliding", "hybrid", "learned positions"])
def test_other_attentions_and_positions_give_what_plain_generate_gives(tiny, rows, head, kind):
    from dataclasses import replace

    from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, MistralConfig

    shape = {"vocab_size": 118, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    shape |= {
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.3,
        "max_position_embeddings": 256,
    }
    configs = {
        "sliding": MistralConfig(**shape, num_hidden_layers=2, sliding_window=8),
        "hybrid": Gemma3TextConfig(**shape, num_hidden_layers=7, sliding_window=8),
        "learned positions": GPT2Config(
            vocab_size=118,
            n_embd=32,
            n_layer=2,
            n_head=4,
            initializer_range=0.3,
            bos_token_id=1,
            eos_token_id=2,
        ),
    }
    torch.manual_seed(0)
    lm = replace(tiny, model=AutoModelForCausalLM.from_config(configs[kind]).eval())
    lm.model.generation_config.eos_token_id = 2
    made = generate_batch(lm, rows, prefix=prefill(lm, head), max_tokens=12)
    assert [one.tokens for one in made] == [plain(lm, head + row, 12) for row in rows]
    made = generate_batch(lm, rows, max_tokens=12)
    assert [one.tokens for one in made] == [plain(lm, row, 12) for row in rows]
    scores = score_batch(lm, rows, [[[5, 6], [7]]] * len(rows), prefix=prefill(lm, head))
    for row, scored in zip(rows, scores, strict=True):
        assert scored[0].logprobs == pytest.approx(naive_logprobs(lm, head + row, [5, 6]), abs=5e-5)


def test_smollm2_batched_with_a_shared_prefix_writes_what_plain_generate_writes(smollm2):
    encode = smollm2.tokenizer.encode
    head = encode("<|im_start|>user\nAnswer in one short sentence. ")
    asked = ["What is the capital of France?", "Name a color.", "What do bees make?"]
    tails = [encode(f"{text}<|im_end|>\n<|im_start|>assistant\n") for text in asked]
    made = generate_batch(smollm2, tails, prefix=prefill(smollm2, head), max_tokens=12)
    assert [one.tokens for one in made] == [plain(smollm2, head + tail, 12) for tail in tails]
    assert "Paris" in made[0].text


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=8))
def test_groups_hold_each_row_once_and_share_what_they_say(rows):
    from etude.models import sharing

    before, sharing.WORTH = sharing.WORTH, 4
    try:
        groups = sharing.plan(rows)
    finally:
        sharing.WORTH = before
    assert sorted(i for group in groups for i in group.rows) == list(range(len(rows)))
    for group in groups:
        assert len({tuple(rows[i][: group.shared]) for i in group.rows}) == 1
        assert all(len(rows[i]) > group.shared for i in group.rows)


def test_questions_on_the_same_long_text_become_groups():
    from etude.models.sharing import Group, plan

    first, second = list(range(2000)), list(range(5000, 7000))
    groups = plan([[*first, 1], [*second, 2], [*first, 2], [*second, 3, 4], [9], [10, 11]])
    assert [Group(g.shared, sorted(g.rows)) for g in groups] == [
        Group(2000, [0, 2]),
        Group(2000, [1, 3]),
        Group(0, [4, 5]),
    ]


@pytest.mark.parametrize("penalty", [1.2, 0.8])
def test_a_repetition_penalty_writes_what_transformers_writes(tiny, rows, head, penalty):
    decoding = Decoding(repetition_penalty=penalty)
    made = generate_batch(tiny, rows, prefix=prefill(tiny, head), max_tokens=20, decoding=decoding)
    assert [one.tokens for one in made] == [
        plain(tiny, head + row, 20, repetition_penalty=penalty) for row in rows
    ]


def test_penalties_on_what_was_written_follow_their_formula(tiny, rows):
    decoding = Decoding(frequency_penalty=0.7, presence_penalty=0.4)
    (made,) = generate_batch(tiny, rows[:1], max_tokens=12, decoding=decoding)
    written: list[int] = []
    for token in made.tokens:
        with torch.no_grad():
            logits = tiny.model(torch.tensor([rows[0] + written])).logits[0, -1].clone()
        for seen in set(written):
            logits[seen] -= 0.7 * written.count(seen) + 0.4
        assert int(logits.argmax()) == token
        written.append(token)
    assert made.tokens != plain(tiny, rows[0], 12)


def test_sampling_stays_among_the_likeliest_tokens(tiny, rows):
    def sampled(**options: float) -> list[list[int]]:
        seeds = list(range(len(rows)))
        found = generate_batch(
            tiny, rows, max_tokens=10, temperature=1.5, seeds=seeds, decoding=Decoding(**options)
        )
        return [one.tokens for one in found]

    greedy = [plain(tiny, row, 10) for row in rows]
    assert sampled(top_k=1) == sampled(top_p=1e-6) == greedy
    for row, tokens in zip(rows, sampled(top_k=3), strict=True):
        for at, token in enumerate(tokens):
            with torch.inference_mode():
                logits = tiny.model(torch.tensor([row + tokens[:at]])).logits[0, -1]
            assert token in logits.topk(3).indices
    assert sampled(top_k=3) != greedy


def test_a_setting_outside_its_range_is_refused():
    for wrong in ({"top_p": 0}, {"top_k": -1}, {"repetition_penalty": 0}, {"frequency_penalty": 3}):
        with pytest.raises(EtudeError, match=next(iter(wrong))):
            Decoding(**wrong)
    assert Decoding(top_p=0.9, top_k=0).to_json() == {"top_p": 0.9}
