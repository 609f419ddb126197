"""User ids: what the id generator makes of the ids of a user's items (section 3.2).

`clean` reads the training history only. `paper` reads the whole history, the test item included, as the
official code does: the answer is then partly in the question. It exists to measure that difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from etude.methods.idgen.histories import History
from etude.methods.idgen.items import Item
from etude.methods.idgen.leave_one_out import SeqSplit

Protocol: TypeAlias = Literal["clean", "paper"]
Namer: TypeAlias = Callable[[Sequence[Item]], dict[str, str]]
"""Names items, e.g. `IdGenerator.generate`."""


def user_ids(
    users: Sequence[History], ids: Mapping[str, str], name: Namer, protocol: Protocol = "clean"
) -> dict[str, str]:
    """An id in words for each user.

    Args:
        users: Whole histories.
        ids: Item id to textual id.
        name: Names a user from the joined ids, as it names an item from its text.
        protocol: What may be read: `clean` the training part, `paper` everything.
    """
    read: Iterable[History] = users if protocol == "paper" else SeqSplit.leave_one_out(users).train
    texts = {user.user_id: " ".join(ids[item] for item in user.items) for user in read}
    return name([Item(item_id=user, text=text) for user, text in texts.items()])
