"""A visible use in seconds: posts about two town projects, drawn here, and what a post says about each."""

from __future__ import annotations

import shutil
from pathlib import Path

from etude.methods.tmpt.arms import TMPT, Encoders, run_arm
from etude.methods.tmpt.feature_cache import FeatureCache
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.posters import made_up_posts
from etude.methods.tmpt.settings import TMPTConfig, Training
from etude.methods.tmpt.splits import make_tasks
from etude.render import Block, Demo, Picture, TableBlock, Text

POSTS = 72
SHOWN = 3


def demo(out: Path) -> Demo:
    """Train on made-up posts with frozen encoders, compare with the baselines, show some answers.

    Args:
        out: Folder for the model.
    """
    posts = made_up_posts(POSTS)
    task = make_tasks(posts, "pooled")[0]
    config = TMPTConfig(text_tuning="frozen", visual_prompt_target=True, image_size=128, width=128)
    how = Training(epochs=16, batch_size=32)
    cache = FeatureCache(out / "features")
    runs = {
        name: run_arm(
            name, task, config, how, Encoders(), targets=dict(posts.targets), seed=42,
            fits=out / "fit" / name, cache=cache, save=out / "model" if name == TMPT else None,
        )
        for name in (TMPT, "text", "image", "concat", "majority")
    }  # fmt: skip
    shutil.rmtree(out / "fit", ignore_errors=True)
    model = TMPTModel.load(out / "model", cache=cache)
    table = model.predict(task.test).to_dicts()
    groups = list(dict.fromkeys(e.group for e in task.test))[:SHOWN]
    pictures: list[Block] = []
    rows = []
    for group in groups:
        pair = [(e, row) for e, row in zip(task.test, table, strict=True) if e.group == group]
        post = pair[0][0]
        assert isinstance(post.image, bytes)
        pictures.append(Picture(post.image, f"poster of post {group}", f"post {group}: {post.text}"))
        rows += [
            [group, e.target, row["label"], row["text_only_label"], row["image_only_label"], e.label]
            for e, row in pair
        ]
    trained = runs[TMPT].training
    scores = [
        [name, 100 * run.scores.macro_f1, 100 * run.scores.accuracy, run.training.get("trained", 0)]
        for name, run in runs.items()
    ]
    return Demo(
        headline=f"{trained['trained']:,} trained parameters between two frozen encoders read a post's "
        "stance towards each of two projects",
        went_in=[
            Text(
                f"{POSTS} synthetic posts, drawn here: words and a poster about one of two town projects. "
                "Half of them say in words what they want; in the others only the poster does. Each is "
                f"asked about both projects ({len(task.train)} rows to train, {len(task.valid)} to select, "
                f"{len(task.test)} to test)."
            ),
            *pictures,
        ],
        came_out=[
            TableBlock(
                ("post", "target", "answer", "text alone", "picture alone", "truth"), rows, "Three test posts"
            ),
            TableBlock(
                ("arm", "macro-F1", "accuracy", "trained parameters"), scores, "All arms, the same posts"
            ),
        ],
        meaning="The same post has one stance towards the project it names and none towards the other: the "
        "target in the prompt decides which. Where text and picture point apart, a person should look. The "
        "posts are made up, so the scores say that it works and nothing about real posts.",
    )
