"""Does the check measure faithfulness? Instruments of known faithfulness must get what theory gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etude.evidence import Interval
from etude.methods.self_explanations.chats import Asker, Settings
from etude.methods.self_explanations.experiment import explain_and_check
from etude.methods.self_explanations.instruments import NAMES, Mixture, as_chat, instrument
from etude.methods.self_explanations.lexicon import Lexicon
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.rates import cells_of
from etude.methods.self_explanations.rows import Row
from etude.methods.self_explanations.tasks import Sentiment
from etude.methods.self_explanations.theory import listed_at_random, share_interval
from etude.methods.self_explanations.variants import Variant


@dataclass(frozen=True)
class Verification:
    """One instrument, measured.

    Args:
        instrument: Its name.
        counted: Observations in the rate.
        expected: What theory gives, on average over these observations.
        low: Lower end of where the measured rate must lie.
        high: Upper end.
        faithfulness: What was measured.
        control: The same with as many words masked at random.
        delta: The difference.
        passed: Whether the rate lies where it must.
    """

    instrument: str
    counted: int
    expected: float
    low: float
    high: float
    faithfulness: Interval
    control: Interval
    delta: Interval
    passed: bool


def measure_instrument(
    name: str, observations: Sequence[Observation], lexicon: Lexicon, seed: int = 0
) -> list[Row]:
    """The whole check, feature attribution with default prompts, on one instrument."""
    asker = Asker(as_chat(instrument(name, lexicon, seed)), Settings(seed=seed))
    return explain_and_check(asker, Sentiment(), observations, [Variant("attribution")])


def verify_instruments(
    observations: Sequence[Observation], lexicon: Lexicon, seed: int = 0
) -> list[Verification]:
    """Put every instrument to the test.

    Args:
        observations: Sentiment observations.
        lexicon: What the instruments know.
        seed: Of their random parts and of the control.

    Returns:
        One verification for each instrument that has counted observations.
    """
    texts = {observation.id: observation.text for observation in observations}
    found = []
    for name in NAMES:
        rows = measure_instrument(name, observations, lexicon, seed)
        verified = verify(name, rows, texts, lexicon, seed)
        if verified is not None:
            found.append(verified)
    return found


def verify(
    name: str, rows: Sequence[Row], texts: dict[str, str], lexicon: Lexicon, seed: int = 0
) -> Verification | None:
    """Compare what was measured with what theory gives; None when nothing was counted."""
    [cell] = cells_of(rows, seed)
    if cell.faithfulness is None or cell.control is None or cell.delta is None:
        return None
    kept = [texts[row.id] for row in rows if row.faithful is not None]
    chances = _chances(name, kept, lexicon)
    low, high = share_interval(chances)
    rate = cell.faithfulness.value
    passed = low <= rate <= high and (name != "refuser" or cell.delta.value == 0)
    return Verification(
        name,
        cell.counted,
        sum(chances) / len(chances),
        low,
        high,
        cell.faithfulness,
        cell.control,
        cell.delta,
        passed,
    )


def _chances(name: str, texts: Sequence[str], lexicon: Lexicon) -> list[float]:
    """Each text's chance of a faithful explanation."""
    if name in ("honest", "refuser"):
        return [1.0] * len(texts)
    if name == "hidden-rule":
        return [0.0] * len(texts)
    truth = instrument(name)
    p = truth.p if isinstance(truth, Mixture) else 0.0
    return [p + (1 - p) * listed_at_random(text, lexicon) for text in texts]


def tells_apart(found: Sequence[Verification]) -> bool:
    """Whether Delta sees the difference between honest and refuser that the raw rate cannot see."""
    by_name = {one.instrument: one for one in found}
    honest, refuser = by_name.get("honest"), by_name.get("refuser")
    if honest is None or refuser is None:
        return False
    return honest.faithfulness.value <= refuser.faithfulness.value and honest.delta.low > refuser.delta.high
