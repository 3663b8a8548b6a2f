"""The panel's conversation, without any widget: wishes of the views go in, messages come out.

Everything here runs on the background loop, so nothing needs a lock: comm callbacks, which may
come on any thread, and the Chat, which a cell may use too, only hand over to it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

from ...chat.chat import Chat
from ...chat.pending import PendingReply
from ...errors import ChatBusy, ConfigError, HelixError
from ...origin import Origin
from ...redaction import redact
from ...replies import Reply
from ...runtime.loop import call_soon
from ...text import printable
from ..display.facts import totals_of
from . import settings, tools, waiting
from .files import File, images_of, prompt_with
from .items import Item, in_order
from .pace import Pace
from .protocol import ViewMessage
from .stream import size_of

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
        self, chat: Chat, emit: Callable[[ViewMessage], None], changed: Callable[[], None], height: str = ""
    ) -> None:
        self.chat, self.emit, self.height = chat, emit, height
        self.items = [Item.of_turn(turn) for turn in chat.turns]
        self._changed = changed
        self._thread = chat.thread_id
        self._before: tuple[str, list[Item]] | None = None  # the thread and turns before the last removal
        self._state: ViewMessage = {}  # as the views were told it last
        me = weakref.ref(self)
        chat.on_change(lambda: call_soon(_sync, me))
        call_soon(_sync, me)

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

    async def send(self, text: str, files: Sequence[File] = ()) -> PendingReply:
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

    def again(self, item: Item, text: str) -> int:
        """Ask a turn's question anew, or another in its place; how many later turns that dropped."""
        self.idle()
        later = self.items[self.items.index(item) + 1 :]
        renewed = Item(text, item.files, id=item.id)
        if later:
            self._remember()
        elif self._before is not None:
            thread, items = self._before
            self._before = thread, [renewed if one is item else one for one in items]
        self._drop([item, *later])
        self.ask(renewed, lambda: item.files)
        self.add(renewed)
        return len(later)

    def remove(self, items: list[Item]) -> None:
        """Forget turns; the model will not see them any more."""
        self.idle()
        self._remember()
        self._drop(items)

    def _remember(self) -> None:
        self._before = self.chat.thread_id, self.items

    def _drop(self, items: list[Item]) -> None:
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
        before = self.items
        self._remember()
        self.chat.reset()
        self.renew([])
        return bool(before)

    def restore(self) -> None:
        """Bring back what was removed last, and keep what was asked since in the same conversation."""
        self.idle()
        if self._before is None:
            return
        (thread, items), self._before = self._before, None
        known = {item.id for item in items}
        later = self.items if self.chat.thread_id == thread else []
        whole = [*items, *(item for item in later if item.id not in known)]
        self.chat.thread_id = thread
        self.chat.turns[:] = [item.turn for item in whole if item.turn is not None]
        self.renew(whole)

    def renew(self, items: list[Item] | None = None) -> None:
        """Show another conversation: these turns, or what the Chat holds now."""
        self.items = [Item.of_turn(turn) for turn in self.chat.turns] if items is None else items
        self._thread = self.chat.thread_id
        self.emit(self.snapshot())
        self._changed()

    # -- following the exchanges

    def _start(self, item: Item) -> PendingReply:
        prompt = prompt_with(item.prompt, item.files)
        item.running = self.chat.start(prompt, None, Origin(source="chat"), images=images_of(item.files))
        tools.serve(item.running)
        self._watch(item, item.running)
        return item.running

    def _watch(self, item: Item, running: PendingReply) -> None:
        pace = Pace(lambda: self._step(item, running))
        running.on_change(lambda: pace.changed(last=running.done))
        running.throttle_with(pace.rest)
        waiting.follow(item, self.emit)
        pace.changed()

    def _step(self, item: Item, running: PendingReply) -> int:
        """Tell the views what is new of an answer; how large that was."""
        if running is not item.running or item not in self.items:
            return 0
        done = running.done
        step = item.rendering.step(running.reply, last=done)
        if step is not None:
            self.emit(cast(ViewMessage, step) | {"id": item.id})
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
        new = self._adopt()
        if gone:
            self.emit({"t": "drop", "ids": [item.id for item in gone]})
        ordered = in_order(self.items, self.chat.turns)
        if self.items != ordered:
            self.renew(ordered)
        elif gone or new:
            for item in new:
                self.emit({"t": "turn", "turn": item.view()})
            self.told()

    def _link(self) -> None:
        """Find the place in the Chat of each exchange that has joined it."""
        joined = {turn.exchange_id: turn for turn in self.chat.turns if turn.exchange_id}
        for item in self.items:
            if item.turn is None and item.running is not None:
                item.turn = joined.get(item.running.reply.exchange_id or "")

    def _adopt(self) -> list[Item]:
        """Take in turns and a running exchange that are not ours; return them."""
        known = {id(item.turn) for item in self.items if item.turn is not None}
        new = [Item.of_turn(turn) for turn in tuple(self.chat.turns) if id(turn) not in known]
        running = self.chat.pending
        if running is not None and not running.done and all(one.running is not running for one in self.items):
            new.append(Item.of_running(running))
            self._watch(new[-1], running)
        self.items += new
        return new

    # -- what the views are told

    def notice(self, level: str, text: str, action: dict[str, Any] | None = None) -> None:
        """Show a sentence above the composer."""
        self.emit({"t": "notice", "level": level, "text": redact(printable(text)), "action": action})

    def told(self) -> None:
        """Tell the views, and whoever observes the panel, what changed besides the turns."""
        self._state = self.state()
        self.emit({"t": "state"} | self._state)
        self._changed()

    def look(self) -> None:
        """Tell the views where the next question will go, if that has changed elsewhere."""
        if self._state != self.state():
            self.told()

    def snapshot(self) -> ViewMessage:
        """The conversation as it stands; a view that gets it needs nothing from before."""
        turns = [item.view() for item in self.items[-SHOWN:]]
        more = max(0, len(self.items) - SHOWN)
        self._state = self.state()
        return {"t": "snapshot", "turns": turns, "more": more, "state": self._state}

    def state(self) -> ViewMessage:
        """What a view shows besides the turns."""
        lines = (redact(printable(item.prompt.strip().partition("\n")[0])).strip() for item in self.items)
        return {
            "busy": self.busy,
            "title": next(filter(None, lines), "New conversation")[:80],
            "totals": totals_of(item.reply for item in self.items if not item.pending),
            "height": self.height,
            **settings.described(self.chat),
        }


def _sync(me: weakref.ref[Conversation]) -> None:
    conversation = me()
    if conversation is not None:
        conversation.sync()
