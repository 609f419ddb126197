"""Leave-one-out by time: the last item of a history is the test, the one before it validation (section 4.1).

What comes before is all that training, user ids and id schemes may look at. At test time the model also
reads the validation item, as in the paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from etude.errors import EtudeError
from etude.methods.idgen.histories import FEWEST, History

Part: TypeAlias = Literal["validation", "test"]


@dataclass(frozen=True)
class Question:
    """One prediction to make.

    Args:
        user_id: Who.
        history: Items that may be read, oldest first.
        target: The item that came next.
    """

    user_id: str
    history: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class SeqSplit:
    """Histories, split.

    Args:
        train: Histories without their last two items.
        validation: One question per user: the training items, and the item that came next.
        test: One question per user: the training and validation items, and the last item.
    """

    train: tuple[History, ...]
    validation: tuple[Question, ...]
    test: tuple[Question, ...]

    @classmethod
    def leave_one_out(cls, users: Sequence[History]) -> SeqSplit:
        """Split each user's history.

        Raises:
            EtudeError: A user has fewer than three items.
        """
        short = [user.user_id for user in users if len(user.items) < FEWEST]
        if short or not users:
            raise EtudeError(
                f"{len(short)} users have fewer than {FEWEST} items ({', '.join(short[:5])})"
                if users
                else "there is no user",
                "Read the file with `read_histories`, which leaves such users out.",
            )
        return cls(
            train=tuple(
                user.model_copy(
                    update={
                        "items": user.items[:-2],
                        "timestamps": None if user.timestamps is None else user.timestamps[:-2],
                    }
                )
                for user in users
            ),
            validation=tuple(
                Question(user.user_id, tuple(user.items[:-2]), user.items[-2]) for user in users
            ),
            test=tuple(Question(user.user_id, tuple(user.items[:-1]), user.items[-1]) for user in users),
        )

    def questions(self, part: Part) -> tuple[Question, ...]:
        """The questions of a part."""
        return self.test if part == "test" else self.validation

    @property
    def train_counts(self) -> Counter[str]:
        """Training events of each item; items without any are cold."""
        return Counter(item for user in self.train for item in user.items)
