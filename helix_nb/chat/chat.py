"""`Chat`: a conversation that remembers, whose exchanges are single asks (ask.py), one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from ..config.connection import Connection
from ..config.secrets import refuse_key_names
from ..errors import ChatBusy, ConfigError
from ..origin import Origin, current_origin, new_id
from ..replies import Reply
from .ask import set_last_reply
from .pending import PendingReply
from .request import PreparedRequest, build_request, system_message
from .signature import same_parameters_as_method
from .streams import AsyncStream, Stream
from .turns import Turn, digest_turns, logged_prefix_length

if TYPE_CHECKING:
    from ..exchange.rounds import RoundsResult


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """What happened to a Chat: an exchange started, or the turns that it remembers changed.

    "started" comes with `pending`, "turn_added" with the `turn` at the end and the `pending` that it
    comes from, "turn_replaced" with the turn that it stands in for in `removed`, "turns_removed" with
    `removed` alone. After "reset" the thread and all turns may be others.
    """

    kind: Literal["started", "turn_added", "turn_replaced", "turns_removed", "reset"]
    turn: Turn | None = None
    removed: tuple[Turn, ...] = ()
    pending: PendingReply | None = None


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
        refuse_key_names(params)
        self.model, self.endpoint, self.system, self.params = model, endpoint, system, params
        self.thread_id = new_id()
        self.turns: list[Turn] = []
        self._lock = threading.Lock()
        self._pending: PendingReply | None = None
        self._watchers: list[Callable[[ChatEvent], None]] = []

    @property
    def pending(self) -> PendingReply | None:
        """The exchange under way, or the last one; None before the first."""
        return self._pending

    def on_change(self, callback: Callable[[ChatEvent], None]) -> None:
        """Have a callback told, on whichever thread, what has just happened; it must not block."""
        self._watchers.append(callback)

    @property
    def busy(self) -> bool:
        """Whether an exchange of this chat is under way."""
        return self._pending is not None and not self._pending.done

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far as `{role, content}` mappings, the system message first."""
        flat = [message for turn in self.turns for message in turn.messages]
        return [message.to_wire() for message in (*system_message(self.system), *flat)]

    @same_parameters_as_method(build_request)
    def ask(self, prompt: str, **options: Any) -> Reply:
        """Send the next prompt and return the whole Reply; see `hx.ask`."""
        return self.prepare(prompt, **options).result()

    @same_parameters_as_method(build_request)
    async def aask(self, prompt: str, **options: Any) -> Reply:
        """Await the Reply to the next prompt."""
        return await self.prepare(prompt, **options).aresult()

    @same_parameters_as_method(build_request)
    def stream(self, prompt: str, **options: Any) -> Stream:
        """Stream the answer to the next prompt; see `hx.stream`."""
        return Stream(lambda: self.prepare(prompt, **options))

    @same_parameters_as_method(build_request)
    def astream(self, prompt: str, **options: Any) -> AsyncStream:
        """Stream the answer to the next prompt in async code."""
        return AsyncStream(lambda: self.prepare(prompt, **options))

    def start(
        self, prompt: str, key: str | None = None, origin: Origin | None = None, /, **options: Any
    ) -> PendingReply:
        """Start the next exchange without waiting for its answer; ChatBusy when one is under way."""
        return self.prepare(prompt, key, origin, **options).begin()

    def prepare(
        self, prompt: str, key: str | None = None, origin: Origin | None = None, /, **options: Any
    ) -> PendingReply:
        """Check the next exchange and return it ready to `begin()`; ChatBusy when one is under way."""
        with self._lock:
            if self.busy:
                raise ChatBusy("This chat is still answering; wait for it, stop it, or fork() the chat.")
            prepared = self.build_request(prompt, key, origin, options).with_first_answer_note()
            question = prepared.request.messages[-1]
            past_digest = digest_turns(self.turns[: self._index(key)])

            def finish(result: RoundsResult | None, reply: Reply) -> None:
                set_last_reply(result, reply)
                if result is not None:
                    messages, digest = (question, *result.messages), None if result.repaired else past_digest
                    self._join(Turn(messages, reply.exchange_id, key, reply, digest), pending)

            pending = self._pending = PendingReply(prepared, finish)
        self._notify(ChatEvent("started", pending=pending))
        return pending

    def holds(self, key: str | None) -> bool:
        """Return whether a turn of that key (a cell's id) is part of the conversation."""
        return key is not None and any(turn.key == key for turn in self.turns)

    def undo(self) -> str | None:
        """Forget the last turn and return its prompt's text; None when there is none."""
        self._require_idle()
        turn = self._remove_from(-1).pop() if self.turns else None
        return turn.messages[0].text if turn else None

    def rewind(self, count: int) -> None:
        """Keep the first `count` turns, and forget the others."""
        self._remove_from(count)

    def remove(self, index: int) -> None:
        """Forget one turn."""
        self._require_idle()
        self._notify(ChatEvent("turns_removed", removed=(self.turns.pop(index),)))

    def reset(self) -> None:
        """Forget everything but the settings, and start a new thread."""
        self.replace_turns((), new_id())

    def replace_turns(self, turns: Iterable[Turn], thread_id: str) -> None:
        """Remember the turns of another thread instead of those so far."""
        self._require_idle()
        self.turns[:] = turns
        self.thread_id = thread_id
        self._notify(ChatEvent("reset"))

    def fork(self) -> Self:
        """Return a Chat with the same past and settings that goes on in a thread of its own."""
        fork = type(self)(self.model, endpoint=self.endpoint, system=self.system, **self.params)
        fork.turns = list(self.turns)
        return fork

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a pickle or a copy: settings, thread and turns, no exchange under way."""
        names = ("model", "endpoint", "system", "params", "thread_id")
        return {name: getattr(self, name) for name in names} | {"turns": list(self.turns)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.__dict__.update(state)

    def _remove_from(self, index: int) -> list[Turn]:
        self._require_idle()
        removed = self.turns[index:]
        del self.turns[index:]
        if removed:
            self._notify(ChatEvent("turns_removed", removed=tuple(removed)))
        return removed

    def _require_idle(self) -> None:
        if self.busy:
            raise ChatBusy("This chat is still answering; stop it before changing what it remembers.")

    def build_request(
        self, prompt: str, key: str | None, origin: Origin | None, options: dict[str, Any]
    ) -> PreparedRequest:
        """Build the next request: the conversation up to the turn of that key, and the prompt."""
        if not isinstance(prompt, str):
            raise ConfigError("A chat takes its prompts as text; it keeps the list of messages itself.")
        past = self.turns[: self._index(key)]
        history = [message for turn in past for message in turn.messages]
        settings: dict[str, Any] = {"model": self.model, "endpoint": self.endpoint, "system": self.system}
        settings |= self.params | {name: value for name, value in options.items() if value is not None}
        logged = past[: logged_prefix_length(past)]
        origin = replace(
            origin or _chat_origin(),
            thread_id=self.thread_id,
            parent_id=logged[-1].exchange_id if logged else None,
            new_from=len(system_message(settings["system"])) + sum(len(turn.messages) for turn in logged),
        )
        return build_request(prompt, **settings).with_history(history).with_origin(origin)

    def _index(self, key: str | None) -> int:
        keys: Sequence[str | None] = [turn.key for turn in self.turns]
        return keys.index(key) if key is not None and key in keys else len(keys)

    def _join(self, turn: Turn, pending: PendingReply) -> None:
        index = self._index(turn.key)
        replaced = tuple(self.turns[index : index + 1])
        self.turns[index : index + 1] = [turn]
        self._notify(ChatEvent("turn_replaced" if replaced else "turn_added", turn, replaced, pending))

    def _notify(self, event: ChatEvent) -> None:
        for watcher in tuple(self._watchers):
            watcher(event)

    def __repr__(self) -> str:
        return f"<Chat of {len(self.turns)} turns, model {self.model or 'by the endpoint'}>"


def _chat_origin() -> Origin:
    origin = current_origin()
    return replace(origin, source="chat") if origin.source == "api" else origin
