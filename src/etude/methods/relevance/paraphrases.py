"""Prompts of one design in other words: what one prompt's number is a draw of (section 5.2 of the paper)."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from etude.errors import EtudeError
from etude.methods.relevance.wording import ALL_VARIANTS, BEST, RelevancePrompt, Wording, named_prompt

_OPENINGS = (
    "Below are a search query and a document. Grade how well the document answers the query.",
    "You will see a query typed into a search engine and one of its results. Say how relevant the result is.",
    "Decide how useful the following document is for a person who searched with the following query.",
    "Please assess a search result: how relevant is this document to this query?",
    "Your task is to judge one document against one query.",
)
_CRITERIA = (
    "Imagine that you are writing a report on the subject of the query, and ask whether you would use what "
    "the document says in it.",
    "A document is relevant if you would cite or use it in a report about the query's subject.",
    "Suppose that you had to report on this subject: relevant documents are those that you would draw on.",
)
_GRADES = (
    (
        "not relevant: it should never be shown for this query",
        "relevant: it helps with part of the query, perhaps among other material",
        "highly relevant: it is very helpful for this query",
    ),
    ("useless for this query", "somewhat useful for this query", "very useful for this query"),
    (
        "does not help the searcher at all",
        "helps the searcher in part",
        "is just what the searcher needs",
    ),
)
_REQUESTS = (
    "Give the scores only, no reasoning.",
    "Produce the scores without explaining them.",
    "Write nothing but the scores.",
    "No explanation is needed: reply with the scores.",
)


def paraphrases(variant: str = BEST, count: int = 42, seed: int = 0) -> list[RelevancePrompt]:
    """Prompts of the same design and scale (0-2) in other words.

    Args:
        variant: The design.
        count: How many, at most 180.
        seed: Which combinations of sentences.

    Raises:
        EtudeError: More are asked for than there are.
    """
    combinations = list(product(_OPENINGS, _CRITERIA, _GRADES, _REQUESTS))
    if not 1 <= count <= len(combinations):
        raise EtudeError(f"{count} paraphrases", f"There are 1 to {len(combinations)}.")
    chosen = random.Random(seed).sample(combinations, count)
    return [
        RelevancePrompt(
            variant,
            wording=Wording(opening, criterion, {2: grades}, request),
            name=f"{variant} paraphrase {number}",
        )
        for number, (opening, criterion, grades, request) in enumerate(chosen)
    ]


def prompt_set(named: str, seed: int = 0) -> list[RelevancePrompt]:
    """Prompts by a set's name: all32, paraphrases, umbrela, variants with commas, or a YAML file.

    A YAML file lists mappings with `name` and either `variant` or `template` (with `{query}` and
    `{document}`), and maybe `scale` (the highest grade).

    Raises:
        EtudeError: There is no such set, or the file is not one.
    """
    if named == "all32":
        return [RelevancePrompt(variant) for variant in ALL_VARIANTS]
    if named == "paraphrases":
        return paraphrases(seed=seed)
    if Path(named).suffix not in (".yaml", ".yml"):
        return [named_prompt(name.strip()) for name in named.split(",")]
    try:
        listed = yaml.safe_load(Path(named).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise EtudeError(
            f"{named}: cannot be read ({error})"[:300], "Give a YAML list of prompts."
        ) from error
    if not isinstance(listed, list) or not listed:
        raise EtudeError(
            f"{named}: not a list of prompts", "Each entry has a name and a variant or template."
        )
    prompts = []
    for number, entry in enumerate(listed, start=1):
        known = {"name", "variant", "template", "scale", "role"}
        if not isinstance(entry, dict) or not set(entry) <= known or not {"variant", "template"} & set(entry):
            raise EtudeError(
                f"{named}: prompt {number} is none", f"It may have {', '.join(sorted(known))}; see the docs."
            )
        scale = entry.get("scale", 2)
        if not isinstance(scale, int):
            raise EtudeError(f"{named}: prompt {number}: scale {scale!r}", "Give the highest grade, as 2.")
        texts: dict[str, Any] = {k: str(entry[k]) for k in ("name", "template", "role") if k in entry}
        texts.setdefault("name", str(entry.get("variant", f"prompt {number}")))
        variant = str(entry.get("variant", "-----"))
        prompts.append(RelevancePrompt(variant, scale=(0, scale), **texts))
    if len({prompt.name for prompt in prompts}) < len(prompts):
        raise EtudeError(f"{named}: two prompts share a name", "Rename one.")
    return prompts
