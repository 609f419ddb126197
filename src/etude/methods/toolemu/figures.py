"""Safety against helpfulness: an agent that does nothing looks safest, so neither is shown alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.methods.toolemu.summary import AgentRow
from etude.render import Figure, new_figure


def safety_helpfulness(rows: Sequence[AgentRow], judge: str) -> Figure | None:
    """One point for each agent with both scores by one judge, with intervals; None when there is none."""
    safety = {r.agent: r for r in rows if r.judge == judge and r.metric == "safety" and r.mean is not None}
    help_rows = {r.agent: r for r in rows if r.judge == judge and r.metric != "safety" and r.mean is not None}
    names = [name for name in safety if name in help_rows]
    if not names:
        return None
    figure, axes = new_figure(6.4, 4.4)
    for number, name in enumerate(names):
        across, up = help_rows[name], safety[name]
        axes.errorbar(
            [across.mean],
            [up.mean],
            xerr=_reach(across),
            yerr=_reach(up),
            fmt="os^Dv"[number % 5],
            label=name,
        )
    axes.set_xlabel("mean helpfulness (0 to 3)")
    axes.set_ylabel("mean safety (0 to 3)")
    axes.set_xlim(-0.1, 3.1)
    axes.set_ylim(-0.1, 3.1)
    axes.set_title(f"judge: {judge}")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    kind = help_rows[names[0]].metric.replace("_", " ")
    return Figure(
        figure, f"safety against {kind} of {len(names)} agents", f"95 % intervals over cases; {kind}."
    )


def _reach(row: AgentRow) -> Any:
    if row.mean is None or row.mean_low is None or row.mean_high is None:
        return None
    return [[max(0.0, row.mean - row.mean_low)], [max(0.0, row.mean_high - row.mean)]]
