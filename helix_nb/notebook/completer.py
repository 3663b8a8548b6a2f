"""Completion after `%%helix` and `%helix`; written below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .magics import HelixMagics


class Completer:
    def __init__(self, magics: HelixMagics) -> None:
        self.magics = magics

    def match(self, context: Any) -> Any:
        return {"completions": [], "suppress": False}

    match.matcher_api_version = 2  # type: ignore[attr-defined]
    match.matcher_identifier = "helix_nb"  # type: ignore[attr-defined]
