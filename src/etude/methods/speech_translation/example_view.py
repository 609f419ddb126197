"""The verb `show`: one training example as the model gets it, with the mask of what is learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.speech_translation.audio import audio_seconds
from etude.methods.speech_translation.design import Task, read_design
from etude.methods.speech_translation.mixing import PromptMixer
from etude.methods.speech_translation.tasks import check_fields, target_text
from etude.methods.speech_translation.training_run import assembled_design
from etude.methods.speech_translation.utterances import read_utterances
from etude.render import Shaded
from etude.render import show as show_block

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class ExampleView:
    """One example in pieces.

    Args:
        id: The utterance.
        task: What is learned.
        llm: Whose tokens these are.
        seconds: Of its audio.
        pieces: `{part, text, learned}` in order: prompt tokens, the speech, target tokens, the end token.
    """

    id: str
    task: str
    llm: str
    seconds: float
    pieces: list[dict[str, Any]]

    def __rich__(self) -> RenderableType:
        """Tokens in order; shaded ones carry the loss."""
        shaded = [(f"[{p['text']}]", 1.0 if p["learned"] else 0.0) for p in self.pieces]
        caption = f"{self.id}, {self.task}, {self.llm}, {self.seconds:.1f} s (shaded: learned)"
        return show_block(Shaded(shaded, caption))


@verb
def show(
    data: str,
    *,
    example: int = 0,
    task: Task = "st",
    target_lang: str | None = None,
    preset: str = "base",
    llm: str = "smollm2",
    design: Path | None = None,
) -> ExampleView:
    """Show a training example token by token: prompt, speech, target, and which tokens are learned.

    Args:
        data: As for `train`.
        example: Which row, from 0.
        task: asr, st, chain, qa or continuation.
        target_lang: Where the row does not say it.
        preset: Whose prompts.
        llm: Whose tokens and chat template.
        design: A design file in place of preset and llm.

    Raises:
        EtudeError: No such row, or the task needs a field it does not have.
    """
    from etude.methods.speech_translation.language_models import load_language_model

    rows = read_utterances(data)
    if not 0 <= example < len(rows):
        raise EtudeError(f"{data} has no row {example}", f"It has the rows 0 to {len(rows) - 1}.")
    utterance = rows[example]
    if target_lang and not utterance.target_lang:
        utterance = utterance.model_copy(update={"target_lang": target_lang})
    check_fields([utterance], [task])
    wanted = read_design(design) if design else assembled_design(preset, llm=llm)
    language = load_language_model(wanted.llm.name)
    mixer = PromptMixer(wanted.mixer, language)
    prompt = mixer.prompt(utterance, task)
    told = "(the model's own continuation)" if task == "continuation" else target_text(utterance, task)
    tokenizer: Any = language.tokenizer
    pieces = [_piece(tokenizer, "prompt", [i]) for i in prompt.before]
    pieces.append({"part": "speech", "text": f"speech of {utterance.audio}", "learned": False})
    pieces += [_piece(tokenizer, "prompt", [i]) for i in prompt.after]
    pieces += [_piece(tokenizer, "target", [i], learned=True) for i in mixer.target(told)]
    return ExampleView(
        utterance.id, task, wanted.llm.name, round(audio_seconds(utterance.reference), 3), pieces
    )


def _piece(tokenizer: Any, part: str, ids: list[int], *, learned: bool = False) -> dict[str, Any]:
    return {"part": part, "text": str(tokenizer.decode(ids)), "learned": learned}
