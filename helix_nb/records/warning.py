"""One way to warn, from any thread."""

from __future__ import annotations

import warnings


def warn(sentence: str) -> None:
    """Say it as a UserWarning; where warnings are errors, the answer still matters more."""
    try:
        warnings.warn(sentence, UserWarning, stacklevel=3)
    except UserWarning:
        pass
