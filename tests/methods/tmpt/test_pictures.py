"""Pictures as people post them: odd formats are converted, broken ones refused, doubtful ones flagged."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from etude.errors import EtudeError
from etude.methods.tmpt.pictures import (
    PictureFacts,
    open_picture,
    picture_facts,
    picture_notices,
    pixel_square,
)


def as_bytes(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def test_cmyk_gray_and_palette_become_rgb() -> None:
    for picture, kind in (
        (Image.new("CMYK", (80, 60), (0, 255, 255, 0)), "JPEG"),
        (Image.new("RGB", (80, 60), (255, 0, 0)).convert("P"), "PNG"),
        (Image.new("RGB", (80, 60), (255, 0, 0)), "PNG"),
    ):
        opened, facts = open_picture(as_bytes(picture, kind), "row")
        red, green, blue = np.asarray(opened).reshape(-1, 3).mean(0)
        assert red > 200 > 60 > max(green, blue)
        assert facts.converted == (picture.mode != "RGB")


def test_sixteen_bits_keep_their_shades() -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(1, 256).repeat(64, 0)
    opened, facts = open_picture(as_bytes(Image.fromarray(ramp)), "row")
    shades = np.asarray(opened)[0, :, 0].astype(int)
    assert facts.converted
    assert np.abs(shades - np.arange(256)).max() <= 1


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (70, 70), (0, 0, 0, 0))
    opened, _ = open_picture(as_bytes(clear), "row")
    assert np.asarray(opened).min() == 255
    palette = clear.quantize(4)
    opened, _ = open_picture(as_bytes(palette, "PNG"), "row")
    assert np.asarray(opened).min() >= 250


def test_an_animation_gives_its_first_frame_and_is_counted() -> None:
    frames = [Image.new("RGB", (500, 300), color) for color in ("red", "blue")]
    moving = as_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    opened, facts = open_picture(moving, "row")
    assert np.asarray(opened)[0, 0, 0] > 200
    assert facts.animated
    assert picture_notices({"17": facts}) == [
        "1 of 1 pictures are animated: the first frame was used, e.g. of post '17'",
        "1 of 1 pictures are not RGB (CMYK, palette, alpha, gray or 16 bits): converted, e.g. of post '17'",
    ]


def test_a_corrupt_and_a_cut_off_picture_are_refused_by_row() -> None:
    whole = as_bytes(Image.effect_noise((200, 200), 90).convert("RGB"), "JPEG")
    for broken in (whole[: len(whole) // 2], b"not a picture", b""):
        with pytest.raises(EtudeError, match=r"posts.csv:7: image: cannot be read"):
            open_picture(broken, "posts.csv:7")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = as_bytes(Image.new("L", (400, 400)))
    for limit in (1_000, 100_000):  # Pillow's error and Pillow's warning
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(EtudeError, match=f"more than {limit:,} pixels"):
            open_picture(bomb, "row 3")


def test_tiny_and_avatar_like_pictures_are_flagged_by_their_header_alone() -> None:
    assert picture_facts(as_bytes(Image.new("RGB", (400, 400))), "r").avatar
    assert picture_facts(as_bytes(Image.new("RGB", (20, 300))), "r").tiny
    assert picture_facts(as_bytes(Image.new("RGB", (1200, 1200))), "r") == PictureFacts(
        False, False, False, False
    )
    assert not picture_facts(as_bytes(Image.new("RGB", (400, 300))), "r").avatar


def test_a_large_jpeg_is_decoded_small_and_looks_the_same() -> None:
    gradient = np.linspace(0, 255, 1600, dtype=np.uint8)
    picture = Image.fromarray(np.stack([np.tile(gradient, (1200, 1))] * 3, axis=-1))
    content = as_bytes(picture, "JPEG", quality=95)
    small, _ = open_picture(content, "r", wanted=128)
    assert small.width < 400
    square = pixel_square(content, "r", 64)
    assert square.shape == (3, 64, 64)
    expected = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(square.astype(int) - expected.astype(int)).mean() < 3


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (100, 50), "black")
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg", "r")[0].size == (50, 100)
