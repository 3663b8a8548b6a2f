"""Functions on text that know nothing of what the text is for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

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

    Newlines and tabs stay; lone surrogates become U+FFFD. The result is safe to print to a terminal
    and to put into an error line.

    >>> from helix_nb.text import printable
    >>> printable("red \x1b[31malert\x1b[0m\a, \u202etxt.exe")
    'red alert, txt.exe'
    """
    if not _NEEDS_WORK.search(text):
        return text
    text = re.sub("\r\n?", "\n", _SEQUENCES.sub("", text))
    text = _CONTROLS.sub("", text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def did_you_mean(word: object, candidates: Iterable[str], otherwise: str = "", *, shown: str = "{!r}") -> str:
    """Return the sentence that offers the candidate closest to a wrong word, with a space before it.

    Args:
        word: the word as written.
        candidates: the words that could have been meant.
        otherwise: the sentence where no candidate is close.
        shown: the format of the offered word.

    >>> did_you_mean("modle", ["model", "endpoint"])
    " Did you mean 'model'?"
    """
    close = difflib.get_close_matches(str(word), list(candidates), 1)
    sentence = f"Did you mean {shown.format(close[0])}?" if close else otherwise
    return f" {sentence}" if sentence else ""


def shorten(text: str, max_length: int) -> str:
    """Return a text cut to so many characters; where it is cut it ends in `...`.

    >>> shorten("a long sentence", 10)
    'a long ...'
    """
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural but for one.

    >>> count_of(1, "turn"), count_of(1_200, "row")
    ('1 turn', '1,200 rows')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def common_prefix(first: Sequence[object], second: Sequence[object]) -> int:
    """Return how many items two sequences begin with alike; by halving, because slices compare fast.

    >>> common_prefix("parade", "parasol")
    4
    """
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def partial_match(text: str, markers: Iterable[str]) -> int:
    """Return how many characters at the end of a text may begin one of these markers.

    >>> partial_match("so it is</thi", ["</think>", "stop"])
    5
    """
    longest = 0
    for marker in markers:
        for size in range(min(len(marker) - 1, len(text)), longest, -1):
            if text.endswith(marker[:size]):
                longest = size
                break
    return longest
