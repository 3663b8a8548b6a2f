"""What a view may ask of the conversation, by the `do` of its message.

Each wish runs on the background loop. Whatever goes wrong is shown in the panel: what a comm
callback prints or raises reaches nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ...chat.resume import resume
from ...errors import ChatBusy, ConfigError, HelixError
from ...replies import Reply
from ...runtime.loop import call_soon, submit
from . import history, settings
from .conversation import SHOWN, Conversation
from .files import received
from .items import Item
from .protocol import ViewMessage
from .transcript import markdown_of

_RESTORE = {"label": "Restore", "send": {"do": "restore"}}


class Actions:
    """Takes the messages of a panel's views, on any thread."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._stopped_early: set[str] = set()

    def take(self, message: ViewMessage, buffers: Sequence[Any] = ()) -> None:
        """Do what a view asks for, on the background loop."""
        call_soon(self._take, message, buffers)

    def _take(self, message: ViewMessage, buffers: Sequence[Any]) -> None:
        wish = _WISHES.get(str(message.get("do")))
        try:
            if wish is not None:
                wish(self, message, buffers)
        except HelixError as error:
            self._failed(str(error))
        except Exception as bug:  # noqa: BLE001 - nobody else would ever see it
            self._failed(f"The panel could not do that ({type(bug).__name__}: {bug}).")

    def _failed(self, sentence: str) -> None:
        self._conversation.notice("error", sentence)
        self._conversation.told()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - as in _take
                self._failed(str(error))

        submit(guarded())

    def hello(self, message: ViewMessage, _: Sequence[Any]) -> None:
        """A view begins, or has missed something: all of it once more, for that view."""
        self._conversation.emit(self._conversation.snapshot() | {"to": message.get("view")})

    def older(self, message: ViewMessage, _: Sequence[Any]) -> None:
        items = self._conversation.items
        end = next((at for at, item in enumerate(items) if item.id == message.get("before")), 0)
        first = max(0, end - SHOWN)
        turns = [item.view() for item in items[first:end]]
        self._conversation.emit({"t": "older", "to": message.get("view"), "turns": turns, "more": first})

    def send(self, message: ViewMessage, buffers: Sequence[Any]) -> None:
        item = Item(str(message.get("text") or ""))
        item.id = str(message.get("id") or item.id)
        if item.id in self._stopped_early:
            item.kept = Reply(status="interrupted")
        else:
            self._conversation.ask(item, lambda: received(message.get("files") or (), buffers))
        self._conversation.add(item)

    def stop(self, message: ViewMessage, _: Sequence[Any]) -> None:
        """Stop what is under way; what was sent but has not arrived yet is never started."""
        items = self._conversation.items
        if message.get("id") and not any(item.id == message["id"] for item in items):
            self._stopped_early.add(str(message["id"]))
            self.hello(message, ())  # if it never arrives, the view need not wait for it
        for item in items:
            if item.pending and item.running is not None:
                item.running.cancel(wait=False)

    def regenerate(self, message: ViewMessage, _: Sequence[Any]) -> None:
        item = self._conversation.find(message.get("id"))
        self._again(item, item.prompt)

    def edit(self, message: ViewMessage, _: Sequence[Any]) -> None:
        self._again(self._conversation.find(message.get("id")), str(message.get("text") or ""))

    def _again(self, item: Item, text: str) -> None:
        dropped = self._conversation.again(item, text)
        if dropped:
            said = "The later turn is dropped" if dropped == 1 else f"{dropped} later turns are dropped"
            self._conversation.notice("info", f"{said}; the model will not see that.", _RESTORE)

    def delete(self, message: ViewMessage, _: Sequence[Any]) -> None:
        self._conversation.remove([self._conversation.find(message.get("id"))])
        self._conversation.notice("info", "Turn deleted; the model will not see it.", _RESTORE)

    def undo(self, message: ViewMessage, _: Sequence[Any]) -> None:
        """Take the last turn back into the composer."""
        if not self._conversation.items:
            raise ConfigError("There is nothing to undo.")
        item = self._conversation.items[-1]
        self._conversation.remove([item])
        self._conversation.emit({"t": "draft", "to": message.get("view"), "text": item.prompt})
        self._conversation.notice("info", "The last turn is undone.", _RESTORE)

    def clear(self, _message: ViewMessage, _: Sequence[Any]) -> None:
        if self._conversation.clear():
            self._conversation.notice(
                "info", "A new conversation; the one before stays in the log.", _RESTORE
            )

    def restore(self, _message: ViewMessage, _: Sequence[Any]) -> None:
        try:
            self._conversation.restore()
        except ChatBusy as error:
            self._conversation.notice("error", str(error), _RESTORE)

    def settings(self, message: ViewMessage, _: Sequence[Any]) -> None:
        settings.apply(self._conversation.chat, message.get("settings") or {})
        self._conversation.told()

    def models(self, message: ViewMessage, _: Sequence[Any]) -> None:
        async def listed() -> None:
            found = await settings.models_of(str(message.get("endpoint") or ""))
            answer = {"t": "models", "to": message.get("view"), "endpoint": message.get("endpoint")}
            self._conversation.emit(answer | found)

        self._later(listed())

    def threads(self, message: ViewMessage, _: Sequence[Any]) -> None:
        async def listed() -> None:
            items = await history.recent(str(message.get("search") or ""))
            self._conversation.emit({"t": "threads", "to": message.get("view"), "items": items})

        self._later(listed())

    def open(self, message: ViewMessage, _: Sequence[Any]) -> None:
        """Go on with a conversation of the log."""

        async def opened() -> None:
            found = await history.read(str(message.get("thread") or ""))
            note = resume(self._conversation.chat, found)
            self._conversation.renew()
            if note:
                self._conversation.notice("info", note)

        self._later(opened())

    def export(self, message: ViewMessage, _: Sequence[Any]) -> None:
        text = markdown_of(self._conversation.items)
        file = {"t": "file", "to": message.get("view"), "name": "conversation.md", "text": text}
        self._conversation.emit(file)


_NAMES = "hello older send stop regenerate edit delete undo clear restore settings models threads open export"
_WISHES: dict[str, Callable[[Actions, ViewMessage, Sequence[Any]], None]] = {
    name: getattr(Actions, name) for name in _NAMES.split()
}
