"""Ways to name items: by words, by chance, by order, by company, by meaning, or by one token each.

Every scheme gives each item words joined by blanks, unique over the catalogue, from the same inputs. The
control is `shuffled`: the strings of the textual ids, each on the wrong item, so that lengths and vocabulary
stay and only the meaning goes. `sequential`, `collaborative` and `semantic` follow Hua et al. 2023 (How to
index item ids for recommendation foundation models), where digits are words of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.idgen.histories import History
from etude.methods.idgen.items import Item

BRANCHES = 10
"""Children of a node in the trees of clusters, and leaves that need no further division."""


@dataclass(frozen=True)
class Catalogue:
    """What a scheme may look at.

    Args:
        items: Item ids to their records; the scheme names these, in sorted order.
        train: Histories without validation and test items: ids must not know the future.
        textual: The textual ids, for `textual` and `shuffled`.
        seed: Of chance.
        encoder: The sentence encoder of `semantic`.
    """

    items: Mapping[str, Item]
    train: Sequence[History] = ()
    textual: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    encoder: str = "minilm"

    @property
    def names(self) -> list[str]:
        """The item ids, sorted."""
        return sorted(self.items)


IdScheme: TypeAlias = Callable[[Catalogue], dict[str, str]]

SCHEMES: dict[str, IdScheme] = {}
"""Name to scheme."""


def scheme(name: str) -> Callable[[IdScheme], IdScheme]:
    """Register a way to name items: a function of a `Catalogue` to item id -> words."""

    def register(function: IdScheme) -> IdScheme:
        SCHEMES[name] = function
        return function

    return register


def name_items(name: str, catalogue: Catalogue) -> dict[str, str]:
    """The ids of a catalogue under a scheme.

    Args:
        name: `textual`, `shuffled`, `random`, `sequential`, `collaborative`, `semantic`, `token`, or one
            that you registered.
        catalogue: What to name, and what the scheme may look at.

    Returns:
        Item id to words, sorted by item id, all different.

    Raises:
        EtudeError: There is no such scheme, it lacks what it needs, or its ids are not unique.
    """
    if name not in SCHEMES:
        raise EtudeError(f"there is no id scheme {name!r}", f"There are: {', '.join(SCHEMES)}.")
    if not catalogue.items:
        raise EtudeError("a catalogue without items", "Give at least one item.")
    ids = SCHEMES[name](catalogue)
    if ids.keys() != set(catalogue.items) or len(set(ids.values())) < len(ids):
        raise EtudeError(
            f"scheme {name!r} left items without an id or gave one id twice", "Mend the registered scheme."
        )
    return dict(sorted(ids.items()))


@scheme("textual")
def textual_ids(catalogue: Catalogue) -> dict[str, str]:
    """The words that an id generator wrote (section 3.2)."""
    lacking = sorted(set(catalogue.items) - set(catalogue.textual))
    if lacking:
        raise EtudeError(
            f"{len(lacking)} items have no textual id: {', '.join(lacking[:5])}",
            "Write ids for all items: etude idgen ids items.jsonl --out ids.tsv",
        )
    return {name: catalogue.textual[name] for name in catalogue.names}


@scheme("shuffled")
def shuffled_ids(catalogue: Catalogue) -> dict[str, str]:
    """The textual ids on the wrong items: each item gets the id of the next one in a random round."""
    ids = textual_ids(catalogue)
    order = np.random.default_rng(catalogue.seed).permutation(len(ids))
    names = [catalogue.names[place] for place in order]
    return {name: ids[other] for name, other in zip(names, names[1:] + names[:1], strict=True)}


@scheme("random")
def random_ids(catalogue: Catalogue) -> dict[str, str]:
    """Different random numbers of four digits, or of as many as the catalogue needs."""
    digits = max(4, len(str(len(catalogue.items) - 1)))
    drawn = np.random.default_rng(catalogue.seed).choice(10**digits, len(catalogue.items), replace=False)
    return {name: _digits(number, digits) for name, number in zip(catalogue.names, drawn, strict=True)}


@scheme("sequential")
def sequential_ids(catalogue: Catalogue) -> dict[str, str]:
    """Numbers in the order in which items first occur in the training histories, user by user.

    So items of one history get near numbers, which share their first digits. Items that never occur follow.
    """
    met = dict.fromkeys(item for user in catalogue.train for item in user.items if item in catalogue.items)
    order = dict.fromkeys([*met, *catalogue.names])
    digits = max(4, len(str(len(order) - 1)))
    return {name: _digits(number, digits) for number, name in enumerate(order)}


@scheme("token")
def token_ids(catalogue: Catalogue) -> dict[str, str]:
    """One word of its own for each item."""
    return {name: f"item{number}" for number, name in enumerate(catalogue.names)}


@scheme("collaborative")
def collaborative_ids(catalogue: Catalogue) -> dict[str, str]:
    """Paths in a tree of spectral clusters of the items that occur in the same training histories.

    Items without training events share a branch of their own.
    """
    from scipy.sparse import csr_matrix

    place = {name: number for number, name in enumerate(catalogue.names)}
    pairs = {
        (row, place[item]) for row, user in enumerate(catalogue.train) for item in user.items if item in place
    }
    if not pairs:
        raise EtudeError("collaborative ids need training histories", "Give the sequences too.")
    rows, columns = np.array(sorted(pairs)).T
    shape = (len(catalogue.train), len(place))
    events = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    together = (events.T @ events).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()

    def split(members: NDArray[np.int64]) -> NDArray[np.int64]:
        return _spectral(together[members][:, members], catalogue.seed)

    known = np.unique(columns)
    paths = _tree(known, split, "c")
    unknown = np.setdiff1d(np.arange(len(place)), known)
    paths |= {int(one): ("c-new", *_digits(number, 4).split()) for number, one in enumerate(unknown)}
    return {name: " ".join(paths[number]) for name, number in place.items()}


@scheme("semantic")
def semantic_ids(catalogue: Catalogue) -> dict[str, str]:
    """Paths in a tree of k-means clusters of sentence vectors of the items' texts."""
    from etude.models import load_encoder

    empty = [name for name in catalogue.names if not catalogue.items[name].line]
    if len(empty) == len(catalogue.items):
        raise EtudeError("semantic ids need the items' texts", "Give items with a title or a description.")
    texts = [catalogue.items[name].line[:1000] or name for name in catalogue.names]
    vectors = np.asarray(load_encoder(catalogue.encoder).encode(texts), dtype=np.float64)

    def split(members: NDArray[np.int64]) -> NDArray[np.int64]:
        return _kmeans(vectors[members], catalogue.seed)

    paths = _tree(np.arange(len(texts)), split, "s")
    return {name: " ".join(paths[number]) for number, name in enumerate(catalogue.names)}


