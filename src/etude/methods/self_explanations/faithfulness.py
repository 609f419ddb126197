"""`SelfExplain`: the whole check on one model, from observations to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etude.methods.self_explanations.chats import Asker, Settings
from etude.methods.self_explanations.experiment import explain_and_check
from etude.methods.self_explanations.observations import Observation, distinct
from etude.methods.self_explanations.rates import Cell, cells_of
from etude.methods.self_explanations.rows import Row
from etude.methods.self_explanations.tasks import Task
from etude.methods.self_explanations.variants import Condition, Kind, Mask, Persona, Target, Variant
from etude.models import StoredChat, chat_model


@dataclass(frozen=True)
class Report:
    """What came out.

    Args:
        cells: The rates.
        rows: Every transcript.
        calls: Prompts sent to the model or its store.
    """

    cells: list[Cell]
    rows: list[Row]
    calls: int


class SelfExplain:
    """Do a model's explanations of its own answers describe what drives it?

    Args:
        model: A chat model or its name.
        task: `Sentiment()`, `MultiChoice()`, `Entailment()` or `Custom(labels, question)`.
        kind: counterfactual, attribution or redaction.
        persona: Who answers and explains: objective, you or human.
        mask: [REDACTED] or [REMOVED].
        target: Whether a counterfactual's target is named: explicit or implicit.
        condition: Which first answers count: correct (the paper's), predicted or all.
        settings: How the model is asked.

    Example:
        check = SelfExplain("smollm2", Sentiment(), "attribution", settings=Settings("calibrated",
        max_tokens=32)) check.run([Observation("1", "a dull and lifeless film", "negative"),
        ...]).cells[0].delta
    """

    def __init__(
        self,
        model: StoredChat | str,
        task: Task,
        kind: Kind,
        persona: Persona = "objective",
        mask: Mask = "[REDACTED]",
        target: Target = "explicit",
        condition: Condition = "correct",
        settings: Settings | None = None,
    ) -> None:
        self.model = chat_model(model) if isinstance(model, str) else model
        self.task = task
        self.variant = Variant(kind, persona, mask, target)
        self.condition = condition
        self.settings = settings or Settings()

    def run(
        self, observations: Sequence[Observation], *, control: bool = True, occlusion: bool = False
    ) -> Report:
        """Ask, mask, ask again, and count.

        Args:
            observations: The texts, each with an id of its own.
            control: Also mask as many words at random.
            occlusion: Also the occlusion reference; needs label log-probabilities.

        Raises:
            EtudeError: Two observations share an id, or the model cannot be asked.
        """
        asker = Asker(self.model, self.settings)
        given = distinct(observations, "observations")
        rows = explain_and_check(
            asker,
            self.task,
            given,
            [self.variant],
            condition=self.condition,
            control=control,
            occlusion=occlusion,
        )
        return Report(cells_of(rows, self.settings.seed), rows, asker.calls)
