"""Asking: `ask`, `aask`, `stream`, `astream`, and `Chat`, which remembers.

All of them build a request (asking.py), start it on the background loop (running.py) and wait
for it in their own way; the flow itself is exchange.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from . import provenance
from .asking import Asked, Prompt, asked, system_message
from .config import Connection, first_answer_note
from .draft import new_id
from .errors import ChatBusy, ConfigError
from .messages import Message, Origin, Reply
from .running import Running
from .runtime import run_sync
from .streams import AsyncStream, Stream

if TYPE_CHECKING:
    from .records.threads import Thread
    from .rounds import Outcome

_last: Reply | None = None


def last() -> Reply | None:
    """The last Reply of this process, finished or not; `hx.last`."""
    return _last


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


async def aask(prompt: Prompt, **options: Any) -> Reply:
    """Await the Reply to a prompt: `ask` for top-level await and other event loops.

    >>> import asyncio, helix_nb as hx
    >>> str(asyncio.run(hx.aask("What is the capital of France?", endpoint="demo")))
    'The capital of France is Paris.'
    """
    return await prepare(prompt, **options).aresult()


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


def start(prompt: Prompt, *, chat: Chat | None = None, key: str | None = None, **options: Any) -> Running:
    """Start an ask on the background loop and return it as a Running, without waiting.

    With `chat` the conversation goes along and the answer joins it. `key` names the turn (a cell
    id): a second start under the same key replaces that turn.
    """
    return prepare(prompt, chat=chat, key=key, **options).begin()


def prepare(prompt: Prompt, *, chat: Chat | None = None, key: str | None = None, **options: Any) -> Running:
    """Check an ask and return it ready to `begin()`; nothing is sent before."""
    if chat is not None:
        return chat.prepare(prompt, key=key, **options)
    return Running(_ready(prompt, **options), _remember)


def dry_run(prompt: Prompt, *, chat: Chat | None = None, **options: Any) -> dict[str, Any]:
    """Return what would be sent, without sending it: `{endpoint, url, body}`, and no key."""
    from .endpoints import endpoint_for

    options["announce"] = False
    made = _ready(prompt, **options) if chat is None else chat._asked(prompt, None, options)

    async def wire() -> dict[str, Any]:
        request = (
            made.request if made.schema is None else replace(made.request, schema=made.schema.json_schema)
        )
        return endpoint_for(made.connection).wire(request)

    url = f"{made.connection.base_url}/chat/completions" if made.connection.kind == "remote" else None
    return {"endpoint": made.connection.name, "url": url, "body": run_sync(wire())}


def _ready(prompt: Prompt, *, origin: Origin | None = None, announce: bool = True, **options: Any) -> Asked:
    origin = origin or provenance.origin()
    if origin.thread_id is None:
        origin = replace(origin, thread_id=new_id())
    made = asked(prompt, origin=origin, **options)
    named = options.get("endpoint") is not None
    note = first_answer_note(made.connection, named=named) if announce else None
    return replace(made, notes=(note,)) if note else made


def _remember(_outcome: Outcome | None, reply: Reply) -> None:
    global _last
    _last = reply


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and what followed it. `key` is the cell it belongs to, if any."""

    messages: tuple[Message, ...]
    exchange_id: str | None = None
    key: str | None = None
    reply: Reply | None = None