def _digits(number: int, digits: int) -> str:
    return " ".join(f"{number:0{digits}d}")


def _tree(
    members: NDArray[np.int64], split: Callable[[NDArray[np.int64]], NDArray[np.int64]], letter: str
) -> dict[int, tuple[str, ...]]:
    """Each member's path: a word for each level (`c0-3`: branch 3 on level 0), then its place in the leaf.

    Args:
        members: Row numbers.
        split: Row numbers to a cluster number each.
        letter: Begins the words.
    """
    paths: dict[int, tuple[str, ...]] = {}
    waiting: list[tuple[tuple[str, ...], NDArray[np.int64]]] = [((), members)]
    while waiting:
        path, group = waiting.pop()
        clusters = split(group) if len(group) > BRANCHES else np.zeros(len(group), dtype=np.int64)
        if len(np.unique(clusters)) == 1:  # small, or alike: they differ by their place alone
            paths |= {int(one): (*path, f"{letter}-{place}") for place, one in enumerate(group)}
            continue
        waiting += [
            ((*path, f"{letter}{len(path)}-{number}"), group[clusters == cluster])
            for number, cluster in enumerate(np.unique(clusters))
        ]
    return paths


def _spectral(together: object, seed: int) -> NDArray[np.int64]:
    """Clusters of a weighted graph: k-means on leading eigenvectors of its normalized matrix (Ng 2002)."""
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import eigsh

    weights = csr_matrix(together)
    degrees = np.asarray(weights.sum(axis=1)).ravel()
    if not degrees.any():
        return np.zeros(weights.shape[0], dtype=np.int64)
    scale = diags(1 / np.sqrt(np.maximum(degrees, 1e-12)))
    normal = (scale @ weights @ scale).tocsr()
    count = min(BRANCHES, weights.shape[0] - 2)
    start = np.random.default_rng(seed).random(weights.shape[0])
    _, vectors = eigsh(normal, k=count, which="LA", v0=start)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return _kmeans(vectors / np.maximum(lengths, 1e-12), seed)


def _kmeans(vectors: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    count = min(BRANCHES, len(np.unique(vectors.round(9), axis=0)))
    if count == 1:
        return np.zeros(len(vectors), dtype=np.int64)
    found = KMeans(count, n_init=4, random_state=seed).fit_predict(vectors)
    return np.asarray(found, dtype=np.int64)
