"""`GenerativeRecommender`: a language model that reads a history as ids and writes the next item's id.

Candidates come from beam search over the tree of all ids; they are item numbers from the leaves of the tree,
so ids that look alike as strings cannot be mixed up. On disk it is a folder: the model and its tokenizer as
transformers write them, the ids in a file named by their hash, and `recommender.json`, which holds that hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.idgen.backbones import Backbone, load_backbone
from etude.methods.idgen.constrained_beams import Normalization, constrained_beam_search
from etude.methods.idgen.decoders import TreeDecoder, tree_decoder
from etude.methods.idgen.leave_one_out import Question
from etude.methods.idgen.rank_metrics import ranks_of
from etude.methods.idgen.templates import Stream, Template, TokenTemplate
from etude.methods.idgen.textual_ids import ids_hash, read_ids, write_ids
from etude.methods.idgen.training_batches import IGNORED, pad_rows
from etude.methods.idgen.trie import TokenTrie, token_rows
from etude.models.local_lm import default_device
from etude.models.quiet import quiet_transformers
from etude.runs import atomic_path, read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class Recommended:
    """One item of a list.

    Args:
        item_id: The item.
        textual_id: Its id in words.
        logprob: Sum of the log-probabilities of the id's tokens, in nats.
    """

    item_id: str
    textual_id: str
    logprob: float


@dataclass(frozen=True)
class GenerativeRecommender:
    """A model, the ids it writes, and how a history is put to it.

    Args:
        backbone: The language model and its tokenizer.
        ids: Item id to textual id.
        max_history: The most items it reads.
        template: Wording for a sequence-to-sequence model; a causal one reads a bare stream of ids.
        held_back: A wording that training never saw.
        dataset: What {dataset} of the template says.
        user_ids: User id to the user's id in words, where the template wants one.
        extra: Ids of items that may be read in histories but are not recommended.
        normalize: How beams are scored, see `constrained_beams`.
    """

    backbone: Backbone
    ids: Mapping[str, str]
    max_history: int = 20
    template: Template | None = None
    held_back: Template | None = None
    dataset: str = ""
    user_ids: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    normalize: Normalization = "allowed"

    @cached_property
    def items(self) -> list[str]:
        """Item ids in the order of the tree's item numbers."""
        return sorted(self.ids)

    @cached_property
    def number(self) -> dict[str, int]:
        """Item id to its number."""
        return {item: place for place, item in enumerate(self.items)}

    @cached_property
    def tokens(self) -> dict[str, list[int]]:
        """Item id to the tokens of its textual id, without the end."""
        known = {**self.extra, **self.ids}
        return dict(zip(known, token_rows(known, self.backbone.tokenizer), strict=True))

    @cached_property
    def trie(self) -> TokenTrie:
        """The tree of the ids."""
        return TokenTrie.from_tokens([self.tokens[item] for item in self.items], self.end)

    @cached_property
    def decoder(self) -> TreeDecoder:
        """The model as beam search reads it."""
        return tree_decoder(self.backbone.model)

    @property
    def end(self) -> int:
        """The token that ends an id."""
        return int(self.backbone.tokenizer.eos_token_id)

    @property
    def padding(self) -> int:
        """The token of padding."""
        return int(self.backbone.tokenizer.pad_token_id)

    @cached_property
    def reader(self) -> TokenTemplate | Stream:
        """How a history becomes tokens."""
        if self.template is None:
            return Stream(self.end)
        return TokenTemplate(self.template, self.backbone.tokenizer, self.dataset)

    def prompt(self, history: Sequence[str], user_id: str = "") -> list[int]:
        """What the model reads for a history: its last `max_history` items that have an id.

        Raises:
            EtudeError: None of the items has an id.
        """
        rows = [self.tokens[item] for item in history if item in self.tokens][-self.max_history :]
        if history and not rows:
            raise EtudeError(
                f"no item of the history has an id ({', '.join(history[:5])})",
                "Give item ids of the catalogue, or raw text of unseen items.",
            )
        tokens = self.reader.fill(rows, self.user_tokens(user_id))[0]
        while len(tokens) > self._room and len(rows) > 1:
            rows = rows[1:]
            tokens = self.reader.fill(rows, self.user_tokens(user_id))[0]
        return tokens

    @cached_property
    def _room(self) -> float:
        """Tokens that a prompt may have, so that the longest id still fits behind it."""
        longest = self.backbone.longest
        return float("inf") if longest is None else longest - max(map(len, self.tokens.values())) - 1

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        *,
        k: int = 10,
        beams: int = 20,
        filter_seen: bool = False,
        users: Sequence[str] | None = None,
        batch_size: int = 128,
    ) -> list[list[Recommended]]:
        """The k most likely items after each history; fewer where fewer are left.

        Args:
            histories: Item ids, oldest first.
            k: Items wanted.
            beams: Ids under way at once, raised to k.
            filter_seen: Leave out the items of the history.
            users: User ids, where the template wants one.
            batch_size: Histories at a time.
        """
        found, scores = self.search(
            histories, k=k, beams=beams, filter_seen=filter_seen, users=users, batch_size=batch_size
        )
        return [
            [
                Recommended(self.items[place], self.ids[self.items[place]], float(score))
                for place, score in zip(row, row_scores, strict=True)
                if place >= 0
            ]
            for row, row_scores in zip(found.tolist(), scores.tolist(), strict=True)
        ]

    def search(
        self,
        histories: Sequence[Sequence[str]],
        *,
        k: int,
        beams: int,
        filter_seen: bool = False,
        users: Sequence[str] | None = None,
        batch_size: int = 128,
    ) -> tuple[Tensor, Tensor]:
        """As `recommend`: item numbers, -1 where there are fewer, and log-probabilities, (histories, k)."""
        model: Any = self.backbone.model
        device = default_device()
        model.to(device).eval()
        if not 1 <= k <= len(self.items):
            raise EtudeError(
                f"{k} items wanted of a catalogue of {len(self.items)}",
                f"Give k from 1 to {len(self.items)}.",
            )
        names = users if users is not None else [""] * len(histories)
        prompts = [self.prompt(h, user) for h, user in zip(histories, names, strict=True)]
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        items = torch.full((len(prompts), k), -1, dtype=torch.long)
        scores = torch.full((len(prompts), k), float("-inf"))
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            tokens, mask = pad_rows(
                [prompts[p] for p in part], self.padding, left=not self.backbone.is_seq2seq
            )
            seen = [sorted({self.number[item] for item in histories[p] if item in self.number}) for p in part]
            ranked = constrained_beam_search(
                self.decoder,
                tokens.to(device),
                mask.to(device),
                self.trie,
                beams=max(k, beams),
                k=k,
                seen=seen if filter_seen else None,
                normalize=self.normalize,
            )
            items[part], scores[part] = ranked.items.cpu(), ranked.logprobs.float().cpu()
        return items, scores

    @torch.inference_mode()
    def score(self, history: Sequence[str], items: Sequence[str], user_id: str = "") -> list[float]:
        """Log-probability of each item's id after a history, in nats, over the whole vocabulary."""
        model: Any = self.backbone.model
        device = default_device()
        model.to(device).eval()
        targets = [[*self.tokens[item], self.end] for item in items]
        prompt = self.prompt(history, user_id)
        labels, kept = pad_rows(targets, self.padding)
        if self.backbone.is_seq2seq:
            marked = labels.masked_fill(kept == 0, IGNORED).to(device)
            read = torch.tensor([prompt] * len(items), device=device)
            logits = model(input_ids=read, labels=marked).logits
        else:
            read = torch.cat([torch.tensor([prompt] * len(items)), labels], 1).to(device)
            logits = model(input_ids=read).logits[:, len(prompt) - 1 : -1]
        each = logits.float().log_softmax(2).gather(2, labels.to(device)[:, :, None])[:, :, 0]
        return [float(one) for one in (each * kept.to(device)).sum(1)]

    def ranks(
        self,
        questions: Sequence[Question],
        *,
        k: int = 10,
        beams: int = 20,
        filter_seen: bool = False,
        batch_size: int = 128,
    ) -> NDArray[np.int64]:
        """Place of each question's target among k items, or all if fewer, from 1; else 0, (questions,)."""
        found, _ = self.search(
            [question.history for question in questions],
            k=min(k, len(self.items)),
            beams=beams,
            filter_seen=filter_seen,
            users=[question.user_id for question in questions],
            batch_size=batch_size,
        )
        return self.ranks_in(questions, found)

    def ranks_in(self, questions: Sequence[Question], found: Tensor) -> NDArray[np.int64]:
        """Place of each question's target in lists of item numbers, (questions, k)."""
        return ranks_of([self.number.get(question.target, -1) for question in questions], found.numpy())

    def among(self, items: Sequence[str]) -> GenerativeRecommender:
        """The same recommender with fewer items to choose from; all may still be read."""
        kept = set(items)
        return replace(
            self,
            ids={item: words for item, words in self.ids.items() if item in kept},
            extra={**self.extra, **self.ids},
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder, in one step each for the model, the ids and `recommender.json`."""
        from dataclasses import asdict

        name = ids_hash(self.ids)
        write_ids(folder / f"ids-{name[:16]}.tsv", self.ids)
        if self.user_ids:
            write_json(folder / "user_ids.json", dict(self.user_ids))
        with quiet_transformers(), atomic_path(folder / "model") as temporary:
            self.backbone.model.save_pretrained(temporary)
            self.backbone.tokenizer.save_pretrained(temporary)
        write_json(
            folder / "recommender.json",
            {
                "format": FORMAT,
                "ids_sha256": name,
                "max_history": self.max_history,
                "template": None if self.template is None else asdict(self.template),
                "held_back": None if self.held_back is None else asdict(self.held_back),
                "dataset": self.dataset,
                "normalize": self.normalize,
                "names_users": bool(self.user_ids),
            },
        )

    @classmethod
    def load(cls, folder: Path, ids: Path | None = None) -> GenerativeRecommender:
        """Read what `save` wrote.

        Args:
            folder: The folder.
            ids: A file of ids to use in place of the folder's own; they must be those of the training.

        Raises:
            EtudeError: The folder holds no recommender, or the ids are not those it was trained on.
        """
        folder = Path(folder)
        if not (folder / "recommender.json").is_file():
            raise EtudeError(
                f"{folder}: no trained recommender in it",
                f"Train one: etude idgen train … --out {folder}",
            )
        card = read_json(folder / "recommender.json")
        if card.get("format") != FORMAT:
            raise EtudeError(f"{folder}: format {card.get('format')!r}, not {FORMAT}", "Train it again.")
        trained = card["ids_sha256"]
        used = read_ids(ids or folder / f"ids-{trained[:16]}.tsv")
        if ids_hash(used) != trained:
            raise EtudeError(
                f"{ids or folder}: the recommender was trained on the ids {trained[:16]}, these are "
                f"{ids_hash(used)[:16]}",
                "A model knows only the ids it was trained on: use that file, or train on these.",
            )
        template, held_back = (
            None if card[name] is None else Template(**card[name]) for name in ("template", "held_back")
        )
        return cls(
            backbone=load_backbone(folder / "model"),
            ids=used,
            max_history=card["max_history"],
            template=template,
            held_back=held_back,
            dataset=card["dataset"],
            user_ids=read_json(folder / "user_ids.json") if card["names_users"] else {},
            normalize=card["normalize"],
        )

    def user_tokens(self, user_id: str) -> list[int]:
        """Tokens of a user's id; none for a user without one."""
        words = self.user_ids.get(user_id, "")
        return list(self.backbone.tokenizer.encode(words, add_special_tokens=False)) if words else []
