"""Pictures, pairs, words and dialogs as people have them, with what can be wrong."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from etude.errors import EtudeError
from etude.methods.easygen.conversations import read_dialogs, read_questions
from etude.methods.easygen.dialog import parse_reply
from etude.methods.easygen.encoding import pictures_of
from etude.methods.easygen.pairs import pairs_hash, read_pairs
from etude.methods.easygen.pictures import Picture, open_picture, pixel_tensor, to_image
from etude.methods.easygen.word_codec import WordCodec, words_of


def red(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB", **save: Any) -> Path:
    color: Any = {"RGB": (255, 0, 0), "RGBA": (255, 0, 0, 0), "CMYK": (0, 255, 255, 0)}[mode]
    Image.new(mode, size, color).save(path, **save)
    return path


def test_transparent_parts_become_white_and_it_says_so(tmp_path: Path) -> None:
    image, done = open_picture(Picture(red(tmp_path / "a.png", mode="RGBA")))
    assert image.getpixel((0, 0)) == (255, 255, 255) and "on white" in done


def test_cmyk_is_converted_and_it_says_so(tmp_path: Path) -> None:
    image, done = open_picture(Picture(red(tmp_path / "a.jpg", mode="CMYK")))
    assert image.mode == "RGB" and "CMYK" in done


def test_of_an_animation_the_first_frame_is_taken_and_it_says_so(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    image, done = open_picture(Picture(tmp_path / "a.gif"))
    assert image.getpixel((0, 0)) == (255, 0, 0) and "first frame" in done


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n cut off"])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(EtudeError, match=r"bad\.png: not a readable picture"):
        open_picture(Picture(tmp_path / "bad.png"))


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match=r"none\.png: no such file"):
        open_picture(Picture(tmp_path / "none.png"))


def test_pixels_survive_the_way_to_a_tensor_and_back() -> None:
    image = Image.effect_noise((16, 16), 80).convert("RGB")
    assert to_image(pixel_tensor(image, 16)).tobytes() == image.tobytes()


def test_a_table_a_folder_and_an_archive_give_the_same_pairs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        red(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"caption {name}\n")
    rows = [{"id": n, "image": f"{n}.png", "caption": f"caption {n}"} for n in "ab"]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        for name in ("a.png", "a.txt", "b.png", "b.txt"):
            archive.add(tmp_path / name, arcname=name)
    for source in (tmp_path / "t.jsonl", tmp_path, tmp_path / "w.tar"):
        found = read_pairs(source)
        assert [pair.captions for pair in found] == [("caption a",), ("caption b",)], source
        assert open_picture(found[0].picture)[0].getpixel((0, 0)) == (255, 0, 0)


def test_a_web_archive_takes_captions_from_json_and_names_what_is_not_json(tmp_path: Path) -> None:
    red(tmp_path / "a.png")
    for content in ('{"caption": "a hand"}', "{cut off"):
        (tmp_path / "a.json").write_text(content)
        with tarfile.open(tmp_path / "w.tar", "w") as archive:
            for name in ("a.json", "a.png"):
                archive.add(tmp_path / name, arcname=name)
        if content.endswith("}"):
            assert read_pairs(tmp_path / "w.tar")[0].captions == ("a hand",)
        else:
            with pytest.raises(EtudeError, match=r"a\.json is not JSON"):
                read_pairs(tmp_path / "w.tar")


def test_a_metadata_table_in_a_folder_is_read(tmp_path: Path) -> None:
    red(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "a hand"}))
    assert read_pairs(tmp_path)[0].captions == ("a hand",)


def test_cells_of_a_sheet_are_cut_where_row_and_column_say(tmp_path: Path) -> None:
    sheet = Image.new("RGB", (16, 8), "white")
    sheet.paste((0, 0, 255), (8, 0, 16, 8))
    sheet.save(tmp_path / "s.png")
    (tmp_path / "s.csv").write_text("row,col,caption,split\n0,0,nothing,train\n0,1,blue,test\n")
    pair = read_pairs(tmp_path / "s.csv", split="test")[0]
    assert open_picture(pair.picture)[0].getpixel((3, 3)) == (0, 0, 255) and pair.id == "0-1"


def test_coco_and_karpathy_files_are_read(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [{"image_id": 1, "caption": "one"}, {"image_id": 1, "caption": "two"}],
    }
    karpathy = {
        "images": [
            {
                "cocoid": 7,
                "filepath": "v",
                "filename": "a.png",
                "split": "restval",
                "sentences": [{"raw": "x "}],
            },
            {"cocoid": 8, "filepath": "v", "filename": "b.png", "split": "test", "sentences": [{"raw": "y"}]},
        ]
    }
    (tmp_path / "c.json").write_text(json.dumps(coco))
    (tmp_path / "k.json").write_text(json.dumps(karpathy))
    assert [p.captions for p in read_pairs(tmp_path / "c.json")] == [("one", "two")]
    train = read_pairs(tmp_path / "k.json", split="train")
    assert [(p.id, p.captions) for p in train] == [("7", ("x",))]
    assert train[0].picture.path == tmp_path / "v" / "a.png"


def test_an_empty_caption_and_a_double_id_are_named(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(json.dumps({"id": "q", "image": "a.png", "caption": " "}))
    with pytest.raises(EtudeError, match="1 captions are empty: q"):
        read_pairs(tmp_path / "e.jsonl")
    row = json.dumps({"id": "q", "image": "a.png", "caption": "x"})
    (tmp_path / "d.jsonl").write_text(f"{row}\n{row}\n")
    with pytest.raises(EtudeError, match="ids occur twice: q"):
        read_pairs(tmp_path / "d.jsonl")


def test_the_hash_of_pairs_follows_their_pictures(tmp_path: Path) -> None:
    row = json.dumps({"id": "q", "image": "a.png", "caption": "x"})
    (tmp_path / "d.jsonl").write_text(row)
    red(tmp_path / "a.png")
    before = pairs_hash(read_pairs(tmp_path / "d.jsonl"))
    Image.new("RGB", (8, 8), "green").save(tmp_path / "a.png")
    assert pairs_hash(read_pairs(tmp_path / "d.jsonl")) != before


def test_a_folder_of_pictures_alone_can_be_captioned(tmp_path: Path) -> None:
    red(tmp_path / "a.png")
    assert [pair.captions for pair in pictures_of(tmp_path)] == [()]


def test_words_outside_the_vocabulary_are_listed_and_long_captions_counted() -> None:
    codec = WordCodec.of(["waving hand", "hand"], slots=2)
    encoded = codec.encode(["waving purple hand", "hand hand hand", "dragon"])
    assert encoded.unknown == ("purple", "dragon") and encoded.truncated == 1


@given(
    st.lists(
        st.sampled_from(["waving", "hand,", "medium-light", "skin", "tone", "dog's", "7"]),
        min_size=1,
        max_size=6,
    )
)
def test_known_captions_survive_coding(words: list[str]) -> None:
    caption = " ".join(words)
    codec = WordCodec.of([caption, "waving hand medium-light skin tone dog's 7"], slots=6)
    assert codec.decode(codec.encode([caption]).latents) == [" ".join(words_of(caption))]


def test_a_noisy_latent_is_read_as_the_nearest_word() -> None:
    codec = WordCodec.of(["a b c d e f g h"])
    latents = codec.encode(["a c e"]).latents
    torch.manual_seed(0)
    assert codec.decode(latents + 0.3 * torch.randn_like(latents)) == ["a c e"]


@pytest.mark.parametrize(
    ("text", "parts", "note"),
    [
        ("Look: <Img>a hand</Img> nice", ["Look:", "*a hand", "nice"], ""),
        ("<img> a  hand </IMG>", ["*a hand"], ""),
        ("<Img>a hand", ["a hand"], "without </Img>"),
        ("a</Img>b", ["a b"], "</Img> without <Img>"),
        ("<Img>a <Img>b</Img>", ["a", "*b"], "<Img> inside <Img>"),
        ("x <Img> </Img> y", ["x y"], "empty description"),
        ("<Img>1</Img><Img>2</Img><Img>3</Img>", ["*1", "*2", "3"], "more than 2 pictures"),
        ("", [], ""),
    ],
)
def test_a_reply_is_split_and_what_is_wrong_is_kept_as_text(text: str, parts: list[str], note: str) -> None:
    reply = parse_reply(text, limit=2)
    assert [p["text"] if p["type"] == "text" else "*" + p["prompt"] for p in reply.parts] == parts
    assert note in " ".join(reply.notes) and bool(reply.notes) == bool(note)


@given(st.text(alphabet="ab<>/Img ", max_size=40))
def test_no_reply_breaks_the_parser_or_loses_words(text: str) -> None:
    reply = parse_reply(text)
    kept = " ".join(part.get("text", part.get("prompt", "")) for part in reply.parts)
    assert all(part["type"] in ("text", "image") for part in reply.parts)
    assert kept.count("a") == text.count("a") and kept.count("b") == text.count("b")


def test_llava_dialogs_are_read_with_the_picture_before_the_first_question(tmp_path: Path) -> None:
    row = {
        "id": 1,
        "image": "a.png",
        "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A hand."}],
    }
    for name, content in (("d.json", json.dumps([row])), ("d.jsonl", json.dumps(row))):
        (tmp_path / name).write_text(content)
        dialog = read_dialogs(tmp_path / name)[0]
        assert [turn.role for turn in dialog.turns] == ["user", "assistant"]
        assert dialog.turns[0].text.endswith("</Img> What?") and dialog.picture is not None
        assert dialog.picture.path == tmp_path / "a.png"


@pytest.mark.parametrize(
    ("conversation", "problem"),
    [
        ([{"from": "robot", "value": "x"}], "unknown speaker 'robot'"),
        ([{"from": "human", "value": "x"}], "no answer"),
        ([{"from": "gpt", "value": "x"}], "a picture but no question"),
        ([], "at least 1 item"),
    ],
)
def test_bad_dialogs_are_named(tmp_path: Path, conversation: list[Any], problem: str) -> None:
    row = {"id": "d1", "image": "a.png", "conversations": conversation}
    for name, content in (("d.json", json.dumps([row])), ("d.jsonl", json.dumps(row))):
        (tmp_path / name).write_text(content)
        with pytest.raises(EtudeError, match=problem):
            read_dialogs(tmp_path / name)


def test_questions_are_read_and_their_bad_rows_named(tmp_path: Path) -> None:
    good = {"question_id": 4, "image": "a.png", "question": "What?", "answers": ["a hand"]}
    (tmp_path / "q.jsonl").write_text(json.dumps(good))
    assert read_questions(tmp_path / "q.jsonl")[0].answers == ("a hand",)
    (tmp_path / "b.jsonl").write_text(json.dumps({**good, "answers": []}))
    with pytest.raises(EtudeError, match=r"b\.jsonl:1: answers"):
        read_questions(tmp_path / "b.jsonl")
