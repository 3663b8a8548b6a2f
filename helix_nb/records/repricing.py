"""Price the rows of a frame again, with today's prices."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..errors import ConfigError
from ..replies import Usage
from .pricing import Cost, cost_of

NEEDED = ("base_url", "model", "model_requested", "prompt_tokens", "completion_tokens", "cached_tokens")
PRICED = ("cost", "currency", "cost_source")


def reprice(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its three cost columns worked out anew."""
    missing = [name for name in (*NEEDED, *PRICED) if name not in frame]
    if missing:
        raise ConfigError(f"This frame has no column {', '.join(missing)}: give rows of hx.log().")
    plain = frame[[*NEEDED, *PRICED]].astype(object)
    rows = plain.where(plain.notna(), None).to_dict("records")
    costs = [_cost(row) for row in rows]
    columns: dict[str, Any] = {
        name: pd.Series([cost[at] for cost in costs], index=frame.index, dtype=dtype)
        for at, (name, dtype) in enumerate(zip(PRICED, ("Float64", "category", "category"), strict=True))
    }
    return frame.assign(**columns)


def _cost(row: dict[Any, Any]) -> Cost:
    if row["cost_source"] == "replay":
        return row["cost"], row["currency"], "replay"
    usage = Usage(row["prompt_tokens"], row["completion_tokens"], cached_tokens=row["cached_tokens"])
    charged = row["cost"] if row["cost_source"] == "server" else None
    return cost_of(
        row["base_url"] or "", row["model"] or row["model_requested"], usage, charged, row["currency"]
    )
