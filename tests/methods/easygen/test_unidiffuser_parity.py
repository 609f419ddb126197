"""Our U-ViT, decoder and encode against diffusers' UniDiffuser on a tiny random configuration."""

from pathlib import Path

import pytest
import torch

from etude.errors import EtudeError
from etude.methods.easygen.bidiffuser import load_bidiffuser
from etude.methods.easygen.clip_codec import CaptionDecoder
from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.sampling import sample_text
from etude.methods.easygen.unidiffuser_weights import load_unet, save_unet


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize("data_type", [True, False])
def test_all_three_estimates_equal_diffusers_network(peer_network, tmp_path: Path, data_type: bool) -> None:
    peer = peer_network(data_type)
    peer.save_pretrained(tmp_path / "unet")
    ours = load_unet(tmp_path / "unet")
    torch.manual_seed(1)
    image, clip, text = torch.randn(3, 4, 8, 8), torch.randn(3, 1, 32), torch.randn(3, 77, 16)
    t_image, t_text = torch.tensor([0, 13, 1000]), torch.tensor([999, 0, 7])
    with torch.no_grad():
        theirs = peer(image, clip, text, timestep_img=t_image, timestep_text=t_text)
        found = ours(image, clip, text, t_image, t_text)
        only_text = ours(image, clip, text, t_image, t_text, wanted="text")
        only_image = ours(image, clip, text, t_image, t_text, wanted="image")
    for mine, other in zip(found, theirs, strict=True):
        assert difference(mine, other) < 1e-4
    assert difference(only_text.text, theirs[2]) < 1e-4 and only_text.image is None
    assert difference(only_image.image, theirs[0]) < 1e-4 and difference(only_image.clip, theirs[1]) < 1e-4


def test_our_weights_load_into_diffusers_and_say_the_same(peer_network, tmp_path: Path) -> None:
    from diffusers.pipelines.deprecated.unidiffuser import UniDiffuserModel

    peer_network(True).save_pretrained(tmp_path / "theirs")
    ours = load_unet(tmp_path / "theirs")
    with torch.no_grad():
        for value in ours.parameters():
            value.add_(torch.randn_like(value) * 0.01)
    save_unet(ours, tmp_path / "ours")
    back = UniDiffuserModel.from_pretrained(tmp_path / "ours").eval()
    image, clip, text = torch.randn(2, 4, 8, 8), torch.randn(2, 1, 32), torch.randn(2, 77, 16)
    t = torch.tensor([5, 900])
    with torch.no_grad():
        theirs = back(image, clip, text, timestep_img=t, timestep_text=t.flip(0))
        for mine, other in zip(ours(image, clip, text, t, t.flip(0)), theirs, strict=True):
            assert difference(mine, other) < 1e-4


def test_weights_survive_a_round_trip_bit_for_bit(peer_network, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    peer_network(True).save_pretrained(tmp_path / "theirs")
    save_unet(load_unet(tmp_path / "theirs"), tmp_path / "ours")
    name = "diffusion_pytorch_model.safetensors"
    theirs, ours = load_file(tmp_path / "theirs" / name), load_file(tmp_path / "ours" / name)
    assert {n for n in theirs if not n.startswith("transformer.pos_embed")} == set(ours)
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_image_to_text_equals_the_pipeline(peer_pipeline, peer_folder: Path) -> None:
    """The whole of image-to-text: VAE, CLIP, noise, ten solver steps; the pipeline's latents are caught."""
    from PIL import Image

    from etude.methods.easygen.pictures import pixel_tensor

    ours = load_bidiffuser(peer_folder)
    torch.manual_seed(3)
    image = Image.fromarray((torch.rand(32, 32, 3) * 255).byte().numpy())
    start = torch.randn(1, 77, 32)
    caught = []
    peer_pipeline.decode_text_latents = lambda latents, device: caught.append(latents) or [""]
    peer_pipeline(
        image=image, prompt_latents=start, num_inference_steps=10, guidance_scale=1.0,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    posterior = torch.randn(1, *(4, 8, 8), generator=torch.Generator().manual_seed(5))
    grid, clip = ours.pictures.encode(pixel_tensor(image, 32)[None], posterior)
    noise = ours.text.decoder.encode_prefix(start)
    as_pipeline = NoiseSchedule(first_index=0, order=ours.schedule.order)
    read = sample_text(ours.network, as_pipeline, grid, clip, noise, steps=10)
    assert difference(read, caught[0]) < 1e-4


def test_text_to_image_equals_the_pipeline(peer_pipeline, peer_folder: Path) -> None:
    from etude.methods.easygen.objectives import Latents
    from etude.methods.easygen.sampling import sample_image

    ours = load_bidiffuser(peer_folder)
    torch.manual_seed(4)
    grid, clip = torch.randn(1, 4, 8, 8), torch.randn(1, 1, 32)
    peer_pipeline.set_text_to_image_mode()
    theirs = peer_pipeline(
        prompt="a hand", vae_latents=grid, clip_latents=clip, num_inference_steps=10, guidance_scale=1.0,
        output_type="latent",
    ).images  # fmt: skip
    peer_pipeline.reset_mode()
    text = ours.text.encode(["a hand"]).latents
    as_pipeline = NoiseSchedule(first_index=0, order=ours.schedule.order)
    drawn = sample_image(ours.network, as_pipeline, text, Latents(grid, clip, text), steps=10)
    assert difference(drawn, theirs) < 1e-4


def test_the_caption_decoder_writes_what_diffusers_decoder_writes(peer_pipeline, peer_folder: Path) -> None:
    ours = CaptionDecoder.load(peer_folder / "text_decoder")
    torch.manual_seed(6)
    latents = torch.randn(2, 77, 16)
    end = peer_pipeline.text_tokenizer.eos_token_id
    theirs = []
    for row in latents:
        prefix = peer_pipeline.text_decoder.decode_prefix(row[None])
        tokens, lengths = peer_pipeline.text_decoder.generate_beam(
            input_embeds=prefix, device="cpu", eos_token_id=end, beam_size=1
        )
        theirs.append([t for t in tokens[0][: int(lengths[0])].tolist() if t != end])
    assert ours.write(latents, end=end, beams=1) == theirs


def test_another_architecture_is_refused_by_name(peer_network, tmp_path: Path) -> None:
    import json

    peer_network(True).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "activation_fn": "geglu"}))
    with pytest.raises(EtudeError, match="activation_fn is 'geglu'"):
        load_unet(tmp_path)


def test_pickled_weights_are_not_read(peer_network, tmp_path: Path) -> None:
    peer_network(True).save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(EtudeError, match=r"no diffusion_pytorch_model\.safetensors"):
        load_unet(tmp_path)
