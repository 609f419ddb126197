"""Chat: the paper's turns, `<instruction>…</instruction>` and an answer that ends with `</s>`.

The two markers are tokens of their own; user and assistant take turns; the loss is on the answers alone.
A system message stands before the first user's, in the same turn. What is trained on is exactly what
transformers' `apply_chat_template` gives for the saved tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.teenytinyllama.bits_per_byte import encode_text

OPEN, CLOSE = "<instruction>", "</instruction>"
TEMPLATE = (
    "{%- set told = messages[0]['role'] == 'system' -%}"
    "{%- for message in (messages[1:] if told else messages) -%}"
    "{%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}"
    "{{ raise_exception('Roles must alternate: user, assistant, user, ...') }}"
    "{%- endif -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{ '<instruction>' }}"
    "{%- if told and loop.first -%}{{ messages[0]['content'] | trim + '\\n\\n' }}{%- endif -%}"
    "{{ message['content'] | trim + '</instruction>' }}"
    "{%- else -%}"
    "{{ message['content'] | trim + eos_token }}"
    "{%- endif -%}"
    "{%- endfor -%}"
)
IGNORED = -100
_ROLES = {"human": "user", "gpt": "assistant", "prompter": "user", "bot": "assistant"}
_PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
)


class Turn(BaseModel):
    """One message."""

    role: str
    content: str


class Chat(BaseModel):
    """A conversation: user and assistant in turn, an answer last; a system message joins the first turn."""

    messages: list[Turn]

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, row: Any) -> Any:
        if not isinstance(row, Mapping) or row.get("messages"):
            return row
        if row.get("conversations"):
            return {"messages": [_turn(turn) for turn in row["conversations"]]}
        for asked, answered in _PAIRS:
            if row.get(asked) and row.get(answered):
                question = "\n".join(str(part) for part in (row[asked], row.get("input")) if part)
                return {
                    "messages": [
                        {"role": "user", "content": question},
                        {"role": "assistant", "content": str(row[answered])},
                    ]
                }
        return row

    @model_validator(mode="after")
    def _takes_turns(self) -> Chat:
        for place, turn in enumerate(self.messages):
            if not turn.content.strip():
                raise ValueError(f"message {place} is empty")
        if [turn.role for turn in self.messages[:2]] == ["system", "user"]:
            told, asked, *others = self.messages
            self.messages = [
                Turn(role="user", content=f"{told.content.strip()}\n\n{asked.content.strip()}"),
                *others,
            ]
        for place, turn in enumerate(self.messages):
            expected = "assistant" if place % 2 else "user"
            if turn.role != expected:
                raise ValueError(
                    f"message {place} is by {turn.role!r}, expected {expected!r}: roles must alternate"
                )
        if len(self.messages) < 2 or len(self.messages) % 2:
            raise ValueError("the last message must be the assistant's")
        return self


def _turn(turn: Any) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    role = turn.get("role", turn.get("from"))
    return {"role": _ROLES.get(str(role), role), "content": turn.get("content", turn.get("value"))}


def read_chats(source: Path | str) -> list[Chat]:
    """Rows with `messages` (or `conversations`), or instruction/output, prompt/completion, prompt/response.

    Raises:
        EtudeError: Nothing there, roles that do not alternate, an empty message; the message names the line.
    """
    rows = list(read_records(source, Chat))
    if not rows:
        raise EtudeError(
            f"{source}: holds no conversation", "Give rows with messages: [{role, content}, ...]."
        )
    return rows


def prepare_for_chat(model: Any, tokenizer: Any) -> None:
    """Give tokenizer and model the two markers and the template.

    A new token's embedding starts as the mean of all others, so that it starts neutral.

    Raises:
        EtudeError: The tokenizer has no end token.
    """
    if tokenizer.eos_token is None:
        raise EtudeError("the tokenizer has no end token", "Set eos_token in its tokenizer_config.json.")
    from tokenizers import AddedToken

    tokenizer.add_tokens(
        [AddedToken(text, special=True, normalized=False) for text in (OPEN, CLOSE)], special_tokens=True
    )
    tokenizer.chat_template = TEMPLATE
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    before = tables[0].weight.shape[0]
    if len(tokenizer) > before:
        means = [table.weight.detach().mean(0) for table in tables]
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            for table, mean in zip(
                (model.get_input_embeddings(), model.get_output_embeddings()), means, strict=True
            ):
                table.weight[before:] = mean


def chat_ids(tokenizer: Any, chat: Chat) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and the labels: the answers with their end token, `IGNORED` elsewhere.

    Special tokens part the text, so encoding turn by turn gives the same ids as encoding the whole.
    """
    opened, closed = (tokenizer.convert_tokens_to_ids(marker) for marker in (OPEN, CLOSE))
    ids: list[int] = []
    labels: list[int] = []
    for turn in chat.messages:
        text = encode_text(tokenizer, turn.content.strip())
        if turn.role == "user":
            ids += [opened, *text, closed]
            labels += [IGNORED] * (len(text) + 2)
        else:
            ids += [*text, tokenizer.eos_token_id]
            labels += [*text, tokenizer.eos_token_id]
    return ids, labels


class ChatTokens(Dataset[dict[str, Any]]):
    """Conversations as token ids and labels, cut to the context.

    Attributes:
        shortened: Conversations that were cut at their end.
        dropped: Conversations left out since no answer token was within the context.
    """

    def __init__(self, tokenizer: Any, chats: Sequence[Chat], context: int) -> None:
        self.rows: list[tuple[list[int], list[int]]] = []
        self.shortened = self.dropped = 0
        for chat in chats:
            ids, labels = chat_ids(tokenizer, chat)
            fits = any(label != IGNORED for label in labels[1:context])
            self.dropped += not fits
            self.shortened += fits and len(ids) > context
            if fits:
                self.rows.append((ids[:context], labels[:context]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids, labels = self.rows[index]
        return {"ids": ids, "labels": labels}


def collate_chats(pad: int, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch padded on the right: input_ids, attention_mask and labels, each (rows, width)."""
    width = max(len(item["ids"]) for item in items)
    ids = torch.full((len(items), width), pad)
    mask = torch.zeros(len(items), width, dtype=torch.long)
    labels = torch.full((len(items), width), IGNORED)
    for row, item in enumerate(items):
        size = len(item["ids"])
        ids[row, :size], labels[row, :size] = torch.tensor(item["ids"]), torch.tensor(item["labels"])
        mask[row, :size] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@torch.inference_mode()
def answer_loss(model: Any, tokens: ChatTokens, pad: int, *, batch_size: int = 4) -> float:
    """Mean negative log-likelihood of the answers' tokens, in nats."""
    model.eval()
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for begin in range(0, len(tokens), batch_size):
        batch = collate_chats(pad, [tokens[i] for i in range(begin, min(len(tokens), begin + batch_size))])
        labels = batch.pop("labels")[:, 1:].to(device)
        logits = model(**{name: value.to(device) for name, value in batch.items()}).logits[:, :-1]
        total += float(
            torch.nn.functional.cross_entropy(
                logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
            )
        )
        count += int((labels != IGNORED).sum())
    return total / count
