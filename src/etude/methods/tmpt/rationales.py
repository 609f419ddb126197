"""`rationale`: a vision chat model says what attitude it sees in text and picture (paper: TMPT+CoT)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.data.records import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.tmpt.pictures import open_picture
from etude.methods.tmpt.posts import StanceExample, image_key
from etude.methods.tmpt.reading import read_data
from etude.methods.tmpt.rows import picture_of
from etude.models import ChatModel, Conversation, Reply, chat_model, image_part, text_part
from etude.render import console, table
from etude.runs import atomic_path

ROUND = 64
PATIENCE = 2
QUESTION = (
    'A user of a social network posted this picture with the words: "{text}"\n\n'
    "What attitude towards {target} does the author of the post show? Say in a few sentences what the words "
    "say, what the picture adds (also text inside it), whether either is ironic or quotes somebody else, and "
    "which attitude follows. Do not guess beyond what is there."
)


@dataclass(frozen=True)
class RationaleResult:
    """Rationales of posts.

    Attributes:
        posts: Asked about.
        answered: With a rationale.
        refused: The model declined or was cut to nothing; the post is kept without a rationale.
        out: The table with the new column.
        example: One of them.
    """

    posts: int
    answered: int
    refused: int
    out: str
    example: str = ""

    def __rich__(self) -> Any:
        """A table and an example."""
        from rich.console import Group
        from rich.text import Text

        from etude.render.terminal import plain

        rows = [["posts", self.posts], ["with a rationale", self.answered], ["refused", self.refused]]
        return Group(table(["tmpt rationale", ""], rows), self.out, Text(plain(self.example)))


@verb
def rationale(
    data: Path,
    *,
    model: str,
    out: Path,
    images: Path | None = None,
    targets: Path | None = None,
    base_url: str | None = None,
    max_tokens: int = 300,
    image_side: int = 768,
    store: Path | None = None,
    max_connections: int = 8,
) -> RationaleResult:
    """Ask a vision chat model about every post and add its answer as the column `rationale`.

    Every answer is kept as soon as it is there: the same command after a kill asks only for the rest, and no
    post is asked about twice.

    Args:
        data: As for `etude tmpt train`; labels are not shown to the model.
        model: openai/MODEL (with --base-url for any OpenAI-compatible server), or inspect/PROVIDER/MODEL.
        out: The table to write (.csv, .jsonl, .parquet): the posts with `rationale`, ready for training.
        images: Folder of the pictures.
        targets: targets.toml.
        base_url: Address of the server.
        max_tokens: Most tokens of an answer.
        image_side: Larger pictures are scaled to this side, in pixels, before they are sent.
        store: File of the response store; default: beside `out`.
        max_connections: Requests under way at once.

    Returns:
        Counts and an example.

    Raises:
        EtudeError: Some posts could not be asked about after several rounds; the others are kept.
    """
    posts = read_data(data, images=images, targets=targets, labeled=False)
    chat = chat_model(
        model,
        base_url=base_url,
        store=store or out.with_name(out.name + ".responses.sqlite"),
        max_connections=max_connections,
    )
    phrases = {name: target.phrase for name, target in posts.targets.items()}
    replies = ask_rationales(chat, posts.examples, phrases, max_tokens=max_tokens, image_side=image_side)
    given = [reply.text.strip() for reply in replies]
    write_records(
        out,
        [
            {
                "id": e.id,
                "text": e.text,
                "image": _image_cell(e, images or data.parent, out),
                "target": e.target,
                "label": e.label,
                "split": e.split,
                "post": e.group,
                "rationale": text or None,
            }
            for e, text in zip(posts.examples, given, strict=True)
        ],
    )
    answered = [text for text in given if text]
    return RationaleResult(
        posts=len(given),
        answered=len(answered),
        refused=len(given) - len(answered),
        out=str(out),
        example=answered[0] if answered else "",
    )


def ask_rationales(
    chat: ChatModel,
    examples: Sequence[StanceExample],
    phrases: dict[str, str],
    *,
    max_tokens: int,
    image_side: int,
) -> list[Reply]:
    """Ask about posts, some at a time; those that failed are asked again, the model's client waiting between.

    Raises:
        EtudeError: Some failed every time.
    """
    replies: dict[int, Reply] = {}
    for attempt in range(1 + PATIENCE):
        open_ = [i for i in range(len(examples)) if i not in replies]
        for start in range(0, len(open_), ROUND):
            chosen = open_[start : start + ROUND]
            asked = [conversation(examples[i], phrases[examples[i].target], image_side) for i in chosen]
            for i, reply in zip(chosen, chat.generate(asked, max_tokens=max_tokens), strict=True):
                if reply.stop_reason != "error":
                    replies[i] = reply
                elif attempt == PATIENCE:
                    raise EtudeError(
                        f"{examples[i].where or examples[i].id}: {reply.error}",
                        "The same command asks only about the posts that are left.",
                    )
            console().print(f"rationales: {len(replies):,} of {len(examples):,}")
        if len(replies) == len(examples):
            break
    return [replies[i] for i in range(len(examples))]


def conversation(example: StanceExample, phrase: str, image_side: int = 768) -> Conversation:
    """What the model is asked about a post: words, picture and target; never the label."""
    question = QUESTION.format(text=example.text.replace('"', "'"), target=phrase)
    picture, _ = open_picture(picture_of(example), example.where, wanted=image_side)
    picture.thumbnail((image_side, image_side))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return [{"role": "user", "content": [text_part(question), image_part(buffer.getvalue())]}]


def _image_cell(example: StanceExample, folder: Path, out: Path) -> str | bytes:
    """The picture as the new table names it; one that came inside a table stays inside, or becomes a file."""
    image = picture_of(example)
    if isinstance(image, Path):
        return str(image.relative_to(folder.resolve()))
    if out.suffix == ".parquet":
        return image
    name = f"{out.stem}-pictures/{image_key(image)[:24]}.png"
    path = out.parent / name
    if not path.exists():
        picture, _ = open_picture(image, example.where)
        with atomic_path(path) as temporary:
            picture.save(temporary, format="PNG")
    return name
