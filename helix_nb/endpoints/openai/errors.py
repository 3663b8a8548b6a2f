"""From what a server answered to one `HelixError` whose sentence says what happened and what to do.

The status alone decides nothing: Helix reports nearly every failure as 500 and quotes the true
status in the text, other servers report errors inside a 200. So words count, then the quoted
status, then the server's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ...config.connection import Connection
from ...errors import (
    AuthError,
    BadRequest,
    ConfigError,
    HelixError,
    NotAllowed,
    QuotaExceeded,
    RateLimited,
    ServerError,
    StreamFailed,
    UnknownModel,
)
from ...redaction import redact
from ...text import did_you_mean
from .error_body import ErrorBody

_UNLISTED = "; hx.models() lists what it does."
AGENT_SENTENCE = "This is a valid agent key: it chooses its own model and lists none."
_QUOTED_STATUS = re.compile(r"\b(?:status code:? ?|upstream )([45]\d\d)\b", re.IGNORECASE)
_AGENT_KEY = re.compile(r"path not allowed for app API keys", re.IGNORECASE)
_QUOTA = re.compile(
    r"insufficient[_ ](?:balance|quota|credits?|funds)|monthly token limit|payment required|out of credits"
    r"|does not have an active subscription|check your plan and billing|credit balance is too low",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model_not_found|model not found|unknown model|no such model|is not a valid model|invalid model name"
    r"|is not configured in the default provider"
    r"|\bmodel [\"'`]?(?!(?:is|was|does|has)\b)[^\s\"'`]+[\"'`]? "
    r"(?:(?:is )?not (?:available|found|supported|configured)|does not exist)",
    re.IGNORECASE,
)
_SERVED = re.compile(
    r"(?:currently configured|available models?|supported models?):? *\[?([^)\]]+)", re.IGNORECASE
)
_LIMIT = re.compile(
    r"rate.?limit|too many requests|overloaded_error|rate_limit_exceeded|resource.?exhausted", re.IGNORECASE
)
_REQUEST = re.compile(
    r"context.?length|maximum context|context size|invalid_request_error|cannot unmarshal", re.IGNORECASE
)
_AUTH = re.compile(r"authentication_error|invalid_api_key|incorrect api key|invalid api key", re.IGNORECASE)


def response_error(
    connection: Connection, status: int, headers: Mapping[str, str], body: bytes, model: str | None
) -> HelixError:
    """Return the error that a response with a status other than 2xx means; `headers` are lower-case."""
    if 300 <= status < 400:
        return _redirect_error(connection, status, headers)
    error_body = ErrorBody.of(body.decode("utf-8", "replace"))
    quoted = _quoted_status(error_body.text) if status >= 500 else None
    error = _error_of(_Case(connection, quoted or status, error_body, model, quoted=quoted is not None))
    if error is None:
        error = ServerError(f"{connection.name} answered with status {status}.{error_body.quotation}")
    error.status_code = quoted or status
    error.retry_after_s = retry_after_s(headers)
    return error


def stream_error(
    connection: Connection, error_body: ErrorBody, model: str | None, *, begun: bool
) -> HelixError:
    """Return the error that was reported inside a 200 answer; StreamFailed once the answer has begun."""
    status = _quoted_status(error_body.text) or error_body.status
    error = None if begun else _error_of(_Case(connection, status, error_body, model, quoted=True))
    if error is None:
        comfort = " What arrived is kept." if begun else ""
        sentence = f"{connection.name} reported an error inside its answer.{comfort}{error_body.quotation}"
        error = StreamFailed(sentence)
    error.status_code = status
    return error


def unreadable_error(connection: Connection, text: str) -> StreamFailed:
    """Return the error for a part of an answer that is in no known format."""
    excerpt = ErrorBody(text).excerpt or "nothing"
    return StreamFailed(f"{connection.name} sent something that is not part of an answer: {excerpt}")


def web_page_error(connection: Connection, url: str) -> ConfigError:
    """Return the error for HTML where an answer was expected."""
    root = url.partition("?")[0].partition("/v1")[0]
    origin = "/".join(root.split("/")[:3])
    hint = f"Did you mean {origin}/v1?" if origin != root else "Is an API served there, at .../v1?"
    return ConfigError(
        f"{redact(url.partition('?')[0])} answers with a web page, not with an API. {hint} "
        "Connect to the server's API root with hx.connect(url).",
        status_code=200,
    )


def is_agent_key_error(error: HelixError) -> bool:
    """Return whether an error of `models()` only says that the key belongs to an agent, which works."""
    return isinstance(error, NotAllowed) and AGENT_SENTENCE in str(error)


def add_served_models(error: HelixError, served: Sequence[str], model: str | None) -> None:
    """Put what a server serves, where that is known, into its error about an unknown model."""
    if served:
        error.args = (str(error).replace(_UNLISTED, _served_models(served, model), 1),)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, from lower-case headers; None where it does not say.

    >>> retry_after_s({"retry-after-ms": "1500"}), retry_after_s({"retry-after": "2"})
    (1.5, 2.0)
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    return seconds if seconds is not None or value is None else _seconds_until(value, headers.get("date"))


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that is known about one failure."""

    connection: Connection
    status: int | None
    body: ErrorBody
    model: str | None
    quoted: bool  # the status is not the server's own, it stood in the text

    def says(self, words: re.Pattern[str]) -> bool:
        return words.search(self.body.words) is not None

    @property
    def name(self) -> str:
        return self.connection.name

    @property
    def quotation(self) -> str:
        """The server's own words, to be appended to a sentence."""
        return self.body.quotation

    def is_failure(self) -> bool:
        if self.status in (408, 409, 425):
            return True
        return self.status is not None and self.status >= 500 and not self.says(_REQUEST)

    def is_refusal(self) -> bool:
        return (self.status is not None and self.status >= 400) or self.says(_REQUEST)


