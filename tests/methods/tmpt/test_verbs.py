"""The verbs on a user's own table: train, predict, evaluate, save and load, resume after a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from etude.errors import EtudeError
from etude.methods.tmpt import evaluate, predict, train
from etude.methods.tmpt.arms import arm_config, parse_baselines
from etude.methods.tmpt.clip_head import clip_rows
from etude.methods.tmpt.feature_cache import FeatureCache
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.posters import MARKET, TRAM, made_up_posts
from etude.methods.tmpt.prediction import combine_rows
from etude.methods.tmpt.settings import TMPTConfig, Training
from etude.methods.tmpt.training import folder_name
from etude.models import load_vision

Table = Callable[..., Path]
SMALL = {"text_tuning": "frozen", "width": 8, "batch_size": 16, "epochs": 3}


def test_train_compares_writes_and_is_there_at_once_when_asked_again(
    user_table: Table, tmp_path: Path, tiny_bert: str, tiny_cnn: str
) -> None:
    table = user_table(40)
    options = {
        **SMALL,
        "text_model": tiny_bert,
        "vision_model": tiny_cnn,
        "seeds": "1,2",
        "setting": "pooled",
    }
    result = train(table, out=tmp_path / "run", images=tmp_path / "pictures", **options)
    assert list(result.tasks) == ["pooled"]
    task = result.tasks["pooled"]
    assert list(task["arms"]) == ["tmpt", "majority", "text", "image", "concat"]
    for name, arm in task["arms"].items():
        assert len(arm["macro_f1"]["by_seed"]) == (1 if name == "majority" else 2)
        assert (arm["trainable_params"] > 0) == (name != "majority")
    assert task["arms"]["tmpt"]["gate"] is not None
    stored = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert stored["tasks"]["pooled"]["arms"]["text"] == json.loads(json.dumps(task["arms"]["text"]))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "concat" in page and "neutral" in page
    differing = pl.read_csv(tmp_path / "run" / "predictions" / "pooled.csv").filter("modalities_differ")
    assert f"different stances in {len(differing)} test posts" in page
    assert all(str(name) in page for name in differing["id"].to_list()[:20])
    predictions = pl.read_csv(tmp_path / "run" / "predictions" / "pooled.csv")
    assert {"true_label", "text_only_label", "image_only_label"} <= set(predictions.columns)
    assert not (tmp_path / "run" / "fit").exists()
    again = train(table, out=tmp_path / "run", images=tmp_path / "pictures", **options)
    assert again == result
    with pytest.raises(EtudeError, match="another configuration"):
        train(table, out=tmp_path / "run", images=tmp_path / "pictures", **{**options, "epochs": 4})
    scored = evaluate(tmp_path / "run", table, images=tmp_path / "pictures", out=tmp_path / "m.json")
    assert set(scored.scores) == {"both", "text alone", "picture alone"}
    assert scored.scores["both"].rows == 80
    shown = predict(tmp_path / "run", table, images=tmp_path / "pictures", out=tmp_path / "p.parquet")
    assert len(shown.rows) == 80
    frame = pl.read_parquet(tmp_path / "p.parquet")
    shares = frame.select(pl.sum_horizontal("p_against", "p_favor", "p_neutral").round(6).alias("s"))["s"]
    assert shares.to_list() == [1.0] * 80


def test_a_pooled_model_learns_whom_the_post_is_about(
    user_table: Table, tmp_path: Path, tiny_cnn: str
) -> None:
    table = user_table(40)
    train(
        table, out=tmp_path / "run", images=tmp_path / "pictures", vision_model=tiny_cnn, setting="pooled",
        branches="text", visual_prompts=0, baselines="none", text_tuning="frozen", width=64, epochs=25,
    )  # fmt: skip
    new = tmp_path / "new.csv"
    new.write_text(
        "id,text,image,target\n"
        f'1,"Stop the tram, nobody needs it.",000.png,{TRAM}\n'
        f'2,"Stop the tram, nobody needs it.",000.png,{MARKET}\n'
    )
    rows = predict(tmp_path / "run", new, images=tmp_path / "pictures").rows
    assert [row["label"] for row in rows] == ["against", "neutral"]


def test_zero_shot_predicts_for_a_target_never_seen(
    user_table: Table, tmp_path: Path, tiny_bert: str, tiny_vit: str
) -> None:
    result = train(
        user_table(30), out=tmp_path / "run", images=tmp_path / "pictures", text_model=tiny_bert,
        vision_model=tiny_vit, setting="zero-shot", hold_out=MARKET, baselines="majority",
        **{**SMALL, "visual_prompt_depth": "deep"},
    )  # fmt: skip
    task = result.tasks[f"zero-shot {MARKET}"]
    assert task["rows"]["test"] == 30
    config = json.loads((tmp_path / "run" / task["model"] / "config.json").read_text())
    assert [t["name"] for t in config["targets"]] == [TRAM, MARKET]
    assert config["training"]["epochs"] == 3


@pytest.mark.parametrize("tuning", ["full", "prompt", "lora", "frozen"])
def test_a_saved_model_says_the_same_after_loading(
    tuning: str, tmp_path: Path, tiny_bert: str, tiny_vit: str
) -> None:
    posts = made_up_posts(10)
    config = TMPTConfig(text_tuning=tuning, width=8, text_tokens=3)  # type: ignore[arg-type]
    model = TMPTModel.from_encoders(tiny_bert, tiny_vit, config, targets=dict(posts.targets))
    how = Training(epochs=2, batch_size=8, encoder_rate=1e-3)
    model.fit(posts.examples[:14], posts.examples[14:], out=tmp_path / "fit", how=how)
    model.save(tmp_path / "model")
    before = model.predict(posts.examples)
    loaded = TMPTModel.load(tmp_path / "model")
    assert loaded.predict(posts.examples).equals(before)
    names = set(load_file(tmp_path / "model" / "model.safetensors"))
    assert any(n.startswith("text.model") for n in names) == (tuning != "frozen")
    assert not any(n.startswith("image.vit") for n in names), "frozen encoders are named, not copied"
    stored = json.loads((tmp_path / "model" / "config.json").read_text())
    stored["vision_model"]["revision"] = "other"
    (tmp_path / "model" / "config.json").write_text(json.dumps(stored))
    with pytest.raises(EtudeError, match="has revision"):
        TMPTModel.load(tmp_path / "model")
    with pytest.raises(EtudeError, match="not a trained tmpt model"):
        TMPTModel.load(tmp_path)


def test_baselines_read_less_of_the_same() -> None:
    config = TMPTConfig(visual_prompt_target=True, visual_prompt_depth="deep", width=12)
    assert arm_config("tmpt", config) == config
    assert arm_config("text", config).branches == "text"
    concat = arm_config("concat", config)
    assert (concat.visual_prompts, concat.gate, concat.width) == (0, "none", 12)
    assert parse_baselines("all", None) == ("majority", "text", "image", "concat")
    assert parse_baselines("all", "m")[-1] == "clip"
    with pytest.raises(EtudeError, match="no baseline"):
        parse_baselines("text,bert", None)
    with pytest.raises(EtudeError, match="needs --clip-model"):
        parse_baselines("clip", None)


def test_the_clip_baseline_reads_clips_own_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"abcdefghijklmnopqrstuvwxyz.",
        *(c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz.,"),
    ]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    common = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **common,
        "vocab_size": len(words),
        "max_position_embeddings": 20,
        "eos_token_id": 1,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    vision = {**common, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    clip = load_vision(str(folder), device="cpu")
    posts = made_up_posts(6)
    rows = clip_rows(posts.examples, clip, posts.labels(), FeatureCache(tmp_path / "cache"))
    batch = rows.batch([0, 5])
    assert batch["text"].shape == batch["image"].shape == (2, 12)
    assert torch.allclose(batch["text"].norm(dim=1), torch.ones(2), atol=1e-5)
    with torch.no_grad():
        ids = tokenizer(posts.examples[0].text, truncation=True, max_length=20, return_tensors="pt")
        expected = clip.model.get_text_features(**ids)
        expected = expected if isinstance(expected, torch.Tensor) else expected.pooler_output
    assert torch.allclose(batch["text"][0], torch.nn.functional.normalize(expected, dim=-1)[0], atol=1e-5)
    with pytest.raises(EtudeError, match="is not a CLIP"):
        clip_rows(posts.examples, replace(clip, kind="vit"), posts.labels(), FeatureCache(tmp_path / "cache"))


def test_rows_of_one_post_can_be_answered_as_one() -> None:
    frame = pl.DataFrame(
        {
            "post": ["a", "a", "b"],
            "target": ["t"] * 3,
            "p_favor": [0.9, 0.3, 0.2],
            "p_against": [0.1, 0.7, 0.8],
        }
    )
    mean = combine_rows(frame, "mean")
    assert mean["label"].to_list() == ["favor", "against"]
    assert np.allclose(mean["p_favor"], [0.6, 0.2])
    largest = combine_rows(frame, "max")
    assert np.allclose(largest["p_favor"], [0.9 / 1.6, 0.2])
    assert largest["rows"].to_list() == [2, 1]


def test_a_model_for_each_target_refuses_another_target(
    user_table: Table, tmp_path: Path, tiny_bert: str, tiny_cnn: str
) -> None:
    train(
        user_table(40), out=tmp_path / "run", images=tmp_path / "pictures", text_model=tiny_bert,
        vision_model=tiny_cnn, baselines="none", **SMALL,
    )  # fmt: skip
    assert [path.stem for path in sorted((tmp_path / "run" / "predictions").iterdir())] == [
        folder_name(TRAM),
        folder_name(MARKET),
    ]
    new = tmp_path / "new.csv"
    new.write_text("id,text,image,target\n1,hello,000.png,a bridge\n")
    with pytest.raises(EtudeError, match="none for 'a bridge'"):
        predict(tmp_path / "run", new, images=tmp_path / "pictures")
    with pytest.raises(EtudeError, match="neither a model folder"):
        predict(tmp_path / "pictures", new)


SCRIPT = """
import sys
from pathlib import Path
from etude.methods.tmpt import feature_cache
feature_cache.cache_root = lambda: Path({cache!r})
import etude.training.fitting as fitting
if sys.argv[2] == "slow":
    import time
    whole = fitting._Trainer.training_step
    def slow(self, *args, **kwargs):
        time.sleep(0.05)
        return whole(self, *args, **kwargs)
    fitting._Trainer.training_step = slow
