"""What a model call cost: as its provider says, else by tokens and price.

Pure arithmetic in whole microdollars; nothing here reads the database.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from agents.choices import CostSource

if TYPE_CHECKING:
    from agents.resources.usage import ModelPrice

logger = logging.getLogger(__name__)

MILLION = 1_000_000
LARGEST = 2**62  # what a column holds; no call costs or counts so much
# Where OpenRouter, Perplexity, DeepInfra and LiteLLM tell what a call cost, in USD.
_COSTS = ("cost", "total_cost", "estimated_cost")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts of one call as its provider told them; None where it did not.

    `cached` and `cache_write` are part of `prompt`, `reasoning` of `completion`.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    estimated: bool = False

    @property
    def are_known(self) -> bool:
        """Whether the provider told how much went in."""
        return self.prompt is not None and not self.estimated


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount and who says so; `microdollars` is None when nobody does."""

    microdollars: int | None
    source: CostSource


MISSING = Cost(None, CostSource.MISSING)


def read_tokens(usage: Mapping[str, Any] | None) -> Tokens:
    """Return the counts of a provider's `usage`; estimates of ours are marked."""
    given = usage or {}
    of_prompt = _mapping(given.get("prompt_tokens_details"))
    of_completion = _mapping(given.get("completion_tokens_details"))
    prompt = _count(given, "prompt_tokens", "input_tokens")
    completion = _count(given, "completion_tokens", "output_tokens")
    return Tokens(
        prompt=prompt,
        completion=0 if completion is None and prompt is not None else completion,
        cached=_count(of_prompt, "cached_tokens")
        or _count(given, "cache_read_input_tokens", "prompt_cache_hit_tokens"),
        cache_write=_count(of_prompt, "cache_write_tokens")
        or _count(given, "cache_creation_input_tokens"),
        reasoning=_count(of_completion, "reasoning_tokens"),
        estimated=bool(given.get("estimated")),
    )


def cost_of(
    usage: Mapping[str, Any] | None,
    tokens: Tokens,
    price: "ModelPrice | None",
    *,
    is_free: bool = False,
) -> Cost:
    """Return what a call cost: the provider's own amount first (AG-82).

    An amount that is no finite number is logged as an error, a negative one as a
    warning; both are skipped (AG-83).
    """
    told = _told_cost(usage or {})
    if told is not None:
        return Cost(told, CostSource.PROVIDER)
    if is_free:
        return Cost(0, CostSource.FREE)
    if price is None or not (tokens.are_known or _is_by_call(price)):
        return MISSING
    return Cost(priced(tokens, price), CostSource.PRICE)


def priced(tokens: Tokens, price: "ModelPrice") -> int:
    """Return tokens times price in microdollars, rounded up: no call costs nothing."""
    prompt, completion = tokens.prompt or 0, tokens.completion or 0
    cached = min(tokens.cached or 0, prompt)
    written = min(tokens.cache_write or 0, prompt - cached)
    reasoning = min(tokens.reasoning or 0, completion)
    total = (
        (prompt - cached - written) * price.input_microdollars
        + cached * _or(price.cached_microdollars, price.input_microdollars)
        + written * _or(price.cache_write_microdollars, price.input_microdollars)
        + (completion - reasoning) * price.output_microdollars
        + reasoning * _or(price.reasoning_microdollars, price.output_microdollars)
    )
    return min(-(-total // MILLION) + price.call_microdollars, LARGEST)


def _is_by_call(price: "ModelPrice") -> bool:
    return not (price.input_microdollars or price.output_microdollars)


def _or(own: int | None, other: int) -> int:
    return other if own is None else own


def _told_cost(usage: Mapping[str, Any]) -> int | None:
    for name in _COSTS:
        value = usage.get(name)
        if isinstance(value, Mapping):  # Perplexity tells the parts as well
            value = value.get("total_cost")
        if value is not None:
            return _microdollars(value)
    return None


def _microdollars(value: Any) -> int | None:
    try:
        if isinstance(value, bool):
            raise InvalidOperation
        dollars = Decimal(str(value))
        if not dollars.is_finite() or dollars * MILLION > LARGEST:
            raise InvalidOperation
    except (InvalidOperation, ValueError):
        logger.error("a provider told a cost that is no number: %.50r", value)
        return None
    if dollars < 0:
        logger.warning("a provider told a negative cost: %s", dollars)
        return None
    return int((dollars * MILLION).to_integral_value(rounding=ROUND_CEILING))


def _count(given: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = given.get(name)
        if type(value) is int and 0 <= value <= LARGEST:
            return value
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


__all__ = ["MISSING", "Cost", "Tokens", "cost_of", "priced", "read_tokens"]