def _error_of(case: _Case) -> HelixError | None:
    """Return what words and status mean together; None when they mean nothing."""
    return next((error(case) for holds, error in _RULES if holds(case)), None)


def _auth_error(case: _Case) -> AuthError:
    connection, name = case.connection, case.name
    if case.quoted and case.status == 401:
        sentence = f"The provider behind {name} refused {name}'s own key; tell whoever runs it."
    elif connection.has_key:
        source = f" (from {connection.key_source})" if connection.key_source else ""
        sentence = f"{name} does not know the key that was sent{source}; is it whole and current?"
    else:
        helix = connection.profile == "helix"
        how = "set HELIX_API_KEY" if helix else "connect with hx.connect(url, key_env=...)"
        sentence = f"{name} wants a key and none was sent: {how}."
    return AuthError(sentence + case.quotation)


def _unknown_model_error(case: _Case) -> UnknownModel:
    model = f"the model {case.model!r}" if case.model else "that model"
    listed = _SERVED.search(case.body.text)
    served = [item for item in re.split(r"[,\s\"'`]+", listed[1]) if item] if listed else []
    rest = _served_models(served, case.model) if served else _UNLISTED + case.quotation
    return UnknownModel(f"{case.name} does not serve {model}{rest}")


def _server_error(case: _Case) -> ServerError:
    sentence = f"{case.name} failed (status {case.status}).{case.quotation}"
    return ServerError(sentence, retryable=case.status not in (501, 505))


# The first rule that holds wins.
_RULES: tuple[tuple[Callable[[_Case], bool], Callable[[_Case], HelixError]], ...] = (
    (lambda case: case.says(_AGENT_KEY), lambda _: NotAllowed(AGENT_SENTENCE)),
    (
        lambda case: case.status == 402 or (case.status not in (401, 404) and case.says(_QUOTA)),
        lambda case: QuotaExceeded(
            f"The account on {case.name} is out of balance, tokens or subscription.{case.quotation}"
        ),
    ),
    (lambda case: case.status not in (401, 403, 429) and case.says(_MODEL), _unknown_model_error),
    (lambda case: case.status == 401 or case.says(_AUTH), _auth_error),
    (
        lambda case: case.status == 403,
        lambda case: NotAllowed(f"The key for {case.name} may not do this.{case.quotation}"),
    ),
    (
        lambda case: case.status == 429 or (case.status in (None, 400, 500, 503) and case.says(_LIMIT)),
        lambda case: RateLimited(
            f"{case.name} asks to slow down: too many requests for now.{case.quotation}"
        ),
    ),
    (
        lambda case: case.status == 404,
        lambda case: BadRequest(
            f"{case.name} knows no such path or model: check the URL and the model.{case.quotation}"
        ),
    ),
    (_Case.is_failure, _server_error),
    (_Case.is_refusal, lambda case: BadRequest(f"{case.name} refused the request.{case.quotation}")),
)


def _served_models(served: Sequence[str], model: str | None) -> str:
    guess = did_you_mean(model or "", served)
    names = ", ".join(served[:20]) + (f" and {len(served) - 20} more" if len(served) > 20 else "")
    return f".{guess} It serves: {ErrorBody(names).excerpt}."


def _redirect_error(connection: Connection, status: int, headers: Mapping[str, str]) -> ConfigError:
    target = re.sub(r"//[^/@]*@", "//", headers.get("location", "").partition("?")[0])
    place = ErrorBody(target).excerpt or "nowhere"
    return ConfigError(
        f"{connection.name} redirects to {place}, and a key never follows a redirect to another place. "
        "If you trust that address, connect to it with hx.connect(url).",
        status_code=status,
    )


def _quoted_status(text: str) -> int | None:
    match = _QUOTED_STATUS.search(text)
    return int(match[1]) if match else None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(number, 0.0) if math.isfinite(number) else None


def _seconds_until(date: str, server_now: str | None) -> float | None:
    """Return the seconds until an HTTP date, by the server's own clock where it shows one."""
    then, now = _date(date), _date(server_now or "") or datetime.now(UTC)
    return None if then is None else max((then - now).total_seconds(), 0.0)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