class Chat:
    """A conversation that remembers its messages itself; it works with the log off.

    Only an exchange that ends `ok` joins it, and only one runs at a time (else ChatBusy). Model
    and endpoint, where not given, are resolved at each send. Further parameters go with every send.

    >>> import helix_nb as hx
    >>> chat = hx.Chat(endpoint="demo", system="You are a helpful assistant.")
    >>> str(chat.ask("What is the capital of France?"))
    'The capital of France is Paris.'
    >>> [m["role"] for m in chat.messages]
    ['system', 'user', 'assistant']
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        endpoint: str | Connection | None = None,
        system: str | None = None,
        **params: Any,
    ) -> None:
        self.model, self.endpoint, self.system, self.params = model, endpoint, system, params
        self.thread_id = new_id()
        self.turns: list[Turn] = []
        self._lock = threading.Lock()
        self._running: Running | None = None
        self._watchers: list[Callable[[], None]] = []

    @property
    def running(self) -> Running | None:
        """The exchange under way, or the last one."""
        return self._running

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have a callback run, on whichever thread, after an exchange starts or the turns change.

        It must not block.
        """
        self._watchers.append(callback)

    @property
    def busy(self) -> bool:
        """Whether an exchange of this chat is under way."""
        return self._running is not None and not self._running.done

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far as `{role, content}` mappings, the system message first."""
        flat = [message for turn in self.turns for message in turn.messages]
        return [message.to_wire() for message in (*system_message(self.system), *flat)]

    def ask(self, prompt: str, **options: Any) -> Reply:
        """Send the next prompt and return the whole Reply; see `hx.ask`."""
        return self.prepare(prompt, **options).result()

    async def aask(self, prompt: str, **options: Any) -> Reply:
        """Await the Reply to the next prompt."""
        return await self.prepare(prompt, **options).aresult()

    def stream(self, prompt: str, **options: Any) -> Stream:
        """Stream the answer to the next prompt; see `hx.stream`."""
        return Stream(lambda: self.prepare(prompt, **options))

    def astream(self, prompt: str, **options: Any) -> AsyncStream:
        """Stream the answer to the next prompt in async code."""
        return AsyncStream(lambda: self.prepare(prompt, **options))

    def start(self, prompt: Prompt, *, key: str | None = None, **options: Any) -> Running:
        """Start the next exchange and return it as a Running, without waiting; ChatBusy as below."""
        return self.prepare(prompt, key=key, **options).begin()

    def prepare(self, prompt: Prompt, *, key: str | None = None, **options: Any) -> Running:
        """Check the next exchange and return it ready to `begin()`; ChatBusy when one is under way."""
        with self._lock:
            if self.busy:
                raise ChatBusy("This chat is still answering; wait for it, stop it, or fork() the chat.")
            made = self._asked(prompt, key, options)
            prompted = made.request.messages[-1]

            def finished(outcome: Outcome | None, reply: Reply) -> None:
                _remember(outcome, reply)
                if outcome is not None:
                    self._join(Turn((prompted, *outcome.messages), reply.exchange_id, key, reply))

            running = self._running = Running(made, finished)
        self._tell()
        return running

    def holds(self, key: str | None) -> bool:
        """Whether a turn of that key (a cell's id) is part of the conversation."""
        return key is not None and any(turn.key == key for turn in self.turns)

    def undo(self) -> str | None:
        """Forget the last turn and return its prompt's text; None when there is none."""
        turn = self._cut(-1).pop() if self.turns else None
        return turn.messages[0].text if turn else None

    def rewind(self, count: int) -> None:
        """Keep the first `count` turns, forget the rest."""
        self._cut(count)

    def remove(self, index: int) -> None:
        """Forget one turn."""
        self._idle()
        del self.turns[index]
        self._tell()

    def reset(self) -> None:
        """Forget everything but the settings, and start a new thread."""
        self._cut(0)
        self.thread_id = new_id()
        self._tell()

    def fork(self) -> Self:
        """Return a Chat with the same past and settings, and a future of its own."""
        other = type(self)(self.model, endpoint=self.endpoint, system=self.system, **self.params)
        other.turns = list(self.turns)
        return other

    def _cut(self, count: int) -> list[Turn]:
        self._idle()
        removed = self.turns[count:]
        del self.turns[count:]
        self._tell()
        return removed

    def _idle(self) -> None:
        if self.busy:
            raise ChatBusy("This chat is still answering; stop it before changing what it remembers.")

    def _asked(self, prompt: Prompt, key: str | None, options: dict[str, Any]) -> Asked:
        if not isinstance(prompt, str):
            raise ConfigError("A chat takes its prompts as text; it keeps the list of messages itself.")
        before = self.turns[: self._index(key)]
        past = [message for turn in before for message in turn.messages]
        settings: dict[str, Any] = {"model": self.model, "endpoint": self.endpoint, "system": self.system}
        settings |= self.params | {name: value for name, value in options.items() if value is not None}
        held = all(turn.exchange_id for turn in before)
        origin = replace(
            settings.pop("origin", None) or _chat_origin(),
            thread_id=self.thread_id,
            parent_id=before[-1].exchange_id if before and held else None,
            new_from=len(system_message(settings["system"])) + len(past) if held else 0,
        )
        return _ready(prompt, history=past, origin=origin, **settings)

    def _index(self, key: str | None) -> int:
        keys: Sequence[str | None] = [turn.key for turn in self.turns]
        return keys.index(key) if key is not None and key in keys else len(keys)

    def _join(self, turn: Turn) -> None:
        index = self._index(turn.key)
        self.turns[index : index + 1] = [turn]
        self._tell()

    def _tell(self) -> None:
        for watcher in tuple(self._watchers):
            watcher()

    def __repr__(self) -> str:
        return f"<Chat of {len(self.turns)} turns, model {self.model or 'by the endpoint'}>"


def turns_of(thread: Thread) -> list[Turn]:
    """The turns of a conversation out of the log; rounds of tool calls belong to the turn they serve."""
    turns: list[Turn] = []
    for exchange in thread.exchanges:
        messages, reply = exchange.messages, exchange.reply
        if turns and not any(message.role == "user" for message in messages):
            messages = (*turns.pop().messages, *messages)
        turns.append(Turn(messages, reply.exchange_id, reply=reply))
    return turns


def _chat_origin() -> Origin:
    origin = provenance.origin()
    return replace(origin, source="chat") if origin.source == "api" else origin
