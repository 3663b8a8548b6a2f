"""The panel's conversation, without any widget: what its views ask for goes in, messages come out.

Everything here runs on the background loop, so nothing needs a lock: comm callbacks, which may
come on any thread, and the Chat, which a cell may use too, only hand over to it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Literal

from ...chat.chat import Chat, ChatEvent
from ...chat.pending import PendingReply
from ...chat.turns import Turn
from ...errors import ChatBusy, ConfigError, HelixError
from ...origin import Origin
from ...redaction import redact
from ...replies import Reply
from ...runtime.loop import call_soon
from ...text import printable
from ..display.facts import totals_of
from .files import File, images_of, prompt_with
from .items import TurnItem, follow_activity
from .protocol import NoticeAction, Snapshot, State, ViewMessage
from .settings import settings_view
from .stream import Pace, step_size

SNAPSHOT_TURNS = 20  # turns in a snapshot; older ones are sent when asked for


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
        self.items = [TurnItem.of_turn(turn) for turn in chat.turns]
        self._changed = changed
        self._thread_id = chat.thread_id
        self._removed: tuple[str, list[TurnItem]] | None = None  # thread and items before the last removal
        self._published: State | None = None

    def follow_chat(self) -> None:
        """Take over from now on what happens to the Chat, in cells too."""
        me = weakref.ref(self)
        self.chat.on_change(lambda event: call_soon(_follow, me, event))
        call_soon(_follow, me, ChatEvent("reset"))  # if something happened since `items` were made
        if self.chat.busy:
            call_soon(_follow, me, ChatEvent("started", pending=self.chat.pending))

    @property
    def busy(self) -> bool:
        """Whether an answer is under way, whoever asked for it."""
        return self.chat.busy or any(item.pending for item in self.items)

    def require_idle(self) -> None:
        """Raise ChatBusy while an answer is under way."""
        if self.busy:
            raise ChatBusy("An answer is still under way; stop it first.")

    def find(self, item_id: object) -> TurnItem:
        """Return the turn of that id; ConfigError when it has gone."""
        for item in self.items:
            if item.id == item_id:
                return item
        raise ConfigError("That turn is no longer part of the conversation.")

    # -- what may be done

    async def send(self, text: str, files: Sequence[File] = ()) -> PendingReply:
        """Ask the next question and return its exchange; HelixError means that nothing was added."""
        item = TurnItem(text, tuple(files))
        pending = self._start(item)
        self.add(item)
        return pending

    def ask(self, item: TurnItem, files: Callable[[], Sequence[File]]) -> None:
        """Start a turn's exchange; a failure to start is its answer."""
        try:
            item.files = tuple(files())
            self._start(item)
        except HelixError as error:
            item.past_reply = Reply(status="error", error=redact(str(error)), error_type=type(error).__name__)

    def add(self, item: TurnItem) -> None:
        """Show one more turn."""
        self.items.append(item)
        self.emit({"t": "turn", "turn": item.view()})
        self.publish_state()

    def regenerate(self, item: TurnItem, text: str) -> int:
        """Ask a turn's question anew, or another in its place; return how many later turns that dropped."""
        self.require_idle()
        later = self.items[self.items.index(item) + 1 :]
        renewed = TurnItem(text, item.files, id=item.id)
        if later:
            self._removed = self.chat.thread_id, self.items
        elif self._removed is not None:
            thread_id, items = self._removed
            self._removed = thread_id, [renewed if each is item else each for each in items]
        self._drop([item, *later])
        self.ask(renewed, lambda: item.files)
        self.add(renewed)
        return len(later)

    def remove(self, items: list[TurnItem]) -> None:
        """Forget turns; the model will not see them any more."""
        self.require_idle()
        self._removed = self.chat.thread_id, self.items
        self._drop(items)

    def clear(self) -> bool:
        """Begin a new conversation with the same settings; return whether there was one before."""
        self.require_idle()
        before = self.items
        self._removed = self.chat.thread_id, before
        self.chat.reset()
        self.show([])
        return bool(before)

    def restore(self) -> None:
        """Bring back what was removed last, and keep what was asked since in the same conversation."""
        self.require_idle()
        if self._removed is None:
            return
        (thread_id, items), self._removed = self._removed, None
        ids = {item.id for item in items}
        later = self.items if self.chat.thread_id == thread_id else []
        restored = [*items, *(item for item in later if item.id not in ids)]
        self.chat.replace_turns([item.turn for item in restored if item.turn is not None], thread_id)
        self.show(restored)

    def show(self, items: list[TurnItem] | None = None) -> None:
        """Show another conversation: these turns, or what the Chat holds now."""
        self.items = [TurnItem.of_turn(turn) for turn in self.chat.turns] if items is None else items
        self._thread_id = self.chat.thread_id
        self.emit(self.snapshot())
        self._changed()

    def _drop(self, items: list[TurnItem]) -> None:
        gone = {id(item.turn) for item in items if item.turn is not None}
        for index in reversed(range(len(self.chat.turns))):
            if id(self.chat.turns[index]) in gone:
                self.chat.remove(index)
        self._take_away(items)

    def _take_away(self, items: list[TurnItem]) -> None:
        self.items = [item for item in self.items if item not in items]
        self.emit({"t": "drop", "ids": [item.id for item in items]})
        self.publish_state()

    # -- following an exchange

    def _start(self, item: TurnItem) -> PendingReply:
        prompt = prompt_with(item.prompt, item.files)
        pending = self.chat.start(prompt, None, Origin(source="chat"), images=images_of(item.files))
        item.exchange = pending
        pending.serve_tools_in_thread()
        self._watch(item, pending)
        return pending

    def _watch(self, item: TurnItem, pending: PendingReply) -> None:
        pace = Pace(lambda: self._take_step(item, pending))
        pending.on_change(lambda: pace.request_step(final=pending.done))
        pending.throttle_with(pace.rest)
        follow_activity(item, self.emit)
        pace.request_step()

    def _take_step(self, item: TurnItem, pending: PendingReply) -> int:
        """Send the views what is new of an answer; return how large that was."""
        if pending is not item.exchange or item not in self.items:
            return 0
        done = pending.done
        step = item.rendering.step(pending.reply, final=done)
        if step is not None:
            step["id"] = item.id
            self.emit(step)
        if done:
            item.ended = True
            self.emit({"t": "turn", "turn": item.view(with_text=False)})
            self.publish_state()
        return 0 if step is None else step_size(step)

    # -- following the Chat, which a cell may use too

    def follow(self, event: ChatEvent) -> None:
        """Take over what happened to the Chat; what this panel did itself is shown already."""
        if event.kind == "reset":
            self._follow_reset()
        elif event.kind == "turns_removed":
            self._follow_removal(event.removed)
        elif event.pending is not None:
            item = next((item for item in self.items if item.exchange is event.pending), None)
            if event.kind == "started" and item is None:
                self._follow_start(event.pending)
            elif event.turn is not None:
                self._follow_turn(event.turn, item, event.removed)

    def _follow_reset(self) -> None:
        turns = [item.turn for item in self.items if item.turn is not None]
        if self._thread_id != self.chat.thread_id or turns != self.chat.turns:
            self.show()

    def _follow_removal(self, removed: Sequence[Turn]) -> None:
        gone = _ids(removed) - _ids(self.chat.turns)  # some may be restored already
        if items := [item for item in self.items if id(item.turn) in gone]:
            self._take_away(items)

    def _follow_start(self, pending: PendingReply) -> None:
        item = TurnItem.of_exchange(pending)
        self._watch(item, pending)
        self.add(item)

    def _follow_turn(self, turn: Turn, item: TurnItem | None, replaced: Sequence[Turn]) -> None:
        """Give an item its place in the Chat, which may be that of another one."""
        if item is None:
            if any(each.turn is turn for each in self.items):
                return
            item = TurnItem.of_turn(turn)
            self.add(item)
        item.turn = turn
        old = next((each for each in self.items if id(each.turn) in _ids(replaced)), None)
        if old is None:
            return
        index = self.items.index(old)
        if self.items[index + 1 : index + 2] == [item]:
            self._take_away([old])
        else:
            rest = [each for each in self.items if each is not item]
            rest[index] = item
            self.show(rest)

    # -- what the views are told

    def notice(self, level: Literal["info", "error"], text: str, action: NoticeAction | None = None) -> None:
        """Show a sentence above the composer."""
        self.emit({"t": "notice", "level": level, "text": redact(printable(text)), "action": action})

    def publish_state(self) -> None:
        """Tell the views, and whoever observes the panel, what changed besides the turns."""
        self._published = state = self.state()
        self.emit({"t": "state", **state})
        self._changed()

    def refresh(self) -> None:
        """Tell the views where the next question will go, if that has changed elsewhere."""
        if self._published != self.state():
            self.publish_state()

    def snapshot(self, view: str | None = None) -> Snapshot:
        """Return the conversation as it stands, for one view or for all."""
        turns = [item.view() for item in self.items[-SNAPSHOT_TURNS:]]
        more = max(0, len(self.items) - SNAPSHOT_TURNS)
        self._published = state = self.state()
        snapshot: Snapshot = {"t": "snapshot", "turns": turns, "more": more, "state": state}
        if view is not None:
            snapshot["to"] = view
        return snapshot

    def state(self) -> State:
        """Return what a view shows besides the turns."""
        lines = (redact(printable(item.prompt.strip().partition("\n")[0])).strip() for item in self.items)
        return {
            "busy": self.busy,
            "title": next(filter(None, lines), "New conversation")[:80],
            "totals": totals_of(item.reply for item in self.items if not item.pending),
            "height": self.height,
            **settings_view(self.chat),
        }


def _follow(conversation: weakref.ref[Conversation], event: ChatEvent) -> None:
    """Hand an event to a conversation, unless its panel has gone."""
    target = conversation()
    if target is not None:
        target.follow(event)


def _ids(turns: Sequence[Turn]) -> set[int]:
    return {id(turn) for turn in turns}
