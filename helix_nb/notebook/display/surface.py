"""Where output goes: a live front end, one final output, or a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal

from IPython.core.displaypub import CapturingDisplayPublisher

from ...runtime.front_end import front_end_listens

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

DisplayMode = Literal["live", "final", "terminal"]


def surface(shell: InteractiveShell, *, streaming: bool = True) -> DisplayMode:
    """Say how an answer can be shown in this shell.

    "live" updates one output while it streams; "final" shows one output at the end: nobody
    watches (nbclient, nbval, papermill, nbconvert, `%%capture`), the host is Colab, whose updates are
    untested, `HELIX_NB_DISPLAY=final` says so, or the answer is not `streaming`; "terminal" prints
    plain text.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return "terminal"
    if isinstance(shell.display_pub, CapturingDisplayPublisher):
        return "final"
    if "google.colab" in sys.modules or os.environ.get("HELIX_NB_DISPLAY") == "final":
        return "final"
    return "live" if streaming and front_end_listens(kernel) else "final"
