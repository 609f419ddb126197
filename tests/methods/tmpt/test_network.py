"""The network: what moves in each tuning mode, what each half says alone, what the gate does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from etude.methods.tmpt.batches import BatchPlan, epoch_batches
from etude.methods.tmpt.feature_cache import SHARD, FeatureCache
from etude.methods.tmpt.fusion import build_network
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.optimizer_groups import check_every_tensor_learns, optimizer_groups
from etude.methods.tmpt.posters import made_up_posts
from etude.methods.tmpt.rows import Rows
from etude.methods.tmpt.rows_training import ask_rows, train_rows
from etude.methods.tmpt.settings import TMPTConfig, Training

POSTS = made_up_posts(12)
MODES = (
    TMPTConfig(text_tuning="full", width=8),
    TMPTConfig(text_tuning="prompt", width=8, text_tokens=3),
    TMPTConfig(text_tuning="lora", width=8, visual_prompt_target=True),
    TMPTConfig(text_tuning="frozen", width=8, visual_prompt_depth="deep"),
    TMPTConfig(text_tuning="frozen", width=8, visual_prompt_start=3, gate="none"),
    TMPTConfig(text_tuning="frozen", width=8, branches="text", visual_prompts=0),
    TMPTConfig(text_tuning="frozen", width=8, branches="image"),
    TMPTConfig(text_tuning="frozen", width=8, visual_prompts=0),
)


def model_of(config: TMPTConfig, text: str, vision: str) -> tuple[TMPTModel, Rows]:
    model = TMPTModel.from_encoders(text, vision, config, targets=dict(POSTS.targets))
    model.labels = POSTS.labels()
    return model, model.rows(POSTS.examples)


@pytest.mark.parametrize(
    "config",
    MODES,
    ids=lambda c: (
        f"{c.text_tuning}-{c.branches}-{c.visual_prompts}-{c.visual_prompt_depth}-{c.visual_prompt_start}"
    ),
)
def test_every_trainable_tensor_is_in_the_optimizer_and_moves_and_nothing_else(
    config: TMPTConfig, tiny_bert: str, tiny_vit: str, tmp_path: Path
) -> None:
    model, rows = model_of(config, tiny_bert, tiny_vit)
    network = build_network(config, model.text, model.vision, model.readout, 3, 0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    frozen_vision = {n: p.clone() for n, p in model.vision.model.named_parameters()} if model.vision else {}
    groups = optimizer_groups(network, Training())
    held = [p for group in groups for p in group["params"]]
    trainable = [p for p in network.parameters() if p.requires_grad]
    assert len(held) == len(trainable) == len({id(p) for p in held})
    how = Training(
        epochs=2, batch_size=8, encoder_rate=1e-2, linear_rate=1e-2, prompt_rate=1e-2, weight_decay=0.0
    )
    train_rows(network, rows, range(24), [], how, classes=3, seed=0, out=tmp_path / "fit")
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name]) != p.requires_grad, name
    if model.vision:
        assert all(torch.equal(p, frozen_vision[n]) for n, p in model.vision.model.named_parameters())
    names = {name for name, p in network.named_parameters() if p.requires_grad}
    has_text = config.branches != "image"
    assert any(n.startswith("text.model") for n in names) == (has_text and config.text_tuning != "frozen")
    assert any("prompts.vectors" in n for n in names) == (
        config.branches != "text" and config.visual_prompts > 0
    )


def test_a_tensor_left_out_of_the_optimizer_is_an_error(tiny_bert: str, tiny_vit: str) -> None:
    model, rows = model_of(MODES[3], tiny_bert, tiny_vit)
    network = build_network(MODES[3], model.text, model.vision, model.readout, 3, 0)
    groups = optimizer_groups(network, Training())
    batch = rows.batch([0, 1, 2])
    statistics = {name: b.clone() for name, b in network.named_buffers()}
    check_every_tensor_learns(network, groups, batch)
    assert all(torch.equal(b, statistics[name]) for name, b in network.named_buffers())
    for group in groups:
        group["params"] = [p for p in group["params"] if p is not network.image.prompts.vectors]
    with pytest.raises(RuntimeError, match=r"not in the optimizer: \['image.prompts.vectors'\]"):
        check_every_tensor_learns(network, groups, batch)


def test_rates_and_decay_follow_the_names(tiny_bert: str, tiny_vit: str) -> None:
    model, _ = model_of(MODES[0], tiny_bert, tiny_vit)
    network = build_network(MODES[0], model.text, model.vision, model.readout, 3, 0)
    how = Training(encoder_rate=1.0, linear_rate=2.0, prompt_rate=3.0, weight_decay=0.5)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer_groups(network, how) for p in g["params"]}
    named = dict(network.named_parameters())
    assert rates[id(named["image.prompts.vectors"])] == (3.0, 0.0)
    assert rates[id(named["text_projection.linear.weight"])] == (2.0, 0.5)
    assert rates[id(named["text_projection.norm.weight"])] == (2.0, 0.0)
    assert rates[id(named["gate"])] == (2.0, 0.0)
    assert rates[id(named["text.model.embeddings.word_embeddings.weight"])] == (1.0, 0.5)


def test_the_gate_scales_the_picture_and_starts_small(tiny_bert: str, tiny_vit: str) -> None:
    config = TMPTConfig(text_tuning="frozen", width=4)
    model, rows = model_of(config, tiny_bert, tiny_vit)
    network = build_network(config, model.text, model.vision, model.readout, 3, 0).eval()
    assert network.gate is not None
    assert network.gate.item() == pytest.approx(0.1)
    batch = rows.batch([0, 1, 2, 3])
    batch.pop("labels")
    found = network(**batch)
    by_hand = torch.cat([found["z_text"], 0.1 * found["z_image"]], 1) @ network.classifier.weight.T
    assert torch.allclose(found["logits"], by_hand + network.classifier.bias, atol=1e-6)


def test_what_one_half_says_does_not_depend_on_the_other(
    tiny_bert: str, tiny_vit: str, tmp_path: Path
) -> None:
    config = TMPTConfig(text_tuning="frozen", width=8, gate="none")
    model, rows = model_of(config, tiny_bert, tiny_vit)
    network = build_network(config, model.text, model.vision, model.readout, 3, 0)
    train_rows(
        network, rows, range(24), [], Training(epochs=2, batch_size=8), classes=3, seed=0, out=tmp_path / "f"
    )
    shuffled = rows.with_images_of(np.random.default_rng(0).permutation(24))
    plain, mixed = (ask_rows(network, r, range(24)) for r in (rows, shuffled))
    assert np.allclose(plain.text_only, mixed.text_only, atol=1e-6)
    assert not np.allclose(plain.logits, mixed.logits, atol=1e-4)
    assert not np.allclose(plain.image_only, mixed.image_only, atol=1e-4)
    assert float(network.text_mean.abs().sum()) > 0


def test_padding_and_order_do_not_change_answers(tiny_bert: str, tiny_vit: str) -> None:
    config = TMPTConfig(text_tuning="full", width=8)
    model, rows = model_of(config, tiny_bert, tiny_vit)
    network = build_network(config, model.text, model.vision, model.readout, 3, 0).eval()
    order = list(np.random.default_rng(1).permutation(24))
    forward, shuffled = ask_rows(network, rows, range(24)), ask_rows(network, rows, order)
    assert np.allclose(forward.logits[order], shuffled.logits, atol=1e-5)
    short, padded = (rows.batch([0, 1, 2], pad_to=to) for to in (None, 60))
    assert padded["input_ids"].shape[1] == 60 > short["input_ids"].shape[1]
    with torch.no_grad():
        assert torch.allclose(network(**short)["logits"], network(**padded)["logits"], atol=1e-5)


def test_prompt_tuning_reads_the_mask_behind_its_soft_tokens(tiny_bert: str, tiny_vit: str) -> None:
    config = TMPTConfig(text_tuning="prompt", text_tokens=5, branches="text", visual_prompts=0, width=4)
    model, rows = model_of(config, tiny_bert, tiny_vit)
    assert model.readout == "mask", "this encoder learned to fill masks"
    network = build_network(config, model.text, model.vision, model.readout, 3, 0).eval()
    batch = rows.batch([0])
    soft = network.text.model.get_prompt(1)  # (1, 5, d)
    words = network.text.model.get_base_model().embeddings.word_embeddings(batch["input_ids"])
    states = network.text.model.get_base_model()(
        inputs_embeds=torch.cat([soft, words], dim=1)
    ).last_hidden_state
    expected = states[:, 5 + int(batch["mask_at"][0])]
    found = network.text(batch["input_ids"], batch["attention_mask"], batch["mask_at"])
    assert torch.allclose(found, expected, atol=1e-5)


def test_no_batch_has_one_row_and_every_row_comes_once_an_epoch() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 100, 1000)
    for count in (65, 129, 640, 641, 2):
        batches = epoch_batches(range(count), 64, rng, lengths)
        assert sorted(i for b in batches for i in b) == list(range(count))
        assert min(map(len, batches)) > 1
    by_length = epoch_batches(range(1000), 50, rng, lengths)
    spread = np.mean([np.ptp(lengths[b]) for b in by_length])
    assert spread < 10 < np.mean([np.ptp(lengths[b]) for b in epoch_batches(range(1000), 50, rng)])
    assert BatchPlan(range(65), 64, 3, seed=1).batches == BatchPlan(range(65), 64, 3, seed=1).batches


def test_equal_pictures_and_texts_are_encoded_once(tiny_bert: str, tiny_vit: str) -> None:
    _, rows = model_of(MODES[3], tiny_bert, tiny_vit)
    assert rows.image is not None
    assert rows.text is not None
    assert len(rows.image) == 12, "each poster is asked about twice"
    assert len(rows.text) == len({(e.text, e.target) for e in POSTS.examples})


def test_the_target_decides_between_two_rows_of_one_post(tiny_bert: str, tiny_vit: str) -> None:
    _, rows = model_of(MODES[3], tiny_bert, tiny_vit)
    batch = rows.batch([0, 1])
    assert torch.equal(batch["image"][0], batch["image"][1])
    assert not torch.equal(batch["text"][0], batch["text"][1])


def test_a_damaged_shard_is_computed_again_and_alone(tmp_path: Path) -> None:
    asked: list[str] = []
    count = 2 * SHARD + 3
    every = [f"{i:05d}" for i in range(count)]

    def rows_of(keys: list[str], what: int = 1) -> np.ndarray:
        def compute(chosen: Sequence[int]) -> np.ndarray:
            asked.extend(keys[i] for i in chosen)
            return np.array([[int(keys[i]), int(keys[i]) ** 2] for i in chosen], dtype=np.float32)

        return FeatureCache(tmp_path / "cache").rows({"what": what}, keys, compute).take(range(len(keys)))

    first = rows_of(every)
    assert asked == every
    assert first[:, 1].tolist() == [i * i for i in range(count)]
    asked.clear()
    backwards = rows_of(every[::-7])
    assert (backwards == first[::-7]).all()
    assert asked == [], "any part of what is known is read, in any order"
    more = rows_of(["99999", *every[:2]])
    assert more[:, 0].tolist() == [99999, 0, 1]
    assert asked == ["99999"], "only what is new is computed"
    asked.clear()
    for damage in ("flip", "delete"):
        damaged = max((tmp_path / "cache").glob("*/*.npy"), key=lambda path: (path.stat().st_size, path.name))
        if damage == "delete":
            damaged.unlink()
        else:
            content = bytearray(damaged.read_bytes())
            content[-1] ^= 1
            damaged.write_bytes(bytes(content))
        assert (rows_of(every) == first).all()
        assert len(asked) == SHARD
        asked.clear()
    rows_of(every[:3], what=2)
    assert asked == every[:3], "other settings are other features"