from etude.methods.tmpt import train
train({table!r}, out=sys.argv[1], images={images!r}, text_model={bert!r}, vision_model={vit!r},
      setting="pooled", baselines="text", text_tuning="lora", width=8, epochs=6, batch_size=16,
      prompt_dropout=0.2, modality_dropout=0.1)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_bits(
    user_table: Table, tmp_path: Path, tiny_bert: str, tiny_vit: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(SCRIPT).format(
            cache=str(tmp_path / "cache"), table=str(user_table(30)), images=str(tmp_path / "pictures"),
            bert=tiny_bert, vit=tiny_vit,
        )
    )  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    subprocess.run(
        [*command, str(tmp_path / "whole"), "fast"], check=True, env=environment, capture_output=True
    )
    killed = subprocess.Popen(
        [*command, str(tmp_path / "killed"), "slow"], env=environment, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("fit/*/*/checkpoint-*/complete")):
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "result.json").exists()
    subprocess.run(
        [*command, str(tmp_path / "killed"), "fast"], check=True, env=environment, capture_output=True
    )
    one, other = (
        load_file(next((tmp_path / name).glob("models/*/*/model.safetensors")))
        for name in ("whole", "killed")
    )
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "whole" / "predictions" / "pooled.csv").read_bytes() == (
        tmp_path / "killed" / "predictions" / "pooled.csv"
    ).read_bytes()
