"""`ConspEmo`: one face over both families and all affect routes: fit, predict, evaluate, save, load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.conspemollm.affect_tasks import Instruction, affect_instructions, shuffle_answers
from etude.methods.conspemollm.annotator import AffectAnnotator, AffectSettings, verbalize
from etude.methods.conspemollm.causal_detector import CausalDetector, StageReport
from etude.methods.conspemollm.emobank import EmoBank
from etude.methods.conspemollm.encoder_detector import EncoderDetector
from etude.methods.conspemollm.examples import Example
from etude.methods.conspemollm.metrics import Scores, scores_of
from etude.methods.conspemollm.settings import Route, Settings, StageSettings, check_family, family_of
from etude.methods.conspemollm.shuffling import other_rows
from etude.methods.conspemollm.tasks import INVALID, TaskName, short_name, task_named
from etude.methods.conspemollm.wordings import wording_hash
from etude.models import model_directory
from etude.runs import Run, content_hash, read_json, write_json

if TYPE_CHECKING:
    import polars as pl

FILE, VAD_FILE = "detector.json", "vad.safetensors"


@dataclass(frozen=True)
class FitReport:
    """What fitting did.

    Args:
        stage_a: Tuning on affect tasks (route affect-base), or None.
        stage_b: Tuning on detection, or None where only a head was fitted.
        examples: Detection examples used.
    """

    stage_a: StageReport | None
    stage_b: StageReport | None
    examples: int


class ConspEmo:
    """A conspiracy detector.

        detector = ConspEmo("minilm", "affect-features", ("judgment",))
        detector.fit(read_examples("condid"), out="run")
        detector.predict([("a", "They hide the cure.")], "judgment")

    Args:
        model: An encoder or a causal language model, by name.
        affect_route: `none`, `affect-base`, `affect-features` or `affect-prompt`.
        tasks: What it is fitted for.
        settings: All other settings; model and route above win when given.

    Raises:
        EtudeError: No such model, or the family has no such route.
    """

    def __init__(
        self,
        model: str | None = None,
        affect_route: Route | None = None,
        tasks: Sequence[TaskName] = ("judgment",),
        *,
        settings: Settings | None = None,
    ) -> None:
        base = settings or Settings()
        base = replace(base, model=model or base.model, route=affect_route or base.route)
        self.family = family_of(base.model)
        if self.family == "causal" and settings is None:
            base = replace(base, tuning="lora")
        check_family(base, self.family)
        self.settings, self.tasks = base, tuple(tasks)
        self._causal: CausalDetector | None = None
        self._encoder: EncoderDetector | None = None
        self._annotator: AffectAnnotator | None = None
        self._folder: Path | None = None  # where its weights are, until they are needed
        self.revision = "untrained"

    @property
    def causal(self) -> CausalDetector:
        """The language model's side."""
        if self._causal is None and self._folder is not None:
            self._causal = CausalDetector.load(self.settings, self._folder)
        elif self._causal is None:
            self._causal = CausalDetector(self.settings)
        return self._causal

    @property
    def encoder(self) -> EncoderDetector:
        """The encoder's side."""
        if self._encoder is None and self._folder is not None:
            self._encoder = EncoderDetector.load(self.settings, self._folder, self.tasks)
        elif self._encoder is None:
            self._encoder = EncoderDetector(self.settings)
        return self._encoder

    @property
    def annotator(self) -> AffectAnnotator:
        """Where affect values come from (routes R2 and R3)."""
        if self._annotator is None:
            self._annotator = AffectAnnotator(self.settings.affect)
        return self._annotator

    @property
    def identity(self) -> dict[str, Any]:
        """What determines its predictions, for every output."""
        return {
            "model": self.settings.model,
            "family": self.family,
            "affect_route": self.settings.route,
            "shuffled_affect": self.settings.shuffle_affect,
            "seed": self.settings.seed,
            "model_hash": self.revision,
            "template_hash": wording_hash(),
        }

    def fit(
        self,
        examples: Sequence[Example],
        *,
        out: Path | str,
        sentences: EmoBank | None = None,
        affect_examples: Sequence[Instruction] = (),
        held_out: Sequence[Example] = (),
    ) -> FitReport:
        """Fit on examples; resumable, and saved to `out`.

        Args:
            examples: What to learn from.
            out: Run folder.
            sentences: EmoBank's training sentences, for stage A (route affect-base).
            affect_examples: Affect instructions of one's own for stage A, instead of EmoBank's (causal).
            held_out: Validation examples, on which the weights are selected (causal).
        """
        config = self.config([*examples, *held_out], sentences, affect_examples)
        with Run(out, config, command="conspemollm fit") as run:
            report = self.fit_in(run, examples, sentences, affect_examples, held_out)
            if run.result is None:
                run.complete(asdict(report))
        return report

    def config(
        self, examples: Sequence[Example], sentences: EmoBank | None, affect_examples: Sequence[Instruction]
    ) -> dict[str, Any]:
        """What determines a fit: settings and the content of all that is learned from."""
        return {
            "settings": self.settings.to_json(),
            "tasks": list(self.tasks),
            "examples": content_hash([one.model_dump(mode="json") for one in examples]),
            "sentences": content_hash([sentences.ids, sentences.ratings.tolist()]) if sentences else None,
            "affect_examples": content_hash([vars(one) for one in affect_examples]),
            "wording": wording_hash(),
        }

    def fit_in(
        self,
        run: Run,
        examples: Sequence[Example],
        sentences: EmoBank | None = None,
        affect_examples: Sequence[Instruction] = (),
        held_out: Sequence[Example] = (),
    ) -> FitReport:
        """`fit` within a run that is open already."""
        chosen = [one for one in examples if one.task in self.tasks]
        if not chosen:
            raise EtudeError(f"no example of {', '.join(self.tasks)}", "Build some, or name other tasks.")
        stage_a = self.tune_on_affect(run, sentences, affect_examples)
        if self.family == "causal":
            held = [one for one in held_out if one.task in self.tasks]
            rows, dev = self.instructions(chosen), self.instructions(held)
            stage_b: StageReport | None = self.causal.tune("stage B", rows, dev, self.settings.stage_b, run)
        else:
            stage_b = None
            if self.settings.tuning != "head":
                stage_b = self.encoder.tune_on_examples(chosen, self.settings.stage_b, run)
            self.encoder.fit_heads(chosen, self.affect_matrix([one.input for one in chosen]))
        self.save(run.path)
        return FitReport(stage_a, stage_b, len(chosen))

    def tune_on_affect(
        self, run: Run, sentences: EmoBank | None, affect_examples: Sequence[Instruction] = ()
    ) -> StageReport | None:
        """Stage A of route affect-base, or nothing on the other routes."""
        if self.settings.route != "affect-base":
            return None
        if sentences is None and not affect_examples:
            raise EtudeError("route affect-base has nothing to learn affect from", "Give --emobank FILE.")
        how, seed = self.settings.stage_a, self.settings.seed
        taken = (
            None
            if sentences is None
            else sentences.sample(self.settings.affect_rows, seed, self.settings.affect_words)
        )
        if self.family == "causal":
            rows = list(affect_examples) or affect_instructions(taken or EmoBank((), (), np.zeros((0, 3))))
            if self.settings.shuffle_affect:
                rows = shuffle_answers(rows, seed)
            return self.causal.tune("stage A", rows, (), how, run)
        if taken is None:
            raise EtudeError("an encoder's stage A regresses EmoBank's ratings", "Give --emobank FILE.")
        return self.encoder.tune_on_affect(
            taken.shuffled(seed) if self.settings.shuffle_affect else taken, how, run
        )

    def instructions(self, examples: Sequence[Example]) -> list[Instruction]:
        """Training rows of examples, with the line of affect values on route affect-prompt."""
        lines = self.affect_lines([one.input for one in examples])
        return [
            Instruction(one.statement, one.input, one.conspiracy_task.answer(one.labels), line)
            for one, line in zip(examples, lines, strict=True)
        ]

    def affect_matrix(self, texts: Sequence[str]) -> NDArray[np.float64] | None:
        """Affect values of texts on route affect-features, else None; of other texts for its control."""
        if self.settings.route != "affect-features":
            return None
        found = self.annotator.matrix(texts)
        return found[self._order(len(texts))]

    def affect_lines(self, texts: Sequence[str]) -> list[str]:
        """The prompt's line for each text on route affect-prompt, else empty lines."""
        if self.settings.route != "affect-prompt":
            return [""] * len(texts)
        lines = [verbalize(row) for row in self.annotator.table(texts)]
        return [lines[at] for at in self._order(len(texts))]

    def _order(self, count: int) -> NDArray[np.intp]:
        if not self.settings.shuffle_affect:
            return np.arange(count)
        return other_rows(count, self.settings.seed)

    def probabilities(
        self,
        texts: Sequence[str],
        task: str,
        statement: str | None = None,
        shots: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[tuple[int, ...]], NDArray[np.float64]]:
        """Class numbers of each text, and the probability of each class, (texts, classes).

        Args:
            texts: The texts.
            task: The task.
            statement: What a language model is asked; the task's own statement by default.
            shots: Solved examples, for a language model.
        """
        asked = task_named(task)
        if self.family == "causal":
            lines = self.affect_lines(texts) if self.settings.route == "affect-prompt" else ()
            return self.causal.probabilities(asked, statement or asked.statement(), texts, lines, shots)
        if task not in self.encoder.heads:
            raise EtudeError(
                f"this detector was not fitted for {task}", f"It knows {', '.join(self.encoder.heads)}."
            )
        each = self.encoder.heads[task].probabilities(self.encoder.features(texts, self.affect_matrix(texts)))
        if asked.multi_label:
            return [tuple(int(at) for at in np.flatnonzero(row > 0.5)) for row in each], each
        return [(int(row.argmax()),) for row in each], each

    def predict(
        self, texts: Sequence[tuple[str, str]], task: TaskName = "judgment", theory: str | None = None
    ) -> pl.DataFrame:
        """Predict texts.

        Args:
            texts: (id, text) pairs.
            task: What to predict.
            theory: For relatedness.

        Returns:
            Columns `id`, `label`, `p_CLASS` for each class, and on routes R2 and R3 the affect values.
        """
        import polars as pl

        return pl.DataFrame(self.predict_rows(texts, task, theory), infer_schema_length=None)

    def predict_rows(
        self,
        texts: Sequence[tuple[str, str]],
        task: str,
        theory: str | None = None,
        shots: Sequence[tuple[str, str]] = (),
    ) -> list[dict[str, Any]]:
        """`predict` as dictionaries. An empty text is `invalid`, never some class."""
        asked = task_named(task)
        statement = asked.statement(theory) if theory or not asked.needs_theory else None
        full = [(name, text) for name, text in texts if text.strip()]
        labels, each = (
            self.probabilities([text for _, text in full], task, statement, shots)
            if full
            else ([], np.zeros((0, 0)))
        )
        affect: list[dict[str, float | None]] = [{} for _ in full]
        if self.settings.route in ("affect-features", "affect-prompt"):
            affect = self.annotator.table([text for _, text in full])
        columns = [f"p_{short_name(label)}" for label in asked.classes]
        found = {
            name: {
                "label": asked.answer(label),
                **dict(zip(columns, map(float, shares), strict=True)),
                **values,
            }
            for (name, _), label, shares, values in zip(full, labels, each, affect, strict=True)
        }
        empty = {"label": INVALID, **dict.fromkeys(columns)}
        return [{"id": name, **found.get(name, empty)} for name, _ in texts]

    def evaluate(self, examples: Sequence[Example]) -> dict[str, Scores]:
        """Scores on examples, by task, with intervals over groups."""
        found: dict[str, Scores] = {}
        for name in dict.fromkeys(one.task for one in examples if one.task in self.tasks):
            chosen = [one for one in examples if one.task == name]
            labels: list[tuple[int, ...] | None] = [None] * len(chosen)
            each = np.zeros((len(chosen), len(task_named(name).classes)))
            for statement in dict.fromkeys(one.statement for one in chosen):
                rows = [row for row, one in enumerate(chosen) if one.statement == statement]
                said, shares = self.probabilities([chosen[row].input for row in rows], name, statement)
                each[rows] = shares
                for row, label in zip(rows, said, strict=True):
                    labels[row] = label
            found[name] = scores_of(
                task_named(name), [one.labels for one in chosen], labels, each, [one.group for one in chosen]
            )
        return found

    def save(self, folder: Path) -> None:
        """Write weights and `detector.json`."""
        side = self.causal if self.family == "causal" else self.encoder
        self.revision = side.save(folder)
        if self._annotator is not None and self._annotator.head is not None:
            self._annotator.head.save(folder / VAD_FILE)
        shown = {**asdict(self.settings), "affect": asdict(self.settings.affect)}
        write_json(
            folder / FILE,
            {"settings": shown, "tasks": list(self.tasks), "family": self.family, "revision": self.revision,
             "base_revision": _revision(self.settings.model), "wording": wording_hash()},
        )  # fmt: skip

    @classmethod
    def load(cls, folder: Path | str) -> ConspEmo:
        """Read what `save` wrote; the weights load when they are first needed.

        Raises:
            EtudeError: No detector is there, it was trained with other wording, or its base model changed.
        """
        folder = Path(folder)
        if not (folder / FILE).is_file():
            raise EtudeError(
                f"{folder}: holds no trained detector", "Give a folder written by etude conspemollm train."
            )
        stored = read_json(folder / FILE)
        if stored["wording"] != wording_hash():
            raise EtudeError(
                f"{folder}: trained with wording {stored['wording']}, this version has {wording_hash()}",
                "Train again, or use the version of etude it was trained with.",
            )
        fields = dict(stored["settings"])
        affect = {**fields["affect"], "providers": tuple(fields["affect"]["providers"])}
        if (folder / VAD_FILE).is_file():
            affect["vad_file"] = str(folder / VAD_FILE)
        settings = Settings(**{
            **fields,
            "affect": AffectSettings(**affect),
            "stage_a": StageSettings(**fields["stage_a"]),
            "stage_b": StageSettings(**fields["stage_b"]),
        })  # fmt: skip
        if _revision(settings.model) != stored["base_revision"]:
            raise EtudeError(
                f"{settings.model} is not the model this detector was trained on",
                "Use the same files, or train again.",
            )
        made = cls(tasks=stored["tasks"], settings=settings)
        made._folder, made.revision = folder, stored["revision"]
        return made


def _revision(model: str) -> str:
    from etude.models import model_revision

    return model_revision(model_directory(model))
