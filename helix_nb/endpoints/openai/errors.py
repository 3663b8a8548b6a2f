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
_QUOTED = re.compile(r"\b(?:status code:? ?|upstream )([45]\d\d)\b", re.IGNORECASE)
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
    """The error that an answer with a status other than 2xx means."""
    if 300 <= status < 400:
        return _redirected(connection, status, headers)
    complaint = ErrorBody.of(body.decode("utf-8", "replace"))
    true_status = _quoted(complaint.text) if status >= 500 else None
    error = _meant(_Case(connection, true_status or status, complaint, model, quoted=true_status is not None))
    if error is None:
        error = ServerError(f"{connection.name} answered with status {status}.{complaint.said}")
    error.status_code = true_status or status
    error.retry_after_s = retry_after_s(headers)
    return error


def stream_error(
    connection: Connection, complaint: ErrorBody, model: str | None, *, begun: bool
) -> HelixError:
    """The error that was reported inside a 200 answer; StreamFailed once the answer has begun."""
    status = _quoted(complaint.text) or complaint.status
    error = None if begun else _meant(_Case(connection, status, complaint, model, quoted=True))
    if error is None:
        kept = " What arrived is kept." if begun else ""
        error = StreamFailed(f"{connection.name} reported an error inside its answer.{kept}{complaint.said}")
    error.status_code = status
    return error


def unreadable_error(connection: Connection, text: str) -> StreamFailed:
    """The error for a frame nobody can read."""
    excerpt = ErrorBody(text).excerpt or "nothing"
    return StreamFailed(f"{connection.name} sent something that is not part of an answer: {excerpt}")


def web_page_error(connection: Connection, url: str) -> ConfigError:
    """The error for HTML where an answer was expected."""
    root = url.partition("?")[0].partition("/v1")[0]
    origin = "/".join(root.split("/")[:3])
    hint = f"Did you mean {origin}/v1?" if origin != root else "Is an API served there, at .../v1?"
    return ConfigError(
        f"{redact(url.partition('?')[0])} answers with a web page, not with an API. {hint} "
        "Connect to the server's API root with hx.connect(url).",
        status_code=200,
    )


def is_agent_key_error(error: HelixError) -> bool:
    """Whether an error of `models()` only says that the key belongs to an agent, which works."""
    return isinstance(error, NotAllowed) and AGENT_SENTENCE in str(error)


def _quoted(text: str) -> int | None:
    found = _QUOTED.search(text)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that is known about one failure."""

    connection: Connection
    status: int | None
    complaint: ErrorBody
    model: str | None
    quoted: bool  # the status is not the server's own, it stood in the text

    def says(self, words: re.Pattern[str]) -> bool:
        return words.search(self.complaint.words) is not None


def _meant(case: _Case) -> HelixError | None:
    """What words and status say together; None when they say nothing. The first rule that holds wins."""
    status, name, said = case.status, case.connection.name, case.complaint.said
    failed = status in (408, 409, 425) or (status is not None and status >= 500 and not case.says(_REQUEST))
    refused = (status is not None and status >= 400) or case.says(_REQUEST)
    rules: tuple[tuple[bool, Callable[[], HelixError]], ...] = (
        (case.says(_AGENT_KEY), lambda: NotAllowed(AGENT_SENTENCE)),
        (
            status == 402 or (status not in (401, 404) and case.says(_QUOTA)),
            lambda: QuotaExceeded(f"The account on {name} is out of balance, tokens or subscription.{said}"),
        ),
        (status not in (401, 403, 429) and case.says(_MODEL), lambda: _unknown_model(case)),
        (status == 401 or case.says(_AUTH), lambda: _unauthorised(case)),
        (status == 403, lambda: NotAllowed(f"The key for {name} may not do this.{said}")),
        (
            status == 429 or (status in (None, 400, 500, 503) and case.says(_LIMIT)),
            lambda: RateLimited(f"{name} asks to slow down: too many requests for now.{said}"),
        ),
        (
            status == 404,
            lambda: BadRequest(f"{name} knows no such path or model: check the URL and the model.{said}"),
        ),
        (
            failed,
            lambda: ServerError(
                f"{name} failed (status {status}).{said}", retryable=status not in (501, 505)
            ),
        ),
        (refused, lambda: BadRequest(f"{name} refused the request.{said}")),
    )
    return next((error() for holds, error in rules if holds), None)


def _unauthorised(case: _Case) -> AuthError:
    connection, said = case.connection, case.complaint.said
    name = connection.name
    if case.quoted and case.status == 401:
        return AuthError(f"The provider behind {name} refused {name}'s own key; tell whoever runs it.{said}")
    if connection.has_key:
        source = f" (from {connection.key_source})" if connection.key_source else ""
        return AuthError(
            f"{name} does not know the key that was sent{source}; is it whole and current?{said}"
        )
    helix = connection.profile == "helix"
    how = "set HELIX_API_KEY" if helix else "connect with hx.connect(url, key_env=...)"
    return AuthError(f"{name} wants a key and none was sent: {how}.{said}")


def _unknown_model(case: _Case) -> UnknownModel:
    name, model = case.connection.name, case.model
    asked = f"the model {model!r}" if model else "that model"
    found = _SERVED.search(case.complaint.text)
    served = [item for item in re.split(r"[,\s\"'`]+", found[1]) if item] if found else []
    if not served:
        return UnknownModel(f"{name} does not serve {asked}{_UNLISTED}{case.complaint.said}")
    return UnknownModel(f"{name} does not serve {asked}{_list_of(served, model)}")


def add_served_models(error: HelixError, served: Sequence[str], model: str | None) -> None:
    """Put what a server serves, where that is known, into its error about an unknown model."""
    if served:
        error.args = (str(error).replace(_UNLISTED, _list_of(served, model), 1),)


def _list_of(served: Sequence[str], model: str | None) -> str:
    guess = did_you_mean(model or "", served)
    shown = ", ".join(served[:20]) + (f" and {len(served) - 20} more" if len(served) > 20 else "")
    return f".{guess} It serves: {ErrorBody(shown).excerpt}."


def _redirected(connection: Connection, status: int, headers: Mapping[str, str]) -> ConfigError:
    target = re.sub(r"//[^/@]*@", "//", headers.get("location", "").partition("?")[0])
    place = ErrorBody(target).excerpt or "nowhere"
    return ConfigError(
        f"{connection.name} redirects to {place}, and a key never follows a redirect to another place. "
        "If you trust that address, connect to it with hx.connect(url).",
        status_code=status,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from lower-case headers; None when they do not say or cannot be read.

    >>> retry_after_s({"retry-after-ms": "1500"}), retry_after_s({"retry-after": "2"})
    (1.5, 2.0)
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    return seconds if seconds is not None or value is None else _until(value, headers.get("date"))


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(number, 0.0) if math.isfinite(number) else None


def _until(date: str, server_now: str | None) -> float | None:
    """Seconds until an HTTP date, by the server's own clock where it shows one."""
    then, now = _date(date), _date(server_now or "") or datetime.now(UTC)
    return None if then is None else max((then - now).total_seconds(), 0.0)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
