"""What a view may ask of the conversation, by the `do` of its message.

Each action runs on the background loop. Whatever goes wrong is shown in the panel: what a comm
callback prints or raises reaches nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ...chat.resume import resume
from ...errors import ChatBusy, ConfigError, HelixError
from ...replies import Reply
from ...runtime.loop import call_soon, submit
from .conversation import SNAPSHOT_TURNS, Conversation
from .files import received_files
from .history import read_thread, recent_choices
from .items import TurnItem
from .protocol import NoticeAction, ViewRequest
from .settings import apply_settings, model_choices
from .transcript import markdown_of

_RESTORE: NoticeAction = {"label": "Restore", "send": {"do": "restore"}}


class Actions:
    """Does what a panel's views ask for, on the background loop."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._stopped_early: set[str] = set()  # turns that were stopped before they arrived

    def receive(self, request: ViewRequest, buffers: Sequence[Any] = ()) -> None:
        """Hand a view's message over to the background loop, from any thread."""
        call_soon(self._perform, request, buffers)

    def _perform(self, request: ViewRequest, buffers: Sequence[Any]) -> None:
        action = _ACTIONS.get(str(request.get("do")))
        try:
            if action is not None:
                action(self, request, buffers)
        except HelixError as error:
            self._show_failure(str(error))
        except Exception as bug:  # noqa: BLE001 - nobody else would ever see it
            self._show_failure(f"The panel could not do that ({type(bug).__name__}: {bug}).")

    def _show_failure(self, sentence: str) -> None:
        self._conversation.notice("error", sentence)
        self._conversation.publish_state()

    def _perform_later(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - as in _perform
                self._show_failure(str(error))

        submit(guarded())

    def hello(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Send the whole conversation to a view that begins, or has missed something."""
        self._conversation.emit(self._conversation.snapshot(request.get("view")))

    def older(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Send a view the turns before those that it has."""
        items = self._conversation.items
        end = next((at for at, item in enumerate(items) if item.id == request.get("before")), 0)
        first = max(0, end - SNAPSHOT_TURNS)
        turns = [item.view() for item in items[first:end]]
        self._conversation.emit({"t": "older", "to": request.get("view"), "turns": turns, "more": first})

    def send(self, request: ViewRequest, buffers: Sequence[Any]) -> None:
        """Ask the next question."""
        item = TurnItem(str(request.get("text") or ""))
        item.id = str(request.get("id") or item.id)
        if item.id in self._stopped_early:
            item.past_reply = Reply(status="interrupted")
        else:
            self._conversation.ask(item, lambda: received_files(request.get("files") or (), buffers))
        self._conversation.add(item)

    def stop(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Stop what is under way; what was sent but has not arrived yet is never started."""
        items, item_id = self._conversation.items, request.get("id")
        if item_id and not any(item.id == item_id for item in items):
            self._stopped_early.add(str(item_id))
            self.hello(request, ())  # if it never arrives, the view need not wait for it
        for item in items:
            if item.pending and item.exchange is not None:
                item.exchange.cancel(wait=False)

    def regenerate(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Ask a question once more."""
        item = self._conversation.find(request.get("id"))
        self._ask_again(item, item.prompt)

    def edit(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Ask another question in the place of one."""
        self._ask_again(self._conversation.find(request.get("id")), str(request.get("text") or ""))

    def _ask_again(self, item: TurnItem, text: str) -> None:
        dropped = self._conversation.regenerate(item, text)
        if dropped:
            what = "The later turn is dropped" if dropped == 1 else f"{dropped} later turns are dropped"
            self._conversation.notice("info", f"{what}; the model will not see that.", _RESTORE)

    def delete(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Forget one turn."""
        self._conversation.remove([self._conversation.find(request.get("id"))])
        self._conversation.notice("info", "Turn deleted; the model will not see it.", _RESTORE)

    def undo(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Take the last turn back into the composer."""
        if not self._conversation.items:
            raise ConfigError("There is nothing to undo.")
        item = self._conversation.items[-1]
        self._conversation.remove([item])
        self._conversation.emit({"t": "draft", "to": request.get("view"), "text": item.prompt})
        self._conversation.notice("info", "The last turn is undone.", _RESTORE)

    def clear(self, _request: ViewRequest, _: Sequence[Any]) -> None:
        """Begin a new conversation."""
        if self._conversation.clear():
            sentence = "A new conversation; the one before stays in the log."
            self._conversation.notice("info", sentence, _RESTORE)

    def restore(self, _request: ViewRequest, _: Sequence[Any]) -> None:
        """Bring back what was removed last."""
        try:
            self._conversation.restore()
        except ChatBusy as error:
            self._conversation.notice("error", str(error), _RESTORE)

    def settings(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Change where and how the conversation asks."""
        apply_settings(self._conversation.chat, request.get("settings") or {})
        self._conversation.publish_state()

    def models(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """List the models of an endpoint."""

        async def list_models() -> None:
            endpoint, view = request.get("endpoint"), request.get("view")
            items, note = await model_choices(str(endpoint or ""))
            self._conversation.emit(
                {"t": "models", "to": view, "endpoint": endpoint, "items": items, "note": note}
            )

        self._perform_later(list_models())

    def threads(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """List recent conversations of the log."""

        async def list_threads() -> None:
            items = await recent_choices(str(request.get("search") or ""))
            self._conversation.emit({"t": "threads", "to": request.get("view"), "items": items})

        self._perform_later(list_threads())

    def open(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Go on with a conversation of the log."""

        async def open_thread() -> None:
            thread = await read_thread(str(request.get("thread") or ""))
            note = resume(self._conversation.chat, thread)
            self._conversation.show()
            if note:
                self._conversation.notice("info", note)

        self._perform_later(open_thread())

    def export(self, request: ViewRequest, _: Sequence[Any]) -> None:
        """Give a view the conversation as a Markdown file."""
        text = markdown_of(self._conversation.items)
        self._conversation.emit(
            {"t": "file", "to": request.get("view"), "name": "conversation.md", "text": text}
        )


_NAMES = "hello older send stop regenerate edit delete undo clear restore settings models threads open export"
_ACTIONS: dict[str, Callable[[Actions, ViewRequest, Sequence[Any]], None]] = {
    name: getattr(Actions, name) for name in _NAMES.split()
}
