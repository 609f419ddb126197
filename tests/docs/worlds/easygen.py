"""easygen: squares in two colors and places, a folder of pictures with words beside; dialogs about them."""

import json
from pathlib import Path
from typing import Any

from tests.docs.tiny import tiny_lm
from tests.docs.world import Left, Swapped, World

COLORS = {"red": (220, 40, 40), "blue": (40, 60, 220), "green": (40, 180, 60)}


def prepare(folder: Path) -> None:
    from PIL import Image

    (folder / "photos").mkdir()
    dialogs: list[dict[str, Any]] = []
    for color, value in COLORS.items():
        for shape, box in (("square", (8, 8, 24, 24)), ("bar", (2, 12, 30, 20))):
            picture = Image.new("RGB", (32, 32), "white")
            picture.paste(value, box)
            name = f"{color}-{shape}"
            picture.save(folder / "photos" / f"{name}.png")
            (folder / "photos" / f"{name}.txt").write_text(f"{color} {shape}\n")
            said = [
                {"from": "human", "value": "<image>\nWhat is this?"},
                {"from": "gpt", "value": f"A {color} {shape}."},
            ]
            dialogs.append({"id": name, "image": f"{name}.png", "conversations": said})
    (folder / "dialogs.json").write_text(json.dumps(dialogs))
    (folder / "photo.png").write_bytes((folder / "photos" / "red-square.png").read_bytes())
    tiny_lm(folder / "tiny", layers=2)


WORLD = World(
    prepare,
    table=(
        Swapped("--steps 2000", "thousands of steps", "--steps 2000", "--steps 2"),
        Swapped("align features", "a language model of 135M weights", "--llm smollm2", "--llm tiny"),
        Swapped("adapt photos", "a thousand steps", "--out adapted", "--out adapted --steps 2"),
        Left("emoji.csv", "the recipe of the packaged model needs the whole sheet and an hour"),
        Swapped("train_bidiffuser(", "thousands of steps", "steps=2000", "steps=2"),
        Swapped("load_bidiffuser(", "UniDiffuser's weights are on a hub", "thu-ml/unidiffuser-v1", "bi"),
        Left("noto_emoji_32", "the recipe of the packaged model needs the whole sheet"),
    ),
    writes=("bi/model_index.json", "features/index.parquet", "said/chat.html"),
    embedded=("smollm2",),
    slow=True,
)
