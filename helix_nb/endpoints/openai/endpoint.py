"""The OpenAI-compatible endpoint over HTTP: one request, its answer as deltas, errors as sentences."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from ...config.connection import Connection
from ...config.profiles import profile_named
from ...config.session import known_default_model, remember_default_model
from ...errors import ConfigError, ConnectionFailed, HelixError, StreamFailed, UnknownModel
from ...messages import Request
from ...replies import Delta
from ..base import ModelChoice, ModelInfo
from ..transports import transport_for
from ..transports.base import Response, Transport, silence_error
from .answer_reader import AnswerReader
from .body import build_body, encode_body
from .errors import add_served_models, is_agent_key_error, response_error, web_page_error
from .model_list import parse_models
from .sse import Splitter

MOST_ERROR_BYTES = 64 * 1024
MOST_LISTING_BYTES = 16 * 1024 * 1024
ERROR_BODY_S = 5.0
AFTER_FINISH_S = 5.0  # how long to wait for token counts once the answer is complete, whatever else comes
AFTER_DONE_S = 0.02  # usually only the end of the body is missing; with it the connection can be kept
LISTING_S = 30.0
REDIRECTS = 3

_without_usage: set[str] = set()  # base URLs that refuse stream_options


@dataclass(frozen=True, slots=True)
class _Answered:
    """A response, and the whole body where it is an error."""

    response: Response
    url: str
    error: HelixError | None = None
    body: bytes = b""


class OpenAIEndpoint:
    """`POST /chat/completions` and `GET /models` of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._profile = profile_named(connection.profile)
        self._carrier: Transport | None = None
        self._answers_as_agent = False
        self._served: list[str] = []  # as far as somebody asked for the list
        self._closed = False

    def wire(self, request: Request) -> dict[str, Any]:
        """Return the JSON body as it would be sent; ConfigError if it cannot be."""
        return self._body(request, self._known_model(request))

    async def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Send the request once and yield its answer; see `Endpoint.stream`."""
        model, note = ModelChoice(request.model) if request.model else await self.default_model()
        answered = await self._ask(request, model)
        response = answered.response
        try:
            yield Delta(http_status=response.status, note=note)
            if answered.error is not None:
                raise answered.error
            reader, splitter = AnswerReader(self.connection, answered.url, model), Splitter()
            chunk = await self._first(response)
            while chunk and not reader.done:
                for event in splitter.feed(chunk):
                    for delta in reader.read(event):
                        yield delta
                chunk = await self._next(response, reader)
            for event in splitter.close():
                for delta in reader.read(event):
                    yield delta
            for delta in reader.close(cut=response.cut):
                yield delta
        except UnknownModel as error:
            add_served_models(error, self._served, model)
            raise
        finally:
            await response.aclose()

    async def models(self) -> list[ModelInfo]:
        """List what the endpoint serves. An agent key raises NotAllowed, which `agent_key` recognises."""
        url = f"{await self._base_url()}/models"
        wait_s = min(self.connection.first_byte_timeout_s, LISTING_S)
        answered = await self._send("GET", url, None, None, wait_s)
        try:
            if answered.error is not None:
                self._answers_as_agent = self._answers_as_agent or is_agent_key_error(answered.error)
                raise answered.error
            models = parse_models(self.connection, await self._listing(answered.response, wait_s))
            self._served = [info.id for info in models]
            return models
        finally:
            await answered.response.aclose()

    async def default_model(self) -> ModelChoice:
        """Choose the session's model, else the first that the server lists, which is kept from then on.

        Helix, and an agent behind its key, choose by themselves.

        Raises:
            HelixError: the list was needed and is empty, or could not be had.
        """
        if not self._profile.needs_model:
            return ModelChoice()
        model = known_default_model(self.connection)
        if model or self._answers_as_agent:
            return ModelChoice(model)
        try:
            served = [info.id for info in await self.models()]
        except HelixError as error:
            if is_agent_key_error(error):
                return ModelChoice()
            error.args = (f"No model was named, and asking which there are failed. {error}",)
            raise
        if not served:
            name = self.connection.name
            raise ConfigError(f"No model was named and {name} lists none: name one with model=.")
        remember_default_model(self.connection, served[0])
        which = "its only model" if len(served) == 1 else f"the first of {len(served)}"
        return ModelChoice(served[0], f"No model given: using {served[0]}, {which}.")

    async def aclose(self) -> None:
        """Close idle connections, and every other one once its answer ends."""
        self._closed = True
        if self._carrier is not None:
            await self._carrier.aclose()

    async def _carried(self, url: str) -> Transport:
        """The carrier, made when the first request goes out."""
        if self._carrier is None:
            self._carrier = transport_for(self.connection, url)
            if self._closed:
                await self._carrier.aclose()
        return self._carrier

    def _body(self, request: Request, model: str | None) -> dict[str, Any]:
        agent = self._answers_as_agent or self.connection.app_id is not None
        usage = self.connection.base_url not in _without_usage
        return build_body(request, self._profile, model=model, agent=agent, usage=usage)

    def _known_model(self, request: Request) -> str | None:
        return request.model or (known_default_model(self.connection) if self._profile.needs_model else None)

    async def _ask(self, request: Request, model: str | None) -> _Answered:
        """Post the request; where only asking for token counts is refused, post it once more without."""
        url = chat_url(await self._base_url(), self.connection.app_id)
        wait_s = self.connection.first_byte_timeout_s
        body = self._body(request, model)
        answered = await self._send("POST", url, encode_body(body, self._profile), model, wait_s)
        named = any(name in answered.body for name in (b"stream_options", b"include_usage"))
        refused = answered.error is not None and answered.error.status_code in (400, 422) and named
        if not refused or "stream_options" not in body or "stream_options" in request.params:
            return answered
        await answered.response.aclose()
        _without_usage.add(self.connection.base_url)
        body = self._body(request, model)
        return await self._send("POST", url, encode_body(body, self._profile), model, wait_s)

    async def _send(
        self, method: str, url: str, body: bytes | None, model: str | None, wait_s: float
    ) -> _Answered:
        """Send, follow redirects within the same place, and read the body where it is an error."""
        for _ in range(REDIRECTS + 1):
            carrier = await self._carried(url)
            response = await carrier.send(method, url, self._headers(), body, first_byte_s=wait_s)
            try:
                target = _same_place(url, response)
                if target is None:
                    return await self._judged(response, url, model)
            except BaseException:
                await response.aclose()
                raise
            await response.aclose()
            url = target
        raise ConfigError(
            f"{self.connection.name} redirects in circles; check the URL {self.connection.base_url}."
        )

    async def _judged(self, response: Response, url: str, model: str | None) -> _Answered:
        if 200 <= response.status < 300:
            page = "text/html" in response.headers.get("content-type", "").lower()
            return _Answered(response, url, web_page_error(self.connection, url) if page else None)
        body = await _all_of(response, min(self.connection.idle_timeout_s, ERROR_BODY_S), MOST_ERROR_BYTES)
        return _Answered(
            response,
            url,
            response_error(self.connection, response.status, response.headers, body, model),
            body,
        )

    def _headers(self) -> dict[str, str]:
        from ..._version import __version__

        return {
            "User-Agent": f"helix-nb/{__version__}",
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",  # a compressing proxy holds a stream back
            "Content-Type": "application/json",
            **self.connection.headers,
            **self.connection.authorization(),
        }

    async def _base_url(self) -> str:
        if self.connection.kind != "demo":
            return self.connection.base_url
        from ... import demo

        return await demo.url()

    async def _listing(self, response: Response, wait_s: float) -> bytes:
        body = b""
        try:
            while len(body) < MOST_LISTING_BYTES and (chunk := await response.read(wait_s)):
                body += chunk
        except TimeoutError:
            raise silence_error(self.connection, "first_byte_timeout_s", wait_s) from None
        if response.cut:
            raise ConnectionFailed(f"{self.connection.name} hung up before its list of models was whole.")
        return body

    async def _first(self, response: Response) -> bytes:
        """The first bytes of an answer."""
        limit_s = self.connection.first_byte_timeout_s
        try:
            return await response.read(limit_s)
        except TimeoutError:
            raise silence_error(self.connection, "first_byte_timeout_s", limit_s) from None

    async def _next(self, response: Response, reader: AnswerReader) -> bytes:
        """The next bytes; once the answer is complete, silence is just its end, and so is a long wait."""
        limit_s, started = self.connection.idle_timeout_s, time.monotonic()
        if reader.finished:
            limit_s = AFTER_DONE_S if reader.done else min(limit_s, AFTER_FINISH_S) - reader.waited_s
        try:
            return await response.read(limit_s) if limit_s > 0 else b""
        except TimeoutError:
            if reader.finished:
                return b""
            raise silence_error(self.connection, "idle_timeout_s", limit_s) from None
        finally:
            if reader.finished:
                reader.waited_s += time.monotonic() - started


def chat_url(base_url: str, app_id: str | None) -> str:
    """Where a conversation is sent; `app_id` is one of Helix's agents."""
    return f"{base_url}/chat/completions" + (f"?app_id={quote(app_id, safe='')}" if app_id else "")


def _same_place(url: str, response: Response) -> str | None:
    """Where a redirect leads, if it stays with the same scheme, host and port."""
    location = response.headers.get("location")
    if response.status not in (301, 302, 307, 308) or not location:
        return None
    try:
        target = urljoin(url, location)
        return target if _origin(target) == _origin(url) else None
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


async def _all_of(response: Response, timeout_s: float, most_bytes: int) -> bytes:
    """The body, as much of it as comes in time and is allowed."""
    body = b""
    try:
        while len(body) < most_bytes and (chunk := await response.read(timeout_s)):
            body += chunk
    except (TimeoutError, StreamFailed):
        pass  # a body that explains an error is welcome, not needed
    return body[:most_bytes]
