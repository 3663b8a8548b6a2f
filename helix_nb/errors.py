"""The errors of helix_nb, as one tree: everything that it raises on purpose is a `HelixError`.

    HelixError
    ├── ConfigError        the call or the configuration is wrong; nothing was sent
    ├── AuthError          no key, or a key the server does not know
    ├── NotAllowed         the key is known but may not do this
    ├── BadRequest         the server refused the request as it stands
    ├── UnknownModel       the endpoint does not serve that model
    ├── RateLimited        too many requests for now; `retry_after_s` where the server said
    ├── QuotaExceeded      the account is out of balance, tokens or subscription
    ├── ServerError        the server, or what is behind it, failed
    ├── ConnectionFailed   the server could not be reached, or hung up before answering
    ├── TimedOut           connect, first byte, idle or total time ran out
    ├── StreamFailed       the server reported an error inside an answer, or sent what nobody can read
    ├── TruncatedReply     the answer ended without saying it had finished
    ├── SchemaMismatch     the answer does not follow the schema, after one repair
    ├── ReplayMiss         replay is "only", and this request was never recorded
    ├── LocalModelError    a local model could not be loaded or run
    ├── ChatBusy           that Chat already has an exchange under way
    └── RowsFailed         rows of a batch failed, and `errors="raise"` was asked for

The class name is what the log keeps as `error_type`. Ctrl-C stays a `KeyboardInterrupt`.
"""

from __future__ import annotations

import warnings
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial
from typing import Any

from .redaction import redact
from .replies import Reply
from .text import printable

LONGEST, LONGEST_ENDING = 1000, 250  # characters of a sentence, and of those that its end may take


def _make_showable(sentence: str) -> str:
    """Return a sentence without keys and escape sequences, shortened in the middle where it is too long."""
    sentence = redact(printable(sentence))  # before it is cut, because half a key is not recognised
    if len(sentence) <= LONGEST:
        return sentence
    cut_mark = f" [... {len(sentence):,} characters, shortened ...] "
    return sentence[: LONGEST - LONGEST_ENDING - len(cut_mark)] + cut_mark + sentence[-LONGEST_ENDING:]


def show_as_one_line(error: BaseException, sentence: str) -> None:
    """Have IPython show this one exception as a red line instead of its traceback."""
    line = " ".join(f"{type(error).__name__}: {sentence}".split())
    error._render_traceback_: Callable[[], list[str]] = partial(_red_lines, line)  # type: ignore[misc, attr-defined]


def _red_lines(line: str) -> list[str]:
    return [f"\x1b[31m{line}\x1b[0m"]


def show_as_stopped(error: BaseException) -> None:
    """Have IPython show an interrupt as one line, because the place where it waited says nothing."""
    if isinstance(error, KeyboardInterrupt | CancelledError):
        show_as_one_line(error, "stopped; what had arrived is kept.")


def describe_exception(error: BaseException) -> str:
    """Return the class and the text of an exception of a user's own code, whatever its `__str__` does.

    >>> describe_exception(KeyError("city"))
    "KeyError: 'city'"
    """
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the exception's own __str__
        return type(error).__name__


def warn(sentence: str) -> None:
    """Give a UserWarning, from any thread; where warnings are errors, the answer still matters more."""
    try:
        warnings.warn(sentence, UserWarning, stacklevel=3)
    except UserWarning:
        pass


class HelixError(Exception):
    """A failed exchange, with whatever was known when it failed.

    Args:
        message: one sentence: what happened and what to do. Known keys and control characters are
            taken out of it, and the middle of a very long one.
        reply: the `Reply` so far (its text may be partial), or None when nothing was sent.
        status_code: the HTTP status that tells what happened: the server's own, or the upstream
            status it quoted; None when there was none.
        retryable: whether the same request may succeed later.
        retry_after_s: seconds the server asked to wait, or None.

    >>> from helix_nb.errors import RateLimited
    >>> RateLimited("slow down", status_code=429, retry_after_s=2.0).retryable
    True
    """

    retryable_by_default = False

    def __init__(
        self,
        message: str,
        *,
        reply: Reply | None = None,
        status_code: int | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(_make_showable(message))
        self.reply = reply
        self.status_code = status_code
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, dict(self.__dict__)


class ConfigError(HelixError):
    """The call or the configuration is wrong; nothing was sent."""


class AuthError(HelixError):
    """No key was sent, or the server does not know the one that was."""


class NotAllowed(HelixError):
    """The key is known but may not do this."""


class BadRequest(HelixError):
    """The server refused the request as it stands."""


class UnknownModel(HelixError):
    """The endpoint does not serve the model that was asked for."""


class RateLimited(HelixError):
    """Too many requests for now."""

    retryable_by_default = True


class QuotaExceeded(HelixError):
    """The account is out of balance, tokens or subscription."""


class ServerError(HelixError):
    """The server, or what is behind it, failed."""

    retryable_by_default = True


class ConnectionFailed(HelixError):
    """The server could not be reached, or hung up before answering."""

    retryable_by_default = True


class TimedOut(HelixError):
    """Connect, first byte, idle or total time ran out."""


class StreamFailed(HelixError):
    """The server reported an error inside an answer, or sent what nobody can read."""


class TruncatedReply(HelixError):
    """The answer ended without saying it had finished; `reply.text` holds what arrived."""


class SchemaMismatch(HelixError):
    """The answer does not follow the schema, after one repair; `reply.text` holds it."""


class ReplayMiss(HelixError):
    """Replay is "only", and this request was never recorded."""


class LocalModelError(HelixError):
    """A local model could not be loaded or run."""


class ChatBusy(HelixError):
    """That Chat already has an exchange under way."""


class RowsFailed(HelixError):
    """Rows of a batch failed and `errors="raise"` was asked for; `frame` holds every row, answers too."""

    def __init__(self, message: str, frame: Any) -> None:
        super().__init__(message)
        self.frame = frame

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.frame), dict(self.__dict__)
