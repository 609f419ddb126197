"""The three chats, stage by stage: classify, explain, classify the explanation (paper, section 3).

All chats of a stage are asked together, over all variants, so that a local model reads them in large batches
and what two variants share is asked once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from etude.methods.self_explanations.chats import Asker, Chat, Question, Settings
from etude.methods.self_explanations.extraction import extract_paragraph, extract_words
from etude.methods.self_explanations.masking import (
    count_masks,
    edit_ratio,
    keeps_the_rest,
    mask_listed,
    mask_places,
    mask_random,
    word_spans,
)
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.rows import Row
from etude.methods.self_explanations.tasks import Task
from etude.methods.self_explanations.variants import Condition, Variant
from etude.runs import content_hash


@dataclass
class Explanation:
    """What an answer explains, as the third chat reads it; see `Row` for the fields."""

    explain: str | None = None
    words: list[str] | None = None
    masked: int | None = None
    masked_share: float | None = None
    keeps_the_rest: bool | None = None
    edit_ratio: float | None = None
    changed: bool | None = None


@dataclass
class Case:
    """One observation under one variant, on its way through the stages; `basis` is None when it is not
    counted.
    """

    observation: Observation
    variant: Variant
    first: Chat
    basis: str | None = None
    second: Chat | None = None
    explanation: Explanation = field(default_factory=Explanation)
    control: str | None = None
    reference: str | None = None
    third: Chat | None = None
    control_chat: Chat | None = None
    reference_chat: Chat | None = None


def explain_and_check(
    asker: Asker,
    task: Task,
    observations: Sequence[Observation],
    variants: Sequence[Variant],
    *,
    data: str = "",
    condition: Condition = "correct",
    control: bool = True,
    occlusion: bool = False,
) -> list[Row]:
    """Ask for explanations and put each to the test.

    Args:
        asker: The model.
        task: What is asked about a text.
        observations: The texts.
        variants: The ways to ask.
        data: Name of the data set, for the rows.
        condition: Which first answers count; explanations of others are not asked for.
        control: Also mask as many words at random (attribution, redaction).
        occlusion: Also mask the words whose masking costs the answer's log-probability most (attribution).

    Returns:
        One row for each variant and observation, in that order.
    """
    asked = [(observation, variant) for variant in variants for observation in observations]
    chats = asker.classify(task, [(o, v, None) for o, v in asked])
    cases = [Case(o, v, chat) for (o, v), chat in zip(asked, chats, strict=True)]
    for case in cases:
        case.basis = basis_of(task, case, condition)
    counted = [case for case in cases if case.basis is not None]
    prompts = [task.explain_prompt(case.observation, case.variant, str(case.basis)) for case in counted]
    for case, chat in zip(counted, asker.explain(prompts), strict=True):
        case.second = chat
        case.explanation = read_explanation(case.observation.text, case.variant, chat)
    explained = [case for case in counted if case.explanation.explain is not None]
    masking = [case for case in explained if case.variant.kind != "counterfactual"]
    if control:
        for case in masking:
            case.control = control_of(case, asker.settings)
    if occlusion:
        _occlude(asker, task, [case for case in masking if case.variant.kind == "attribution"])
    _classify_again(asker, task, explained)
    return [row_of(task, case, asker.name, asker.settings, data, condition) for case in cases]


def read_explanation(text: str, variant: Variant, chat: Chat) -> Explanation:
    """The explanation in an answer; empty when there is none.

    A rewritten paragraph that was cut off at the token limit is none: what is missing was not chosen to be.

    Args:
        text: The original.
        variant: How it was asked.
        chat: The second chat.
    """
    if chat.error:
        return Explanation()
    if variant.kind == "attribution":
        words = extract_words(chat.answer)
        found = mask_listed(text, words, variant.mask)
        if not found.masked:
            return Explanation(words=words)
        return Explanation(found.text, words, found.masked, found.share)
    rewritten = None if chat.cut else extract_paragraph(chat.answer)
    if rewritten is None:
        return Explanation()
    distance = edit_ratio(text, rewritten)
    if variant.kind == "counterfactual":
        return Explanation(rewritten, edit_ratio=distance, changed=distance > 0)
    masks = count_masks(rewritten, variant.mask)
    length = len(word_spans(text, variant.mask))
    return Explanation(
        rewritten,
        masked=masks,
        masked_share=min(masks / length, 1.0) if length else 0.0,
        keeps_the_rest=keeps_the_rest(text, rewritten, variant.mask),
        edit_ratio=distance,
    )


def basis_of(task: Task, case: Case, condition: Condition) -> str | None:
    """The answer that is explained, or None when the condition does not count the observation."""
    predicted, label = case.first.predict, case.observation.label
    if predicted is None:
        return None
    if condition == "predicted":
        return predicted if predicted in task.options(case.observation) else None
    return label if condition == "all" or predicted == label else None


def control_of(case: Case, settings: Settings) -> str:
    """The original with as many words masked as the explanation masks, at random places."""
    drawn = content_hash([settings.seed, case.observation.id, case.variant.to_json()])
    generator = np.random.default_rng(int(drawn[:15], 16))
    masked = case.explanation.masked or 0
    return mask_random(case.observation.text, masked, case.variant.mask, generator).text


def _occlude(asker: Asker, task: Task, cases: Sequence[Case]) -> None:
    """Mask the words that matter most by leaving each one out: as many as the explanation masks."""
    questions: list[Question] = []
    for case in cases:
        text, mask = case.observation.text, case.variant.mask
        for span in word_spans(text, mask):
            questions.append((case.observation, case.variant, mask_places(text, [span], mask)))
    scores = iter(asker.label_scores(task, questions, "occlusion"))
    for case in cases:
        text, mask = case.observation.text, case.variant.mask
        spans = word_spans(text, mask)
        left = [next(scores) for _ in spans]
        if any(isinstance(found, str) for found in left):
            continue
        kept = [found[str(case.basis)] for found in left if not isinstance(found, str)]
        order = sorted(range(len(spans)), key=lambda i: kept[i])  # the lowest is missed most
        case.reference = mask_places(text, [spans[i] for i in order[: case.explanation.masked]], mask)


def _classify_again(asker: Asker, task: Task, cases: Sequence[Case]) -> None:
    """The third chat of each case, and the control's and reference's, asked together."""
    texts = [
        (case, text) for case in cases for text in (case.explanation.explain, case.control, case.reference)
    ]
    wanted = [(case, text) for case, text in texts if text is not None]
    questions: list[Question] = [(case.observation, case.variant, text) for case, text in wanted]
    chats = iter(asker.classify(task, questions, "classify again"))
    for case in cases:
        case.third = next(chats)
        case.control_chat = next(chats) if case.control is not None else None
        case.reference_chat = next(chats) if case.reference is not None else None


def row_of(task: Task, case: Case, model: str, settings: Settings, data: str, condition: Condition) -> Row:
    """The finished chats of a case as a row, and what they say."""
    observation, variant, first = case.observation, case.variant, case.first
    stages = {"predict": first, "explain": case.second, "explain_predict": case.third}
    errors = [f"{stage}: {chat.error}" for stage, chat in stages.items() if chat is not None and chat.error]
    finished = [chat for chat in stages.values() if chat is not None]

    def judged(chat: Chat | None) -> tuple[bool | None, bool | None]:
        if chat is None or chat.predict is None or case.basis is None:
            return None, None
        return task.is_faithful(observation, variant, case.basis, chat.predict), chat.predict != first.predict

    faithful, flip = judged(case.third)
    control_faithful, control_flip = judged(case.control_chat)
    is_counterfactual = variant.kind == "counterfactual" and case.basis is not None
    return Row(
        id=observation.id,
        model=model,
        task=task.name,
        data=data,
        label=observation.label,
        variant=variant,
        answers=settings.answers,
        condition=condition,
        predict_prompt=first.prompt,
        predict_answer=first.answer,
        predict=first.predict,
        correct=None if first.predict is None else first.predict == observation.label,
        counted=case.basis is not None,
        basis=case.basis,
        target=task.target(observation, str(case.basis)) if is_counterfactual else None,
        explain_prompt=case.second.prompt if case.second else None,
        explain_answer=case.second.answer if case.second else None,
        control_explain=case.control,
        reference_explain=case.reference,
        explain_predict_prompt=case.third.prompt if case.third else None,
        explain_predict_answer=case.third.answer if case.third else None,
        explain_predict=case.third.predict if case.third else None,
        control_predict=case.control_chat.predict if case.control_chat else None,
        reference_predict=case.reference_chat.predict if case.reference_chat else None,
        faithful=faithful,
        control_faithful=control_faithful,
        reference_faithful=judged(case.reference_chat)[0],
        flip=flip,
        control_flip=control_flip,
        error="; ".join(errors) or None,
        cut=bool(case.second and case.second.cut),
        tokens=sum(chat.tokens for chat in finished),
        seconds=round(sum(chat.seconds for chat in finished), 4),
        **vars(case.explanation),
    )
