"""`etude list` and `etude show`: the cards, and what was recorded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from etude.catalogue import CARDS, Card, card

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class MethodList:
    """All cards in short.

    Args:
        methods: `name`, `status`, `purpose`, `arxiv`, `verdicts` of each.
    """

    methods: list[dict[str, Any]]

    def __rich__(self) -> RenderableType:
        """One line per method."""
        from etude.render import table

        rows = [(m["name"], m["purpose"], m["verdicts"] or "") for m in self.methods]
        return table(("method", "what it is for", "claim, as measured here"), rows)


@dataclass(frozen=True)
class MethodCard:
    """One card with its recorded evidence.

    Args:
        card: The card as plain data.
        recorded: The recorded evidence as JSON, or None.
    """

    card: dict[str, Any]
    recorded: dict[str, Any] | None

    def __rich__(self) -> RenderableType:
        """The card, the paper's figures, and the recorded results."""
        from rich.console import Group

        from etude.render import Text, show, table

        c = self.card
        parts: list[Any] = [
            show(Text(f"{c['name']}: {c['purpose']}")),
            show(Text(f"Paper: {c['paper']}, arXiv {c['arxiv']}")),
            show(Text(f"Claim: {c['claim']}")),
            show(Text(f"Data for the claim: {c['data']}")),
            self._verbs(),
        ]
        if c["figures"]:
            header, *rows = c["figures"]
            parts.append(table(header, rows, title=f"The paper's figures. {c['figures_note']}".strip()))
        if self.recorded is None:
            parts.append(show(Text(f"Nothing recorded yet; run: etude claim {c['name']}")))
        else:
            from etude.evidence import Evidence

            parts += [show(Text("Recorded here:")), Evidence.from_json(self.recorded)]
        return Group(*parts)

    def _verbs(self) -> RenderableType:
        from etude.render import table

        name, verbs = self.card["name"], self.card["verbs"]
        return table(("verb", "what it does"), [(f"etude {name} {v}", s) for v, s in verbs.items()])


def list_methods() -> MethodList:
    """The eighteen methods: what each is for, in one line."""
    return MethodList([_line(c) for c in CARDS.values()])


def show_method(name: str) -> MethodCard:
    """Show a method: its paper, verbs, claim, the paper's figures, and what was measured here.

    Args:
        name: The method, e.g. `signround`.

    Raises:
        EtudeError: There is no such method.
    """
    found = card(name)
    return MethodCard(asdict(found), found.recorded)


def _line(c: Card) -> dict[str, Any]:
    recorded = c.recorded
    verdicts = "; ".join(f"{p['name']}: {p['verdict']}" for p in recorded["parts"]) if recorded else None
    return {"name": c.name, "purpose": c.purpose, "arxiv": c.arxiv, "verdicts": verdicts}
