"""The OpenAI-compatible endpoint over HTTP: one request, its answer as deltas, errors as sentences."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from ..._version import __version__
from ...config.connection import Connection
from ...config.profiles import profile_named
from ...config.session import known_default_model, remember_default_model
from ...config.urls import url_origin
from ...errors import ConfigError, HelixError, UnknownModel
from ...messages import Request
from ...replies import Delta
from ..base import DefaultModel, ModelInfo
from ..transports import transport_for
from ..transports.base import Response, Transport
from .answer_reader import AnswerReader
from .body import build_body, encode_body
from .body_reader import BodyReader
from .errors import add_served_models, is_agent_key_error, response_error, web_page_error
from .model_list import parse_models
from .sse import Splitter

LISTING_S = 30.0
REDIRECTS = 3

_refusing_usage: set[str] = set()  # base URLs of servers that refuse stream_options


@dataclass(frozen=True, slots=True)
class _Received:
    """A response whose headers are there, and what it says where it is an error."""

    response: Response
    url: str
    error: HelixError | None = None
    error_body: bytes = b""


class OpenAIEndpoint:
    """`POST /chat/completions` and `GET /models` of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._profile = profile_named(connection.profile)
        self._transport: Transport | None = None  # made when the first request goes out
        self._answers_as_agent = False
        self._served: list[str] = []  # the ids of the list of models, once it was asked for
        self._closed = False

    def wire(self, request: Request) -> dict[str, Any]:
        """Return the JSON body as it would be sent; ConfigError if it cannot be."""
        model = request.model or (known_default_model(self.connection) if self._profile.needs_model else None)
        return self._body(request, model)

    async def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Send the request once and yield its answer, as `Endpoint.stream` says."""
        model, note = DefaultModel(request.model) if request.model else await self.default_model()
        received = await self._post(request, model)
        response = received.response
        try:
            yield Delta(http_status=response.status, note=note)
            if received.error is not None:
                raise received.error
            body, splitter = BodyReader(self.connection, response), Splitter()
            reader = AnswerReader(self.connection, received.url, model)
            chunk = await body.first()
            while chunk and not reader.done:
                for event in splitter.feed(chunk):
                    for delta in reader.read(event):
                        yield delta
                chunk = await (body.after_finish(done=reader.done) if reader.finished else body.next())
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
        """List what the server serves; an agent's key raises NotAllowed (see `is_agent_key_error`)."""
        url = f"{await self._base_url()}/models"
        wait_s = min(self.connection.first_byte_timeout_s, LISTING_S)
        received = await self._send("GET", url, None, None, wait_s)
        try:
            if received.error is not None:
                self._answers_as_agent = self._answers_as_agent or is_agent_key_error(received.error)
                raise received.error
            listing = await BodyReader(self.connection, received.response).listing(wait_s)
            models = parse_models(self.connection, listing)
            self._served = [info.id for info in models]
            return models
        finally:
            await received.response.aclose()

    async def default_model(self) -> DefaultModel:
        """Choose the session's model, else the first that the server lists, which is kept from then on.

        Helix, and an agent behind its key, choose by themselves.

        Raises:
            HelixError: the list was needed and is empty, or could not be had.
        """
        if not self._profile.needs_model:
            return DefaultModel()
        model = known_default_model(self.connection)
        if model or self._answers_as_agent:
            return DefaultModel(model)
        try:
            served = [info.id for info in await self.models()]
        except HelixError as error:
            if is_agent_key_error(error):
                return DefaultModel()
            error.args = (f"No model was named, and asking which there are failed. {error}",)
            raise
        if not served:
            name = self.connection.name
            raise ConfigError(f"No model was named and {name} lists none: name one with model=.")
        remember_default_model(self.connection, served[0])
        which = "its only model" if len(served) == 1 else f"the first of {len(served)}"
        return DefaultModel(served[0], f"No model given: using {served[0]}, {which}.")

    async def aclose(self) -> None:
        """Close idle connections, and every other one once its answer ends."""
        self._closed = True
        if self._transport is not None:
            await self._transport.aclose()

    async def _post(self, request: Request, model: str | None) -> _Received:
        """Post the request; where only asking for token counts is refused, post it once more without."""
        url = chat_url(await self._base_url(), self.connection.app_id)
        wait_s = self.connection.first_byte_timeout_s
        body = self._body(request, model)
        received = await self._send("POST", url, encode_body(body, self._profile), model, wait_s)
        unasked = "stream_options" in body and "stream_options" not in request.params
        if not unasked or not _refuses_usage(received):
            return received
        await received.response.aclose()
        _refusing_usage.add(self.connection.base_url)
        body = self._body(request, model)
        return await self._send("POST", url, encode_body(body, self._profile), model, wait_s)

    async def _send(
        self, method: str, url: str, body: bytes | None, model: str | None, wait_s: float
    ) -> _Received:
        """Send, follow redirects within the same origin, and read the body where it is an error."""
        for _ in range(REDIRECTS + 1):
            transport = await self._transport_to(url)
            response = await transport.send(method, url, self._headers(), body, first_byte_s=wait_s)
            try:
                target = _redirect_target(url, response)
                if target is None:
                    return await self._judge(response, url, model)
            except BaseException:
                await response.aclose()
                raise
            await response.aclose()
            url = target
        raise ConfigError(
            f"{self.connection.name} redirects in circles; check the URL {self.connection.base_url}."
        )

    async def _judge(self, response: Response, url: str, model: str | None) -> _Received:
        if 200 <= response.status < 300:
            page = "text/html" in response.headers.get("content-type", "").lower()
            return _Received(response, url, web_page_error(self.connection, url) if page else None)
        body = await BodyReader(self.connection, response).error()
        error = response_error(self.connection, response.status, response.headers, body, model)
        return _Received(response, url, error, body)

    async def _transport_to(self, url: str) -> Transport:
        if self._transport is None:
            self._transport = transport_for(self.connection, url)
            if self._closed:
                await self._transport.aclose()
        return self._transport

    async def _base_url(self) -> str:
        if self.connection.kind != "demo":
            return self.connection.base_url
        from ... import demo

        return await demo.url()

    def _body(self, request: Request, model: str | None) -> dict[str, Any]:
        agent = self._answers_as_agent or self.connection.app_id is not None
        usage = self.connection.base_url not in _refusing_usage
        return build_body(request, self._profile, model=model, agent=agent, usage=usage)

    def _headers(self) -> dict[str, str]:
        return {
            "User-Agent": f"helix-nb/{__version__}",
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",  # a compressing proxy holds a stream back
            "Content-Type": "application/json",
            **self.connection.headers,
            **self.connection.authorization(),
        }


def chat_url(base_url: str, app_id: str | None) -> str:
    """Return where a conversation is sent; `app_id` is one of Helix's agents."""
    return f"{base_url}/chat/completions" + (f"?app_id={quote(app_id, safe='')}" if app_id else "")


def _refuses_usage(received: _Received) -> bool:
    """Return whether a server refused the request because it does not know stream_options."""
    refused = received.error is not None and received.error.status_code in (400, 422)
    return refused and any(name in received.error_body for name in (b"stream_options", b"include_usage"))


def _redirect_target(url: str, response: Response) -> str | None:
    """Return where a redirect leads, if that has the same origin: a key goes nowhere else."""
    location = response.headers.get("location")
    if response.status not in (301, 302, 307, 308) or not location:
        return None
    try:
        target = urljoin(url, location)
        return target if url_origin(urlsplit(target)) == url_origin(urlsplit(url)) else None
    except ValueError:  # no URL, or no such port
        return None
