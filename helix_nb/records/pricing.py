"""The cost of an exchange: by the user's price, else the published price, else as the server says.

Prices go by the endpoint's URL and the model together. A bare model name says nothing: a
self-hosted `deepseek-r1` costs what your machine costs, not what somebody's API does.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError
from ..replies import Usage

if TYPE_CHECKING:
    import pandas as pd

PER = 1_000_000
_NEEDED = ("base_url", "model", "model_requested", "prompt_tokens", "completion_tokens", "cached_tokens")
_PRICED = {"cost": "Float64", "currency": "category", "cost_source": "category"}


class Cost(NamedTuple):
    """The cost of an exchange; None is unknown."""

    amount: float | None = None
    currency: str | None = None
    source: str | None = None  # "user", "genai-prices VERSION", "server" or "replay"


UNKNOWN = Cost()


@dataclass(frozen=True, slots=True)
class Price:
    """Money per million tokens."""

    input: float
    output: float
    cached: float | None = None  # for the part of the input that a cache served; None: the same
    currency: str = "USD"

    def of(self, usage: Usage) -> float | None:
        """Return what these tokens cost, or None where a count that matters is unknown."""
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        cached_price = self.input if self.cached is None else self.cached
        fresh = (usage.prompt_tokens - cached) * self.input
        return (fresh + cached * cached_price + usage.completion_tokens * self.output) / PER


class PriceTable:
    """The user's prices: `table["*tryhelix.ai*", "qwen3:*"] = {"input": 0.2, "output": 0.6}`.

    Both patterns may hold `*`, `?` and `[...]`; of several that match, the one set last decides.
    Prices are per million tokens, `currency` is "USD" unless you say so, and `cached` is what an
    input token from a cache costs (left out: the same as any other).

    >>> table = PriceTable()
    >>> table["*", "qwen3:*"] = {"input": 0.5, "output": 1.5}
    >>> table.find("http://127.0.0.1:8080/v1", "qwen3:8b")
    Price(input=0.5, output=1.5, cached=None, currency='USD')
    """

    def __init__(self) -> None:
        self._prices: dict[tuple[str, str], Price] = {}

    def __setitem__(self, patterns: tuple[str, str], price: Mapping[str, Any] | Price) -> None:
        texts = isinstance(patterns, tuple) and all(isinstance(pattern, str) for pattern in patterns)
        if not texts or len(patterns) != 2:
            raise ConfigError("A price needs two patterns: prices[base URL pattern, model pattern].")
        self._prices.pop(patterns, None)
        self._prices[patterns] = price if isinstance(price, Price) else _price_of(price)

    def __delitem__(self, patterns: tuple[str, str]) -> None:
        del self._prices[patterns]

    def __getitem__(self, patterns: tuple[str, str]) -> Price:
        return self._prices[patterns]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)

    def __repr__(self) -> str:
        lines = [f"  {url!r}, {model!r}: {price}" for (url, model), price in self._prices.items()]
        return "\n".join(["Prices per million tokens:", *(lines or ["  none"])])

    def find(self, base_url: str, model: str | None) -> Price | None:
        """Return the price for a model at a URL, or None."""
        for (url, name), price in reversed(self._prices.items()):
            if fnmatchcase(base_url, url) and fnmatchcase(model or "", name):
                return price
        return None


prices = PriceTable()


def cost_of(
    base_url: str,
    model: str | None,
    usage: Usage,
    server_cost: float | None = None,
    server_currency: str | None = None,
) -> Cost:
    """Return the cost of an exchange.

    Unknown token counts are never priced; a replayed answer keeps the cost it was recorded with.
    """
    if usage.source == "replay":
        return Cost(server_cost, server_currency, "replay")
    price = prices.find(base_url, model)
    amount = price.of(usage) if price is not None else None
    if price is not None and amount is not None:
        return Cost(amount, price.currency, "user")
    published = UNKNOWN if price is not None else _published(base_url, model, usage)
    if published.amount is not None:
        return published
    if server_cost is not None:
        return Cost(server_cost, server_currency or "USD", "server")
    return UNKNOWN


def _published(base_url: str, model: str | None, usage: Usage) -> Cost:
    """Return the cost by the price that genai-prices knows for this very URL (extra `cost`)."""
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return UNKNOWN
    if not (base_url.startswith("http") and model and _is_published(base_url, model)):
        return UNKNOWN
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        price = genai_prices.calc_price(tokens, model, provider_api_url=base_url)
    except (LookupError, ValueError):
        return UNKNOWN
    return Cost(float(price.total_price), "USD", f"genai-prices {genai_prices.__version__}")


@lru_cache(maxsize=1024)
def _is_published(base_url: str, model: str) -> bool:
    """Return whether genai-prices knows this model at this URL; asking for a price otherwise is slow."""
    if importlib.util.find_spec("genai_prices") is None:
        return False
    import genai_prices

    try:
        genai_prices.calc_price(genai_prices.Usage(), model, provider_api_url=base_url)
    except (LookupError, ValueError):
        return False
    return True


def _price_of(fields: Mapping[str, Any]) -> Price:
    """Return the Price that a user wrote as a mapping; ConfigError says what is wrong with it."""
    names = set(fields) if isinstance(fields, Mapping) else set()
    unknown = names - {"input", "output", "cached", "currency"}
    if unknown or not {"input", "output"} <= names:
        raise ConfigError(
            'A price says "input" and "output" per million tokens, and may say "cached" and "currency"'
            + (f"; it does not know {', '.join(sorted(map(str, unknown)))}." if unknown else ".")
        )
    cached, currency = fields.get("cached"), fields.get("currency", "USD")
    if not isinstance(currency, str) or not currency:
        raise ConfigError(f'A price\'s currency is a text such as "EUR", not {currency!r}.')
    amounts = _amount(fields["input"]), _amount(fields["output"])
    return Price(*amounts, None if cached is None else _amount(cached), currency)


def _amount(value: Any) -> float:
    try:
        amount = float(value)
    except (TypeError, ValueError):
        amount = float("nan")
    if not 0 <= amount < float("inf"):
        raise ConfigError("Prices are numbers from 0 up, per million tokens.")
    return amount


def reprice(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of the log with its three columns of cost worked out anew."""
    missing = [name for name in (*_NEEDED, *_PRICED) if name not in frame]
    if missing:
        raise ConfigError(f"This frame has no column {', '.join(missing)}: give rows of hx.log().")
    import pandas as pd

    cells = frame[[*_NEEDED, *_PRICED]].astype(object)
    rows = cells.where(cells.notna(), None).to_dict("records")
    costs = [_cost_of_row(row) for row in rows]
    columns: dict[str, Any] = {
        name: pd.Series([cost[at] for cost in costs], index=frame.index, dtype=dtype)
        for at, (name, dtype) in enumerate(_PRICED.items())
    }
    return frame.assign(**columns)


def _cost_of_row(row: Mapping[Any, Any]) -> Cost:
    if row["cost_source"] == "replay":
        return Cost(row["cost"], row["currency"], "replay")
    usage = Usage(row["prompt_tokens"], row["completion_tokens"], cached_tokens=row["cached_tokens"])
    charged = row["cost"] if row["cost_source"] == "server" else None
    return cost_of(
        row["base_url"] or "", row["model"] or row["model_requested"], usage, charged, row["currency"]
    )
