"""Small things done to text; they know nothing of what it is for."""

from __future__ import annotations

import re

# CSI, OSC and the other string sequences end at a line's end at the latest, so that cleaning a text
# line by line gives the same as cleaning it whole.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\r\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]"
)
_NEEDS_WORK = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return `text` without control characters, escape sequences and bidi overrides.

    Newlines and tabs stay; lone surrogates become U+FFFD. Safe to print to a terminal and to put
    into an error line.

    >>> from helix_nb.text import printable
    >>> printable("red \x1b[31malert\x1b[0m\a, \u202etxt.exe")
    'red alert, txt.exe'
    """
    if not _NEEDS_WORK.search(text):
        return text
    text = re.sub("\r\n?", "\n", _SEQUENCES.sub("", text))
    text = _CONTROLS.sub("", text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
