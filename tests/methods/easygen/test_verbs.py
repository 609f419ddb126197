"""Every verb on small files, as a user runs it: what it writes, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from etude.errors import EtudeError
from etude.methods.easygen import (
    FeatureStore,
    adapt,
    align,
    answer,
    caption,
    chat,
    draw,
    encode,
    evaluate,
    load_bidiffuser,
    load_bridge,
    train_bidiffuser,
    tune,
)

from .conftest import TINY, small_causal, small_t5


@pytest.fixture(scope="module")
def dialogs(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "id": f"d{n}",
            "image": f"{color}-square.png",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat color is it?"},
                {"from": "gpt", "value": color},
                {"from": "human", "value": "show it"},
                {"from": "gpt", "value": f"<Img>{color} circle</Img>"},
            ],
        }
        for n, color in enumerate(("red", "blue", "green"))
    ]
    rows.append(
        {"id": "text", "conversations": [{"from": "human", "value": "red"}, {"from": "gpt", "value": "blue"}]}
    )
    path = tmp_path_factory.mktemp("dialogs") / "dialogs.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="module")
def tuned(dialogs: Path, joined: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tuned"
    tune(str(dialogs), model=joined, images=pictures, out=out, steps=3, batch_size=2, lora=2)
    return out


def test_a_trained_model_is_a_folder_that_loads_again(bidiffuser: Path) -> None:
    assert {p.name for p in bidiffuser.iterdir()} >= {"unet", "scheduler", "text_codec", "model_index.json"}
    model = load_bidiffuser(bidiffuser)
    assert model.size == 16 and model.text.tokens == 2 and len(model.identity) == 16


def test_the_same_command_gives_the_same_weights(pictures: Path, bidiffuser: Path, tmp_path: Path) -> None:
    train_bidiffuser(str(pictures), out=tmp_path / "again", steps=6, **TINY)
    name = "unet/diffusion_pytorch_model.safetensors"
    one, other = load_file(bidiffuser / name), load_file(tmp_path / "again" / name)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("objective", ["joint", "i2t", "t2i"])
def test_training_goes_on_from_a_model_under_every_objective(
    pictures: Path, bidiffuser: Path, tmp_path: Path, objective: str
) -> None:
    result = train_bidiffuser(
        str(pictures), out=tmp_path / "m", init=str(bidiffuser), objective=objective, steps=2, batch_size=4
    )
    assert result.steps == 2 and load_bidiffuser(tmp_path / "m").text == load_bidiffuser(bidiffuser).text


def test_unidiffuser_is_specialized_and_diffusers_reads_the_result(
    peer_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    from diffusers.pipelines.deprecated.unidiffuser import UniDiffuserModel

    result = train_bidiffuser(str(pictures), out=tmp_path / "m", init=str(peer_folder), steps=2, batch_size=2)
    assert "UniDiffuser" in result.pretraining
    before, after = load_bidiffuser(peer_folder), load_bidiffuser(tmp_path / "m")
    moved = [
        float((a - b).detach().abs().max())
        for a, b in zip(before.network.parameters(), after.network.parameters(), strict=True)
    ]
    assert max(moved) > 0 and UniDiffuserModel.from_pretrained(tmp_path / "m" / "unet").config.text_dim == 16
    assert len(caption(str(pictures / "red-square.png"), str(tmp_path / "m")).captions) == 1


def test_a_network_on_the_latents_of_a_vae_is_trained_and_draws(
    peer_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    vae = tmp_path / "only-vae"
    shutil.copytree(peer_folder / "vae", vae / "vae")
    shape = {**TINY, "patch": 2, "image_size": 32}
    train_bidiffuser(str(pictures), out=tmp_path / "m", vae=vae, steps=2, **shape)
    model = load_bidiffuser(tmp_path / "m")
    assert model.network.config.image_channels == 4 and model.network.config.image_size == 8
    drawn = draw(("red square",), model=str(tmp_path / "m"), out=tmp_path / "drawn")
    with Image.open(drawn.files[0]) as image:
        assert image.size == (32, 32)


def test_unknown_words_in_captions_of_a_known_model_are_listed(bidiffuser: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a zebra")
    with pytest.raises(EtudeError, match="does not know these words: a, zebra"):
        train_bidiffuser(str(tmp_path), out=tmp_path / "m", init=str(bidiffuser), steps=1)


def test_features_have_an_index_with_captions_and_do_not_depend_on_the_batch(
    features: Path, bidiffuser: Path, pictures: Path, tmp_path: Path
) -> None:
    store = FeatureStore(features)
    assert len(store.ids) == 12 and store.captions["red-square.png"] == ("red square",)
    assert len(list(features.glob("features-*.safetensors"))) == 3
    encode(str(pictures / "red-square.png"), bidiffuser=str(bidiffuser), out=tmp_path / "one", steps=3)
    alone = FeatureStore(tmp_path / "one").read(["red-square.png"])
    assert torch.allclose(alone, store.read(["red-square.png"]), atol=1e-5)


def test_features_of_another_model_or_seed_are_refused(
    features: Path, bidiffuser: Path, pictures: Path, joined: Path, dialogs: Path, tmp_path: Path
) -> None:
    train_bidiffuser(str(pictures), out=tmp_path / "other", steps=2, **TINY)
    with pytest.raises(EtudeError, match=r"made otherwise .*bidiffuser"):
        align(str(features), bidiffuser=str(tmp_path / "other"), llm="none", out=tmp_path / "j")
    encode(str(pictures), bidiffuser=str(bidiffuser), out=tmp_path / "f2", steps=3, seed=9)
    with pytest.raises(EtudeError, match="seed: 9 there, 0 here"):
        tune(str(dialogs), model=joined, images=pictures, features=tmp_path / "f2", out=tmp_path / "t")


def test_unfinished_features_are_refused(features: Path, tmp_path: Path) -> None:
    shutil.copytree(features, tmp_path / "f")
    (tmp_path / "f" / "features.json").unlink()
    with pytest.raises(EtudeError, match="no complete features"):
        FeatureStore(tmp_path / "f")


def test_align_trains_the_projection_alone(joined: Path, llm: Path) -> None:
    found = load_bridge(joined)
    before = load_file(llm / "model.safetensors")
    after = found.lm.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    result = json.loads((joined / "run" / "result.json").read_text())
    widths = 8 * 32 + 32 + 32 * 32 + 32  # 8 to 4 x 8, then to the language model's 32
    assert result["trained"] == widths and set(result["pretraining"]) == {"BiDiffuser", "language model"}


def test_a_language_model_of_another_width_is_refused(joined: Path, tmp_path: Path) -> None:
    shutil.copytree(joined, tmp_path / "j")
    note = json.loads((tmp_path / "j" / "bridge.json").read_text())
    note["llm"] = str(small_causal(tmp_path / "wide", width=64))
    (tmp_path / "j" / "bridge.json").write_text(json.dumps(note))
    with pytest.raises(EtudeError, match=r"embeddings of 64 where .* was aligned with 32"):
        load_bridge(tmp_path / "j")


def test_a_changed_bidiffuser_is_noticed(
    joined: Path, bidiffuser: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(joined, tmp_path / "j")
    train_bidiffuser(str(pictures), out=tmp_path / "other", steps=2, **TINY)
    note = json.loads((tmp_path / "j" / "bridge.json").read_text())
    note["origin"]["name"] = str(tmp_path / "other")
    (tmp_path / "j" / "bridge.json").write_text(json.dumps(note))
    with pytest.raises(EtudeError, match="not the BiDiffuser that"):
        caption(str(pictures), str(tmp_path / "j"))


def test_a_model_without_a_chat_template_is_said_to_have_none(
    features: Path, llm: Path, tmp_path: Path
) -> None:
    from etude.render import console

    with console().capture() as said:
        align(str(features), llm=str(llm), out=tmp_path / "j", steps=1, batch_size=2)
    assert "has no chat template" in said.get()


def test_mid_align_joins_an_encoder_decoder_and_it_writes(
    pictures: Path, bidiffuser: Path, tmp_path: Path
) -> None:
    t5 = small_t5(tmp_path / "t5")
    result = align(
        str(pictures), bidiffuser=str(bidiffuser), llm=str(t5), mode="mid", out=tmp_path / "j", steps=2,
        batch_size=4, steps_of_diffusion=2,
    )  # fmt: skip
    assert result.examples == 12
    assert len(caption(str(pictures), str(tmp_path / "j"), max_tokens=3).captions) == 12
    with pytest.raises(EtudeError, match="cannot be loaded as a causal"):
        align(
            str(pictures), bidiffuser=str(bidiffuser), llm=str(t5), out=tmp_path / "k", steps_of_diffusion=2
        )


def test_tune_by_lora_leaves_projection_and_weights_alone(tuned: Path, joined: Path) -> None:
    result = json.loads((tuned / "run" / "result.json").read_text())
    assert result["trained"] == 2 * 2 * 2 * 2 * 32  # 2 layers, q and v, two factors of rank 2 x 32
    before, after = (load_file(p / "projection.safetensors") for p in (joined, tuned))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert hasattr(load_bridge(tuned).bridge.llm, "peft_config")


def test_tune_whole_writes_the_language_model(
    dialogs: Path, joined: Path, pictures: Path, tmp_path: Path
) -> None:
    result = tune(
        str(dialogs), model=joined, images=pictures, out=tmp_path / "t", steps=2, batch_size=2, lora=0
    )
    assert result.frozen == sum(p.numel() for p in load_bridge(joined).bridge.projection.parameters())
    assert (tmp_path / "t" / "llm" / "model.safetensors").exists()
    assert len(caption(str(pictures / "red-square.png"), str(tmp_path / "t"), max_tokens=2).captions) == 1


def test_answer_and_caption_say_something_and_an_empty_question_is_refused(
    tuned: Path, pictures: Path
) -> None:
    found = answer(pictures / "red-square.png", "What color is it?", tuned, max_tokens=3)
    assert found.question == "What color is it?" and isinstance(found.answer, str)
    with pytest.raises(EtudeError, match="question is empty"):
        answer(pictures / "red-square.png", "  ", tuned)


def test_draw_writes_a_png_that_says_how_it_was_made_and_is_kept(bidiffuser: Path, tmp_path: Path) -> None:
    first = draw(("red square", "blue circle"), model=str(bidiffuser), out=tmp_path, seed=4, scale=2)
    with Image.open(first.files[0]) as image:
        assert image.size == (32, 32)
        assert image.text["prompt"] == "red square" and image.text["seed"] == "4"  # type: ignore[attr-defined]
        assert image.text["model"] == first.model and image.text["steps"] == "12"  # type: ignore[attr-defined]
    stamp = Path(first.files[0]).stat().st_mtime_ns
    again = draw(("red square",), model=str(bidiffuser), out=tmp_path, seed=4, scale=2)
    assert again.files[0] == first.files[0] and Path(first.files[0]).stat().st_mtime_ns == stamp
    assert draw(("red square",), model=str(bidiffuser), out=tmp_path, seed=5).files[0] != first.files[0]


def test_draw_lists_words_it_does_not_know(bidiffuser: Path, tmp_path: Path) -> None:
    assert draw(("red zebra",), model=str(bidiffuser), out=tmp_path).unknown == ("zebra",)
    with pytest.raises(EtudeError, match="does not know these words: zebra"):
        draw(("zebra",), model=str(bidiffuser), out=tmp_path)
    with pytest.raises(EtudeError, match="an empty prompt"):
        draw(("",), model=str(bidiffuser), out=tmp_path)


def test_adapt_starts_as_the_text_alone_and_learns(joined: Path, pictures: Path, tmp_path: Path) -> None:
    from etude.methods.easygen.adapting import adapted_latents
    from etude.methods.easygen.knowledge_adapter import KnowledgeAdapter

    found = load_bridge(joined)
    fresh = KnowledgeAdapter(8, 32, 0.2)
    with torch.no_grad():
        mixed = adapted_latents(fresh, found, found.bidiffuser, ["red square", "blue circle"])
    plain = found.bidiffuser.text.encode(["red square", "blue circle"]).latents
    assert torch.allclose(mixed, 0.8 * plain, atol=1e-6)
    result = adapt(str(pictures), model=joined, out=tmp_path / "a", steps=3, batch_size=4, lora=2)
    after = load_bridge(tmp_path / "a")
    assert result.share == 0.2 and after.adapter is not None
    assert float(after.adapter.narrow.weight.abs().max()) > 0
    before, now = (
        load_bidiffuser(joined_bi).network.state_dict() for joined_bi in [found.note.origin.name] * 2
    )
    assert all(torch.equal(before[name], now[name]) for name in before)
    assert len(draw(("red square",), model=str(tmp_path / "a"), out=tmp_path / "drawn").files) == 1


def test_chat_draws_what_the_model_describes_and_writes_a_page(
    tuned: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etude.methods.easygen.bridge_folder import JoinedModel

    said = "Here: <Img>red square</Img> and <script>alert(1)</script> <Img>zebra</Img>"
    monkeypatch.setattr(JoinedModel, "write", lambda self, asked, features, max_tokens=0: [said])
    found = chat("show me", tuned, image=(pictures / "red-square.png",), out=tmp_path)
    kinds = [part["type"] for part in found.parts]
    assert kinds == ["text", "image", "text", "text"] and Path(found.parts[1]["path"]).exists()
    assert any("zebra" in note for note in found.notes)
    page = (tmp_path / "chat.html").read_text()
    assert "<script>alert" not in page and "never from pictures of the conversation" in page
    history = json.loads((tmp_path / "messages.json").read_text())
    assert [message["role"] for message in history] == ["user", "assistant"]
    history.append({"role": "user", "content": "again"})
    (tmp_path / "go-on.json").write_text(json.dumps(history))
    assert chat(str(tmp_path / "go-on.json"), tuned, out=tmp_path / "next").parts


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([{"role": "robot", "content": "x"}], "message 0: not a message"),
        ([{"role": "assistant", "content": "x"}], "the last message is not the user's"),
        ([{"role": "user", "content": [{"type": "sound"}]}], "neither text nor image"),
        ({"role": "user"}, "not a list of messages"),
    ],
)
def test_bad_conversations_are_refused(tuned: Path, tmp_path: Path, messages: object, problem: str) -> None:
    (tmp_path / "m.json").write_text(json.dumps(messages))
    with pytest.raises(EtudeError, match=problem):
        chat(str(tmp_path / "m.json"), tuned, out=tmp_path / "o")


def test_evaluate_every_task_on_small_files(
    bidiffuser: Path, tuned: Path, dialogs: Path, pictures: Path, tmp_path: Path
) -> None:
    drawn = evaluate(str(bidiffuser), str(pictures), task="draw", out=tmp_path / "d", steps=2)
    assert drawn.items == 12 and drawn.scores["Frechet distance of 8 x 8 pixels (not FID)"] > 0
    written = evaluate(str(bidiffuser), str(pictures), task="caption", out=tmp_path / "c")
    assert set(written.scores) >= {"CIDEr-D x 100", "BLEU-4", "exact", "word_accuracy"}
    rows = [
        {"question_id": 1, "image": "red-square.png", "question": "What color is it?", "answers": ["red"]}
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = evaluate(
        str(tuned), str(tmp_path / "q.jsonl"), task="vqa", images=pictures, out=tmp_path / "v", max_tokens=2
    )
    assert asked.scores["VQA accuracy"] in (0.0, 1.0)
    talked = evaluate(
        str(tuned), str(dialogs), task="dialog", images=pictures, out=tmp_path / "t", max_tokens=4
    )
    assert talked.items == 4 and 0 <= talked.scores["picture shown when wanted"] <= 1
    with pytest.raises(EtudeError, match="without a language model"):
        evaluate(str(bidiffuser), str(tmp_path / "q.jsonl"), task="vqa", out=tmp_path / "x")
