"""Text in pictures: off by default, read once a picture, appended to what the encoder reads."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from etude.errors import EtudeError
from etude.methods.tmpt import ocr
from etude.methods.tmpt.feature_cache import FeatureCache
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.posts import StanceExample
from etude.methods.tmpt.settings import TMPTConfig


def sign(text: str) -> bytes:
    picture = Image.new("RGB", (500, 160), "white")
    ImageDraw.Draw(picture).text((20, 40), text, fill="black", font=ImageFont.load_default(42))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


POSTS = [
    StanceExample("1", "look", sign("STOP THE TRAM NOW"), "tram", "against"),
    StanceExample("2", "look", sign("STOP THE TRAM NOW"), "tram", "against"),
    StanceExample("3", "look", sign("RIDE"), "tram", "favor"),
]


def engine(seen: list[tuple[int, ...]]) -> Callable[[Any], tuple[list[tuple[Any, str, float]], None]]:
    """An engine that answers like RapidOCR: boxes, texts and confidences."""

    def read(pixels: np.ndarray) -> tuple[list[tuple[Any, str, float]], None]:
        seen.append(pixels.shape)
        return [(None, "stop the", 0.9), (None, "blur", 0.2), (None, "tram", 0.8)], None

    return read


def test_each_picture_is_read_once_and_only_what_is_sure_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(ocr, "_engine", lambda: engine(seen))
    found = ocr.read_pictures(POSTS, tmp_path)
    assert set(found.values()) == {"stop the tram"}
    assert seen == [(160, 500, 3)] * 2
    assert ocr.read_pictures(POSTS, tmp_path) == found
    assert len(seen) == 2


def test_the_text_of_the_picture_stands_before_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bert: str, tiny_cnn: str
) -> None:
    monkeypatch.setattr(ocr, "_engine", lambda: engine([]))
    tokens = {}
    for on in (False, True):
        config = TMPTConfig(text_tuning="full", width=4, ocr=on)
        model = TMPTModel.from_encoders(tiny_bert, tiny_cnn, config, cache=FeatureCache(tmp_path / "c"))
        model.labels = ("against", "favor")
        tokens[on] = model.rows(POSTS).prompted[0].ids
        tokenizer: Any = model.text.tokenizer
    extra = tokenizer("stop the tram", add_special_tokens=False)["input_ids"]
    start = len(tokenizer("look", add_special_tokens=False)["input_ids"]) + 1
    assert list(tokens[True]) == [*tokens[False][:start], *extra, *tokens[False][start:]]
    assert not TMPTConfig().ocr


def test_without_rapidocr_the_way_to_install_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    with pytest.raises(EtudeError, match="needs RapidOCR") as refused:
        ocr.read_pictures(POSTS, tmp_path)
    assert 'pip install "etude[ocr]"' in refused.value.hint


def test_rapidocr_reads_a_sign(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    found = ocr.read_pictures(POSTS[:1], tmp_path)
    assert "".join(found.values()).replace(" ", "").upper() == "STOPTHETRAMNOW"
