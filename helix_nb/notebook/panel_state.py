"""The panel's conversation, without any widget: wishes of the views go in, messages come out.

Everything here runs on the background loop, so nothing needs a lock: comm callbacks, which may
come on any thread, and the Chat, which a cell may use too, only hand over to it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

from .. import runtime
from ..chat import Chat, Turn
from ..config import redact
from ..errors import ChatBusy, ConfigError, HelixError
from ..markdown import plain
from ..messages import Origin, Reply
from ..running import Running
from . import panel_settings, panel_waiting
from .panel_facts import totals_of
from .panel_files import File, images_of, prompt_with
from .panel_pace import Pace
from .panel_protocol import Message
from .panel_stream import size_of
from .panel_turns import Item

SHOWN = 20  # turns in a snapshot; older ones are sent when asked for


class Conversation:
    """What is shown of a Chat, and what may be done with it.

    Args:
        chat: the conversation; a cell may use it at the same time.
        emit: called on the background loop with each message for the views.
        changed: called on the background loop when `busy` or a finished turn changed.
        height: of the panel, as CSS.
    """

    def __init__(
        self, chat: Chat, emit: Callable[[Message], None], changed: Callable[[], None], height: str = ""
    ) -> None:
        self.chat, self.emit, self.height = chat, emit, height
        self.items = [Item.of_turn(turn) for turn in chat.turns]
        self._changed = changed
        self._thread = chat.thread_id
        self._removed: tuple[int, list[Item], str] | None = None
        me = weakref.ref(self)
        chat.on_change(lambda: runtime.call_soon(_sync, me))
        runtime.call_soon(_sync, me)

    @property
    def busy(self) -> bool:
        """Whether an answer is under way, whoever asked for it."""
        return self.chat.busy or any(item.pending for item in self.items)

    def idle(self) -> None:
        """Raise ChatBusy while an answer is under way."""
        if self.busy:
            raise ChatBusy("An answer is still under way; stop it first.")

    def find(self, item_id: object) -> Item:
        """The turn of that id; ConfigError when it has gone."""
        for item in self.items:
            if item.id == item_id:
                return item
        raise ConfigError("That turn is no longer part of the conversation.")

    # -- what may be done

    async def send(self, text: str, files: Sequence[File] = ()) -> Running:
        """Ask the next question; raises HelixError, and then nothing was added."""
        item = Item(text, tuple(files))
        running = self._start(item)
        self.add(item)
        return running

    def ask(self, item: Item, files: Callable[[], Sequence[File]]) -> None:
        """Start a turn's exchange; a failure to start is its answer."""
        try:
            item.files = tuple(files())
            self._start(item)
        except HelixError as error:
            item.kept = Reply(status="error", error=redact(str(error)), error_type=type(error).__name__)

    def add(self, item: Item) -> None:
        """Show one more turn."""
        self.items.append(item)
        self.emit({"t": "turn", "turn": item.view()})
        self.told()

    def again(self, item: Item, text: str) -> None:
        """Ask a turn's question anew, or another in its place; what came after it is dropped."""
        self.idle()
        later = self.items[self.items.index(item) + 1 :]
        self.remove([item, *later])
        renewed = Item(text, item.files, id=item.id)
        self.ask(renewed, lambda: item.files)
        self.add(renewed)

    def remove(self, items: list[Item]) -> None:
        """Forget turns; the model will not see them any more."""
        self.idle()
        self._removed = (self.items.index(items[0]), items, self.chat.thread_id)
        self.items = [item for item in self.items if item not in items]
        gone = {id(item.turn) for item in items if item.turn is not None}
        for index in reversed(range(len(self.chat.turns))):
            if id(self.chat.turns[index]) in gone:
                self.chat.remove(index)
        self.emit({"t": "drop", "ids": [item.id for item in items]})
        self.told()

    def clear(self) -> bool:
        """Begin a new conversation with the same settings; whether there was one before."""
        self.idle()
        self._removed = (0, self.items, self.chat.thread_id)
        self.chat.reset()
        self.renew([])
        return bool(self._removed[1])

    def restore(self) -> None:
        """Bring back what was removed last."""
        self.idle()
        if self._removed is None:
            return
        at, items, thread = self._removed
        kept = self.items if self.chat.thread_id == thread else []
        whole = [*kept[:at], *items, *kept[at:]]
        self._removed, self.chat.thread_id = None, thread
        self.chat.turns[:] = [item.turn for item in whole if item.turn is not None]
        self.renew(whole)

    def renew(self, items: list[Item] | None = None) -> None:
        """Show another conversation: these turns, or what the Chat holds now."""
        self.items = [Item.of_turn(turn) for turn in self.chat.turns] if items is None else items
        self._thread = self.chat.thread_id
        self.emit(self.snapshot())
        self._changed()

    # -- following the exchanges

    def _start(self, item: Item) -> Running:
        prompt = prompt_with(item.prompt, item.files)
        item.running = self.chat.start(prompt, None, Origin(source="chat"), images=images_of(item.files))
        self._watch(item, item.running)
        return item.running

    def _watch(self, item: Item, running: Running) -> None:
        if running.asked.tools:
            threading.Thread(target=_serve_calls, args=(running,), name="helix_nb tools", daemon=True).start()
        pace = Pace(lambda: self._step(item, running))
        running.on_change(lambda: pace.changed(last=running.done))
        running.rest_by(pace.rest)
        panel_waiting.follow(item, self.emit)
        pace.changed()

    def _step(self, item: Item, running: Running) -> int:
        """Tell the views what is new of an answer; how large that was."""
        if running is not item.running or item not in self.items:
            return 0
        done = running.done
        step = item.rendering.step(running.reply, last=done)
        if step is not None:
            self.emit(cast(Message, step) | {"id": item.id})
        if done:
            item.ended = True
            self.sync()
            self.emit({"t": "turn", "turn": item.view(whole=False)})
            self.told()
        return 0 if step is None else size_of(step)

    # -- what happened to the Chat elsewhere

    def sync(self) -> None:
        """Take over turns that a cell added, replaced or took back, and its exchange under way."""
        if self.chat.thread_id != self._thread:
            self.renew()
        self._link()
        here = {id(turn) for turn in self.chat.turns}
        gone = [item for item in self.items if item.turn is not None and id(item.turn) not in here]
        self.items = [item for item in self.items if item not in gone]
        if self._adopt():
            self.renew(self.items)
        elif gone:
            self.emit({"t": "drop", "ids": [item.id for item in gone]})
            self.told()

    def _link(self) -> None:
        """Find the place in the Chat of each exchange that has joined it."""
        joined = {turn.exchange_id: turn for turn in self.chat.turns if turn.exchange_id}
        for item in self.items:
            if item.turn is None and item.running is not None:
                item.turn = joined.get(item.running.reply.exchange_id or "")

    def _adopt(self) -> bool:
        """Show turns and a running exchange that are not ours; whether there were any."""
        known = {id(item.turn) for item in self.items if item.turn is not None}
        new = [turn for turn in tuple(self.chat.turns) if id(turn) not in known]
        for turn in new:
            self.items.insert(self._place(turn), Item.of_turn(turn))
        running = self.chat.running
        if running is None or running.done or any(item.running is running for item in self.items):
            return bool(new)
        item = Item.of_running(running)
        self.items.append(item)
        self._watch(item, running)
        return True

    def _place(self, turn: Turn) -> int:
        """Where a turn of the Chat belongs among the items: after the turn before it."""
        turns = self.chat.turns
        at = next((index for index, one in enumerate(turns) if one is turn), len(turns))
        if at >= len(turns) - 1:
            return len(self.items)
        before = turns[at - 1] if at else None
        return next((i + 1 for i, item in enumerate(self.items) if before and item.turn is before), 0)

    # -- what the views are told

    def notice(self, level: str, text: str, action: dict[str, Any] | None = None) -> None:
        """Show a sentence above the composer."""
        self.emit({"t": "notice", "level": level, "text": redact(plain(text)), "action": action})

    def told(self) -> None:
        """Tell the views, and whoever observes the panel, what changed besides the turns."""
        self.emit({"t": "state"} | self.state())
        self._changed()

    def snapshot(self) -> Message:
        """The conversation as it stands; a view that gets it needs nothing from before."""
        turns = [item.view() for item in self.items[-SHOWN:]]
        more = max(0, len(self.items) - SHOWN)
        return {"t": "snapshot", "turns": turns, "more": more, "state": self.state()}

    def state(self) -> Message:
        """What a view shows besides the turns."""
        first = next((item.prompt.strip() for item in self.items if item.prompt.strip()), "")
        return {
            "busy": self.busy,
            "title": redact(plain(first.splitlines()[0][:80])) if first else "New conversation",
            "totals": totals_of(item.reply for item in self.items if not item.pending),
            "height": self.height,
            **panel_settings.described(self.chat),
        }


def _sync(me: weakref.ref[Conversation]) -> None:
    conversation = me()
    if conversation is not None:
        conversation.sync()


def _serve_calls(running: Running) -> None:
    """Run the tools the model asks for on a thread that waits, as `result()` does."""
    try:
        running.result()
    except HelixError:
        pass  # the panel shows it as the answer's status
