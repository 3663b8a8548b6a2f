"""The faces of a single ask: `ask`, `aask`, `stream`, `astream`, and what cells and panels start.

All of them build a request (asking.py), start it on the background loop (running.py) and wait
for it in their own way; the flow itself is exchange.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from .asking import Asked, Prompt, asked
from .config import first_answer_note
from .messages import Message
from .origin import Origin, current_origin, new_id
from .replies import Reply
from .running import Running
from .runtime import run_sync
from .streams import AsyncStream, Stream

if TYPE_CHECKING:
    from .chat import Chat
    from .rounds import Outcome

F = TypeVar("F", bound=Callable[..., Any])
_last: Reply | None = None


def last() -> Reply | None:
    """The last Reply of this process, finished or not; `hx.last`."""
    return _last


def _with_options(face: F) -> F:
    """Let a face show the options that `asked` takes: help and Tab know them then."""
    of_ask = inspect.signature(asked).parameters.values()
    options = [option for option in of_ask if option.kind is not option.POSITIONAL_ONLY]
    own = inspect.signature(face)
    face.__dict__["__signature__"] = own.replace(parameters=[own.parameters["prompt"], *options])
    return face


@_with_options
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


@_with_options
async def aask(prompt: Prompt, **options: Any) -> Reply:
    """Await the Reply to a prompt: `ask` for top-level await and other event loops.

    >>> import asyncio, helix_nb as hx
    >>> str(asyncio.run(hx.aask("What is the capital of France?", endpoint="demo")))
    'The capital of France is Paris.'
    """
    return await prepare(prompt, **options).aresult()


@_with_options
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


@_with_options
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


def start(prompt: Prompt, chat: Chat | None = None, key: str | None = None, /, **options: Any) -> Running:
    """Start an ask on the background loop and return it as a Running, without waiting.

    With `chat` the conversation goes along and the answer joins it. `key` names the turn (a cell
    id): a second start under the same key replaces that turn.
    """
    return prepare(prompt, chat, key, **options).begin()


def prepare(
    prompt: Prompt,
    chat: Chat | None = None,
    key: str | None = None,
    origin: Origin | None = None,
    /,
    **options: Any,
) -> Running:
    """Check an ask and return it ready to `begin()`; nothing is sent before."""
    if chat is not None:
        return chat.prepare(prompt, key, origin, **options)
    made = ready(prompt, origin, **options)
    return Running(announced(made, named=options.get("endpoint") is not None), remember)


def dry_run(prompt: Prompt, chat: Chat | None = None, /, **options: Any) -> dict[str, Any]:
    """Return what would be sent, without sending it: `{endpoint, url, body}`, and no key."""
    from .endpoints.completions import asked_at
    from .endpoints.registry import endpoint_for

    made = ready(prompt, **options) if chat is None else chat.asked(prompt, None, None, options)

    async def wire() -> dict[str, Any]:
        request = (
            made.request if made.schema is None else replace(made.request, schema=made.schema.json_schema)
        )
        return endpoint_for(made.connection).wire(request)

    there = made.connection
    url = asked_at(there.base_url, there.app_id) if there.kind == "remote" else None
    return {"endpoint": made.connection.name, "url": url, "body": run_sync(wire())}


def ready(
    prompt: Prompt, origin: Origin | None = None, history: Sequence[Message] = (), /, **options: Any
) -> Asked:
    """Check an ask and give it a thread."""
    origin = origin or current_origin()
    if origin.thread_id is None:
        origin = replace(origin, thread_id=new_id())
    return asked(prompt, origin, history, **options)


def announced(made: Asked, *, named: bool) -> Asked:
    """Have the answer say once where answers come from when nothing is configured."""
    note = first_answer_note(made.connection, named=named)
    return replace(made, notes=(note,)) if note else made


def remember(_outcome: Outcome | None, reply: Reply) -> None:
    """Keep the Reply that `hx.last` gives."""
    global _last
    _last = reply
