"""The verb `plan`: model size, tokens, compute, hours, energy and money from whichever of them is known.

Compute is 6 N D. Hours follow from the rate a machine achieves, energy from its watts, emissions from the
carbon factor of the grid, money from a price per hour. The defaults are those of the paper's runs on one
A100-40GB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.configs import PRESETS, parameters, preset_named
from etude.methods.teenytinyllama.scaling_laws import (
    FLOPS_PER_PARAMETER,
    FRESH_EPOCHS,
    LAWS,
    effective_tokens,
    perplexity,
)
from etude.methods.teenytinyllama.shards import read_manifest
from etude.render import Text, show, table
from etude.runs import write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

PAPER_RATE = 2.7e13  # FLOP/s: 6 N D over the seconds of the paper's two emission records, 26.2 and 27.3 e12
PAPER_WATTS = 402.0  # kWh over hours of the same records: 400.8 and 402.7
PAPER_CARBON = 0.3655  # kg CO2eq per kWh of the same records (Germany)
_FEW, _MANY = 5, 200  # tokens per parameter
_SMALLEST = 70e6  # parameters of the smallest model behind Hoffmann et al.'s fit


@dataclass(frozen=True)
class LawRow:
    """What one published fit says of the plan.

    Args:
        law: Its name.
        source: Where it is printed.
        loss: Nats per token of the plan, repetition counted.
        perplexity: e^loss.
        best_params: Parameters it would choose for the same compute and fresh tokens.
        best_tokens: Tokens it would choose.
        best_loss: Its loss there.
    """

    law: str
    source: str
    loss: float
    perplexity: float
    best_params: float
    best_tokens: float
    best_loss: float


@dataclass(frozen=True)
class LongerRow:
    """The same model trained longer.

    Args:
        tokens_per_parameter: How much longer.
        tokens: Tokens in all.
        hours: On the same machine.
        loss: Nats per token by the plan's fit.
        perplexity: e^loss.
    """

    tokens_per_parameter: float
    tokens: float
    hours: float
    loss: float
    perplexity: float


@dataclass(frozen=True)
class PlanResult:
    """A training plan.

    Args:
        params: Parameters of the model.
        tokens: Training tokens, repetitions included.
        tokens_per_parameter: Their ratio.
        flops: 6 N D.
        hours: On the stated machine.
        kwh: Energy.
        kg_co2: Emissions.
        money: Cost, None without a price.
        nearest_preset: The preset nearest in size, and its parameters.
        unique_tokens: Different tokens, where stated.
        epochs: Passes over them.
        effective_tokens: What the tokens are worth in fresh ones.
        law: The fit used for `longer`.
        laws: What each fit says.
        longer: The same model trained longer.
        assumptions: The machine: FLOP/s, watts, kg CO2eq per kWh, price per hour.
        notices: Warnings and advice.
    """

    params: float
    tokens: float
    tokens_per_parameter: float
    flops: float
    hours: float
    kwh: float
    kg_co2: float
    money: float | None
    nearest_preset: tuple[str, int]
    unique_tokens: float | None
    epochs: float | None
    effective_tokens: float
    law: str
    laws: tuple[LawRow, ...]
    longer: tuple[LongerRow, ...]
    assumptions: dict[str, float | None]
    notices: tuple[str, ...]

    def __rich__(self) -> RenderableType:
        """The plan, what each fit says, the same model trained longer, and advice."""
        from rich.console import Group

        cost = [("money", f"{self.money:,.2f}")] if self.money is not None else []
        data = (
            [
                ("different tokens", _short(self.unique_tokens)),
                ("epochs", f"{self.epochs:.2f}"),
                ("worth in fresh tokens", _short(self.effective_tokens)),
            ]
            if self.unique_tokens is not None and self.epochs is not None
            else []
        )
        plan_rows = [
            ("parameters", f"{_short(self.params)} (nearest preset: {self.nearest_preset[0]})"),
            ("tokens", f"{_short(self.tokens)} ({self.tokens_per_parameter:.1f} per parameter)"),
            *data,
            ("compute", f"{self.flops:.3g} FLOP"),
            ("time", f"{_figure(self.hours)} h at {_short(self.assumptions['flops_per_second'])} FLOP/s"),
            ("energy", f"{_figure(self.kwh)} kWh at {self.assumptions['watts']:,.0f} W"),
            ("emissions", f"{_figure(self.kg_co2)} kg CO2eq"),
            *cost,
        ]
        laws = [
            (r.law, r.loss, r.perplexity, _short(r.best_params), _short(r.best_tokens), r.best_loss, r.source)
            for r in self.laws
        ]
        longer = [
            (r.tokens_per_parameter, _short(r.tokens), _figure(r.hours), r.loss, r.perplexity)
            for r in self.longer
        ]
        return Group(
            table(("plan", ""), plan_rows),
            table(
                ("fit", "loss", "perplexity", "its best size", "its best tokens", "loss there", "source"),
                laws,
                title="Predicted loss (nats per token); the best split of the same compute, fresh text",
            ),
            table(
                ("tokens/parameter", "tokens", "hours", "loss", "perplexity"),
                longer,
                title=f"The same model trained longer (fit: {self.law})",
            ),
            *(show(Text(line)) for line in self.notices),
        )


@verb
def plan(
    *,
    params: float | None = None,
    preset: str | None = None,
    tokens: float | None = None,
    flops: float | None = None,
    hours: float | None = None,
    money: float | None = None,
    tokens_per_parameter: float = 20.0,
    unique_tokens: float | None = None,
    data: Path | None = None,
    law: str = "teenytinyllama",
    rate: float = PAPER_RATE,
    watts: float = PAPER_WATTS,
    carbon: float = PAPER_CARBON,
    price: float | None = None,
    out: Path | None = None,
) -> PlanResult:
    """Plan a model: give what you know (one of them, or size and tokens, or a budget and one of the two).

    Args:
        params: Parameters of the model, e.g. 160e6.
        preset: A preset's size instead: nano, micro, mini, 160m, 460m.
        tokens: Training tokens.
        flops: Compute budget in FLOP.
        hours: Time budget in hours on the stated machine.
        money: Money budget; needs price.
        tokens_per_parameter: Used where only one of size and tokens follows from what is given. 20 is about
            Chinchilla's; small models profit from more.
        unique_tokens: Different tokens that there are; more training tokens repeat them.
        data: A prepared corpus instead, whose training tokens these are.
        law: The fit used for training longer: teenytinyllama, hoffmann, besiroglu, muennighoff.
        rate: FLOP/s that the machine achieves: 6 x parameters x measured tokens/s. The default is what the
            paper's runs achieved on one A100-40GB.
        watts: Of the machine while it trains; the default is that of the paper's runs.
        carbon: kg CO2eq per kWh of the grid; the default is that of the paper's runs (Germany).
        price: Money per hour of the machine.
        out: JSON to write.

    Raises:
        EtudeError: Nothing, too much, or something that is not positive was given.
    """
    if preset is not None:
        if params is not None:
            raise EtudeError("params and preset", "Give one of them.")
        params = float(parameters(preset_named(preset)))
    if data is not None:
        if unique_tokens is not None:
            raise EtudeError("data and unique-tokens", "Give one of them.")
        unique_tokens = float(read_manifest(data).splits["train"].tokens)
    if law not in LAWS:
        raise EtudeError(f"there is no fit {law!r}", f"Choose one of: {', '.join(LAWS)}.")
    _check_positive(
        params=params,
        tokens=tokens,
        flops=flops,
        hours=hours,
        money=money,
        tokens_per_parameter=tokens_per_parameter,
        unique_tokens=unique_tokens,
        rate=rate,
        watts=watts,
        price=price,
    )
    if carbon < 0:
        raise EtudeError(f"carbon {carbon:g}", "Give kg CO2eq per kWh, at least 0.")
    budget = _budget(flops, hours, money, rate, price)
    size, amount = _size_and_tokens(params, tokens, budget, tokens_per_parameter)
    result = _plan(size, amount, unique_tokens, law, rate, watts, carbon, price)
    if out is not None:
        from dataclasses import asdict

        write_json(out, asdict(result))
    return result


def _budget(
    flops: float | None, hours: float | None, money: float | None, rate: float, price: float | None
) -> float | None:
    """The compute that one budget buys, or None without a budget."""
    given = [name for name, v in (("flops", flops), ("hours", hours), ("money", money)) if v is not None]
    if len(given) > 1:
        raise EtudeError(f"{' and '.join(given)}: more than one budget", "Give one; the others follow.")
    if money is not None:
        if price is None:
            raise EtudeError("money without price", "Give the price of an hour of the machine.")
        hours = money / price
    return hours * 3600 * rate if hours is not None else flops


def _size_and_tokens(
    params: float | None, tokens: float | None, budget: float | None, ratio: float
) -> tuple[float, float]:
    """Parameters and tokens from what is known; where one is free, `ratio` tokens per parameter."""
    if params is not None and tokens is not None:
        if budget is not None:
            raise EtudeError(
                "params, tokens and a budget: the compute is 6 x params x tokens",
                "Leave one of the three out.",
            )
        return params, tokens
    if budget is None:
        if params is not None:
            return params, ratio * params
        if tokens is not None:
            return tokens / ratio, tokens
        raise EtudeError(
            "nothing to plan from", "Give params (or preset), tokens, flops, hours, or money with price."
        )
    product = budget / FLOPS_PER_PARAMETER
    if params is not None:
        return params, product / params
    if tokens is not None:
        return product / tokens, tokens
    return math.sqrt(product / ratio), math.sqrt(product * ratio)


def _plan(
    params: float,
    tokens: float,
    unique: float | None,
    law: str,
    rate: float,
    watts: float,
    carbon: float,
    price: float | None,
) -> PlanResult:
    flops = FLOPS_PER_PARAMETER * params * tokens
    hours = flops / rate / 3600
    kwh = hours * watts / 1000
    worth = tokens if unique is None else effective_tokens(unique, tokens)
    nearest = min(PRESETS, key=lambda name: abs(math.log(parameters(PRESETS[name]) / params)))
    ratio = tokens / params
    return PlanResult(
        params=params,
        tokens=tokens,
        tokens_per_parameter=ratio,
        flops=flops,
        hours=hours,
        kwh=kwh,
        kg_co2=kwh * carbon,
        money=None if price is None else hours * price,
        nearest_preset=(nearest, parameters(PRESETS[nearest])),
        unique_tokens=unique,
        epochs=None if unique is None else tokens / unique,
        effective_tokens=worth,
        law=law,
        laws=tuple(_law_row(name, params, worth, flops) for name in LAWS),
        longer=tuple(_longer_row(law, params, ratio * k, unique, rate) for k in (1, 2, 5, 10)),
        assumptions={
            "flops_per_second": rate,
            "watts": watts,
            "kg_co2_per_kwh": carbon,
            "price_per_hour": price,
        },
        notices=tuple(_notices(params, tokens, unique)),
    )


def _law_row(name: str, params: float, tokens: float, flops: float) -> LawRow:
    law = LAWS[name]
    loss = law.loss(params, tokens)
    best_params, best_tokens = law.optimum(flops)
    best = law.loss(best_params, best_tokens)
    return LawRow(name, law.source, loss, perplexity(loss), best_params, best_tokens, best)


def _longer_row(name: str, params: float, ratio: float, unique: float | None, rate: float) -> LongerRow:
    tokens = ratio * params
    loss = LAWS[name].loss(params, tokens if unique is None else effective_tokens(unique, tokens))
    hours = FLOPS_PER_PARAMETER * params * tokens / rate / 3600
    return LongerRow(ratio, tokens, hours, loss, perplexity(loss))


def _notices(params: float, tokens: float, unique: float | None) -> list[str]:
    found = []
    ratio = tokens / params
    if ratio < _FEW:
        found.append(
            f"warning: {ratio:.1f} tokens per parameter, fewer than {_FEW}: a smaller model would do better"
        )
    if ratio > _MANY:
        found.append(
            f"warning: {ratio:.0f} tokens per parameter, more than {_MANY}: a larger model would do better"
        )
    if unique is not None and tokens > FRESH_EPOCHS * unique:
        found.append(
            f"warning: {tokens / unique:.1f} epochs; beyond {FRESH_EPOCHS} repeated text loses its worth. "
            f"{FRESH_EPOCHS} epochs of this text are 20 tokens per parameter for a model of "
            f"{_short(FRESH_EPOCHS * unique / 20)} parameters"
        )
    if params < _SMALLEST:
        found.append(
            f"the fits are of models from {_short(_SMALLEST)} parameters up: for one of {_short(params)} "
            "their losses are no prediction, only an order"
        )
    found += [
        "20 tokens per parameter is the best use of training compute alone; a small model is cheap to run "
        "and profits from more tokens: train it longer when time and text allow",
        f"repeating text up to {FRESH_EPOCHS} times is nearly as good as fresh text",
        "perplexity is e^loss; the fits are of English web text: compare plans by them, not corpora",
    ]
    return found


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise EtudeError(f"{name.replace('_', '-')} {value:g}", "Give a number above 0.")


def _figure(value: float) -> str:
    """A quantity with one decimal, or three digits when it is small."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"


def _short(value: float | None) -> str:
    """A count with three digits and its unit: 162M, 3.25B, 26.8T."""
    assert value is not None
    for unit, scale in (("P", 1e15), ("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}"
