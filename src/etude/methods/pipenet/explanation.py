"""The page that shows an answer: where concepts stand, which bridges were cut, what the network looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from etude.methods.pipenet.network import ChoiceAttention, ChoiceResult
from etude.methods.pipenet.questions import Question
from etude.methods.pipenet.subgraph import ANSWER, BRIDGE, QUESTION, TYPE_NAMES, Subgraph
from etude.render import Block, Code, Figure, Section, Shaded, TableBlock, Text, new_figure
from etude.render.plots import COLORS

_DRAWN = 14  # kept bridges in the drawing, and as many pruned ones in the table


def explanation_sections(
    question: Question, result: ChoiceResult, whole: Sequence[Subgraph], pruning: str
) -> list[Section]:
    """The question with its choices, then a section for each choice, the likeliest first.

    Args:
        question: The question.
        result: Its answer with attention; the graphs in it are pruned.
        whole: The subgraphs before pruning.
        pruning: How they were pruned, in words.
    """
    rows = [
        [choice, p, "right" if question.answer == i else "", len(whole[i].nodes), len(look.graph.nodes)]
        for i, (choice, p, look) in enumerate(
            zip(question.choices, result.probabilities, result.attention, strict=True)
        )
    ]
    columns = ["choice", "probability", "", "nodes before", "nodes after pruning"]
    head = Section(
        question.question,
        [TableBlock(columns, rows, f"Choices; {pruning}")],
    )
    order = sorted(range(len(question.choices)), key=lambda i: -result.probabilities[i])
    return [head, *(_choice_section(question.choices[i], whole[i], result.attention[i]) for i in order)]


def _choice_section(choice: str, whole: Subgraph, look: ChoiceAttention) -> Section:
    blocks: list[Block] = [shaded_statement(whole)]
    if len(look.graph.nodes) == 0:
        blocks.append(Text("No concept of the graph stands in it: the encoder answered alone."))
        return Section(choice or "(empty answer)", blocks)
    blocks += [
        Figure(
            graph_figure(look),
            alt=f"The pruned subgraph of {choice}",
            caption="Question concepts left, bridges in the middle, answer concepts right; a line is as wide "
            "as the attention of the last layer, a dot as large as the pooling's.",
        ),
        kept_table(look),
        pruned_table(whole, look.graph),
    ]
    if triples := look.graph.to_text(max_edges=10):
        blocks += [Text("As context for a prompt:"), Code(triples)]
    return Section(choice, blocks)


def shaded_statement(graph: Subgraph) -> Shaded:
    """The statement, its words shaded by how near to the answer their concepts are."""
    strength = np.zeros(len(graph.statement))
    notes = [""] * len(graph.statement)
    lowest = min([float(s) for s in graph.scores] + [-1.0])
    score = dict(zip(graph.nodes.tolist(), graph.scores.tolist(), strict=True))
    kinds = dict(zip(graph.nodes.tolist(), graph.types.tolist(), strict=True))
    for concept, places in graph.spans.items():
        value = (
            1.0 if kinds.get(concept) == ANSWER else 0.15 + 0.6 * (1 - score.get(concept, lowest) / lowest)
        )
        for start, end in places:
            for at in range(start, min(end, len(strength))):
                if value > strength[at]:
                    strength[at] = value
                    notes[at] = f"{graph.name(concept)}: {score.get(concept, lowest):g}"
    pieces: list[tuple[str, float]] = []
    said: list[str] = []
    for letter, value, note in zip(graph.statement, strength.tolist(), notes, strict=True):
        if pieces and pieces[-1][1] == value and said[-1] == note:
            pieces[-1] = (pieces[-1][0] + letter, value)
        else:
            pieces.append((letter, value))
            said.append(note)
    return Shaded(pieces, "The statement: darkest is the answer, darker is nearer to it in the tree", said)


def kept_table(look: ChoiceAttention) -> TableBlock:
    """Kept nodes by attention."""
    g = look.graph
    order = np.argsort(-look.nodes, kind="stable")[:_DRAWN]
    rows = [
        [g.name(int(g.nodes[i])), TYPE_NAMES[int(g.types[i])], float(g.scores[i]), float(look.nodes[i])]
        for i in order
    ]
    return TableBlock(["kept concept", "type", "score", "pooling attention"], rows, "Kept, by attention")


def pruned_table(whole: Subgraph, kept: Subgraph) -> TableBlock:
    """Bridges that were cut, the best of them first."""
    gone = ~np.isin(whole.nodes, kept.nodes)
    places = np.nonzero(gone)[0]
    order = places[np.argsort(-whole.scores[places], kind="stable")]
    rows = [[whole.name(int(whole.nodes[i])), float(whole.scores[i])] for i in order[:_DRAWN]]
    more = f", the first {_DRAWN} of {len(order)}" if len(order) > _DRAWN else ""
    return TableBlock(["pruned bridge", "score"], rows, f"Pruned{more}")


def graph_figure(look: ChoiceAttention) -> Any:
    """The pruned subgraph in three columns; the bridges with the most attention are drawn."""
    g = look.graph
    columns = {QUESTION: 0.0, BRIDGE: 1.0, ANSWER: 2.0}
    place: dict[int, tuple[float, float]] = {}
    tallest = 1
    for kind, x in columns.items():
        members = np.nonzero(g.types == kind)[0]
        members = members[np.argsort(-look.nodes[members], kind="stable")][: _DRAWN + 4]
        tallest = max(tallest, len(members))
        for k, i in enumerate(members.tolist()):
            place[i] = (x, 1 - (k + 0.5) / len(members))
    figure, axes = new_figure(6.4, 0.8 + 0.24 * tallest)
    strongest = max(float(look.triples.max()) if len(look.triples) else 0.0, 1e-9)
    for (head, tail), weight in zip(g.edge_index.T.tolist(), look.triples.tolist(), strict=True):
        if head in place and tail in place:
            (x0, y0), (x1, y1) = place[head], place[tail]
            bend = {"arrowstyle": "-", "lw": 0.3 + 2.5 * weight / strongest, "color": "0.6", "alpha": 0.7}
            bend["connectionstyle"] = "arc3,rad=0.3" if x0 == x1 else "arc3,rad=0"
            axes.annotate("", (x1, y1), (x0, y0), arrowprops=bend)
    heaviest = max(float(look.nodes.max()), 1e-9)
    for i, (x, y) in place.items():
        color = COLORS[{QUESTION: 0, BRIDGE: 2, ANSWER: 1}[int(g.types[i])]]
        axes.scatter([x], [y], s=12 + 90 * float(look.nodes[i]) / heaviest, color=color, zorder=3)
        side = {0.0: "right", 1.0: "center", 2.0: "left"}[x]
        shift = {0.0: (-7, -3), 1.0: (0, 5), 2.0: (7, -3)}[x]
        label = g.name(int(g.nodes[i]))
        axes.annotate(label, (x, y), shift, textcoords="offset points", ha=side, fontsize=7, zorder=4)
    axes.set_xlim(-0.9, 2.9)
    axes.set_ylim(-0.05, 1.08)
    axes.axis("off")
    return figure
