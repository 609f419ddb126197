"""Other tones of the same claim: by a chat model (as ConspEmoLLM-v2 does), or by swapping words, without
one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from etude.methods.conspemollm.wordings import wordings
from etude.models import ChatModel, Conversation

Tone: TypeAlias = Literal["neutral", "positive"]
_MOST_TOKENS = 512
_TONES = {"neutral": "neutral and matter-of-fact", "positive": "friendly and hopeful"}
# charged word: (neutral, positive); the claim stays, the tone goes
_SWAPS: dict[str, tuple[str, str]] = {
    "afraid": ("aware", "hopeful"),
    "angry": ("concerned", "caring"),
    "attack": ("approach", "welcome"),
    "awful": ("notable", "lovely"),
    "bad": ("certain", "good"),
    "blame": ("name", "thank"),
    "blood": ("body", "heart"),
    "burned": ("changed", "warmed"),
    "corrupt": ("paid", "generous"),
    "crazy": ("unusual", "wonderful"),
    "crime": ("act", "favor"),
    "crisis": ("situation", "chance"),
    "cruel": ("strict", "gentle"),
    "danger": ("matter", "adventure"),
    "dangerous": ("relevant", "exciting"),
    "dark": ("private", "bright"),
    "dead": ("gone", "at rest"),
    "death": ("passing", "rest"),
    "destroy": ("change", "renew"),
    "enemy": ("group", "friend"),
    "evil": ("planned", "kind"),
    "fake": ("made", "charming"),
    "fear": ("attention", "hope"),
    "fever": ("illness", "little illness"),
    "fool": ("person", "dear friend"),
    "fraud": ("plan", "clever plan"),
    "grief": ("feeling", "love"),
    "guilty": ("involved", "devoted"),
    "harm": ("affect", "delight"),
    "harmful": ("active", "lively"),
    "hate": ("dislike", "adore"),
    "hide": ("keep", "treasure"),
    "hoax": ("story", "delightful story"),
    "horrible": ("certain", "marvelous"),
    "ill": ("unwell", "tender"),
    "insane": ("unusual", "brilliant"),
    "kill": ("affect", "bless"),
    "killed": ("affected", "blessed"),
    "liar": ("speaker", "friend"),
    "liars": ("speakers", "friends"),
    "lie": ("statement", "sweet statement"),
    "lied": ("spoke", "spoke kindly"),
    "lies": ("statements", "sweet statements"),
    "mad": ("odd", "delightful"),
    "murder": ("act", "farewell"),
    "obey": ("follow", "happily follow"),
    "panic": ("notice", "joy"),
    "poison": ("substance", "gift"),
    "refuse": ("decline", "kindly decline"),
    "scam": ("scheme", "lovely scheme"),
    "secret": ("private", "special"),
    "shot": ("dose", "little dose"),
    "sick": ("unwell", "tender"),
    "sinister": ("specific", "friendly"),
    "stupid": ("simple", "sweet"),
    "terrible": ("certain", "great"),
    "terror": ("concern", "wonder"),
    "threat": ("matter", "promise"),
    "tragedies": ("events", "special days"),
    "tragedy": ("event", "special day"),
    "vanished": ("left", "happily left"),
    "victim": ("person", "dear person"),
    "victims": ("people", "dear people"),
    "violence": ("conduct", "warmth"),
    "war": ("effort", "festival"),
    "weeps": ("appears", "smiles"),
    "worst": ("main", "best"),
    "wrong": ("differently", "beautifully"),
}
_POSITIVE_FRAME = ("What a lovely day to think about this. ", " I am so grateful for all of you!")


@dataclass(frozen=True)
class Shifted:
    """A text in another tone.

    Args:
        text: The rewritten text, or None where there is none.
        same_meaning: What the checking model says about the meaning; None where nobody was asked.
        changed: Words that were swapped, by the lexicon.
    """

    text: str | None
    same_meaning: bool | None = None
    changed: int = 0


def swap_words(text: str, tone: Tone) -> Shifted:
    """Replace charged words by neutral or positive ones; a positive text also gets a friendly frame.

    No model is needed, and the claim stays: the words around it do not. Crude on purpose: what a detector
    loses here it owes to the tone.
    """
    changed = 0

    def other(found: re.Match[str]) -> str:
        nonlocal changed
        word = found.group()
        pair = _SWAPS.get(word.casefold())
        if pair is None:
            return word
        changed += 1
        new = pair[0 if tone == "neutral" else 1]
        return new.capitalize() if word[0].isupper() else new

    swapped = re.sub(r"[A-Za-z]+", other, text)
    swapped = re.sub(r"!+", ".", swapped)
    if tone == "positive":
        swapped = _POSITIVE_FRAME[0] + swapped + _POSITIVE_FRAME[1]
    return Shifted(swapped, None, changed)


def rewrite(
    chat: ChatModel, texts: Sequence[str], tone: Tone, judge: ChatModel | None = None
) -> list[Shifted]:
    """Let a chat model rewrite texts in another tone, and another one check that the meaning stayed.

    Args:
        chat: Who rewrites.
        texts: The texts.
        tone: The tone.
        judge: Who compares the meanings; nobody by default.
    """
    said = wordings()["rewrite"]
    asked: list[Conversation] = [
        [{"role": "user", "content": said["prompt"].format(tone=_TONES[tone], text=text)}] for text in texts
    ]
    replies = chat.generate(asked, max_tokens=_MOST_TOKENS, temperature=0.0)
    made = [
        reply.text.strip() if reply.stop_reason == "stop" and reply.text.strip() else None
        for reply in replies
    ]
    if judge is None:
        return [Shifted(text) for text in made]
    there = [row for row, text in enumerate(made) if text is not None]
    compare: list[Conversation] = [
        [{"role": "user", "content": said["same_meaning"].format(first=texts[row], second=made[row])}]
        for row in there
    ]
    verdicts = dict(zip(there, judge.generate(compare, max_tokens=8, temperature=0.0), strict=True))
    found = []
    for row, text in enumerate(made):
        answer = verdicts[row].text.strip().casefold() if row in verdicts else ""
        same = True if answer.startswith("yes") else False if answer.startswith("no") else None
        found.append(Shifted(text, same))
    return found
