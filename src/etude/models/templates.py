"""A conversation as the text that a tokenizer's chat template makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.errors import EtudeError


def templated(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], *, ask: bool = True, goes_on: bool = False
) -> str:
    """Messages as text, by the tokenizer's own chat template.

    Args:
        tokenizer: Of a model that has a template.
        messages: `role` and `content` of each.
        ask: End where the assistant's answer begins.
        goes_on: The last message is the assistant's and is not ended.

    Raises:
        EtudeError: The template refuses the messages, or is damaged.
    """
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=ask, continue_final_message=goes_on
        )
    except (TemplateError, ValueError) as error:
        raise EtudeError(
            f"{tokenizer.name_or_path}: its chat template refuses the conversation ({error})"[:300],
            "Many templates want user and assistant in turn, and some take no system message; if it is "
            "chat_template.jinja that was damaged, fetch the model again.",
        ) from error
    return str(text)
