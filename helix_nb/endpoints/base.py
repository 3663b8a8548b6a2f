"""The seam: one try at one answer, whatever gives it. A Request goes in, Deltas come out.

Everything above knows only `Endpoint`; tests and users may put their own in its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..config.connection import Connection
from ..messages import Request
from ..replies import Delta


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that an endpoint serves, as far as the endpoint says; None is unknown."""

    id: str
    size_bytes: int | None = None
    quantization: str | None = None  # in the server's words, "4-bit" for example
    context_length: int | None = None  # in tokens
    note: str | None = None


class DefaultModel(NamedTuple):
    """The model that a request names where its caller named none; None leaves the choice to the endpoint."""

    model: str | None = None
    note: str | None = None  # a sentence for the user, where the endpoint's list made the choice


class Endpoint(Protocol):
    """Whatever answers requests: a server over HTTP, a local model, a replay of the log.

    The exchange calls `stream` once for each try and closes the iterator in any case.

    >>> class Echo:
    ...     def __init__(self, connection):
    ...         self.connection = connection
    ...     async def stream(self, request):
    ...         yield Delta(text=request.messages[-1].text, finished=True, finish_reason="stop")
    """

    connection: Connection

    def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Make one try and yield its deltas.

        The first delta carries `http_status`, a complete answer has a delta that is `finished`,
        and an iterator that ends without one was cut. Closing the iterator closes the socket.

        Raises:
            HelixError: the try failed; deltas may have come before.
        """
        ...

    async def models(self) -> list[ModelInfo]:
        """List what the endpoint serves; raises HelixError."""
        ...

    async def default_model(self) -> DefaultModel:
        """Choose the model for requests that name none, asking the server for its list if need be.

        Raises:
            HelixError: the list was needed and is empty, or could not be had.
        """
        ...

    def wire(self, request: Request) -> dict[str, Any]:
        """Return the request as it would be sent, without any key; ConfigError if it cannot be."""
        ...

    async def aclose(self) -> None:
        """Close idle connections, and every other one once its answer ends."""
        ...
