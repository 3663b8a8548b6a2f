"""`ask`, `aask`, `stream`, `astream`: four ways to wait for one answer.

Each builds a request (request.py), starts it on the background loop (pending.py) and waits for it in
its own way; the flow itself is exchange/flow.py.
"""

from __future__ import annotations

from typing import Any

from ..exchange.rounds import RoundsResult
from ..origin import Origin
from ..replies import Reply
from .pending import PendingReply
from .request import Prompt, build_request
from .signature import same_parameters
from .streams import AsyncStream, Stream

_last: Reply | None = None


def last_reply() -> Reply | None:
    """Return the last Reply of this process, finished or not; this is `hx.last`."""
    return _last


@same_parameters(build_request)
def ask(prompt: Prompt, **options: Any) -> Reply:
    """Send a prompt and return the whole Reply; blocks, also inside a running event loop.

    Args:
        prompt: text, or a list of `{role, content}` mappings sent in order. Never interpolated.
        model: the model's name, sent untouched; default: the endpoint's.
        endpoint: an endpoint's name (`helix`, `local`, `demo`, or one you connected).
        system: a system message; not together with a list of messages.
        images: paths, URLs, bytes, PIL images or figures to show the model.
        attachments: texts sent before the prompt, each stored once in the log.
        schema: a pydantic model, dataclass, TypedDict, `{name: type}` or JSON schema that the
            answer must follow; `Reply.parsed` is the validated object, after at most one repair.
        tools: Python functions the model may call; nothing else ever runs.
        max_rounds: how many times tools may be called and answered (8).
        timeout: seconds for the whole call.
        stream: False asks the server for one whole answer instead of a stream.
        **options: any other parameter by its wire name (temperature, max_tokens, stop, seed, ...).

    Returns:
        The Reply, with status "ok". Its row is in `hx.log()`.

    Raises:
        HelixError: what went wrong; `error.reply` holds the text so far, and the row says
            `error` or `truncated`. Ctrl-C stays a KeyboardInterrupt; the row says `interrupted`.

    >>> import helix_nb as hx
    >>> str(hx.ask("What is the capital of France?", endpoint="demo"))
    'The capital of France is Paris.'
    """
    return prepare(prompt, **options).result()


@same_parameters(build_request)
async def aask(prompt: Prompt, **options: Any) -> Reply:
    """Await the Reply to a prompt: `ask` for top-level await and other event loops.

    >>> import asyncio, helix_nb as hx
    >>> str(asyncio.run(hx.aask("What is the capital of France?", endpoint="demo")))
    'The capital of France is Paris.'
    """
    return await prepare(prompt, **options).aresult()


@same_parameters(build_request)
def stream(prompt: Prompt, **options: Any) -> Stream:
    """Stream an answer: a context manager that yields its text in pieces as they arrive.

    Takes what `ask` takes. Entering sends the request; what fails before any text raises there,
    what fails later raises after the last piece. Leaving early closes the connection and records
    `interrupted`. `s.reply` is the Reply so far.

    >>> import helix_nb as hx
    >>> with hx.stream("What is the capital of France?", endpoint="demo") as s:
    ...     text = "".join(s)
    >>> text, s.reply.status
    ('The capital of France is Paris.', 'ok')
    """
    return Stream(lambda: prepare(prompt, **options))


@same_parameters(build_request)
def astream(prompt: Prompt, **options: Any) -> AsyncStream:
    """Stream an answer in async code: `async with hx.astream(prompt) as s: async for piece in s: ...`

    >>> import asyncio, helix_nb as hx
    >>> async def main():
    ...     async with hx.astream("What is the capital of France?", endpoint="demo") as s:
    ...         return "".join([piece async for piece in s])
    >>> asyncio.run(main())
    'The capital of France is Paris.'
    """
    return AsyncStream(lambda: prepare(prompt, **options))


def prepare(prompt: Prompt, origin: Origin | None = None, /, **options: Any) -> PendingReply:
    """Check an ask and return it ready to `begin()`; nothing is sent before that."""
    prepared = build_request(prompt, **options).with_origin(origin).with_first_answer_note()
    return PendingReply(prepared, set_last_reply)


def set_last_reply(_result: RoundsResult | None, reply: Reply) -> None:
    """Keep a Reply as `hx.last`."""
    global _last
    _last = reply
