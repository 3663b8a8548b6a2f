"""`hx.ChatPanel`: a chat in the notebook. The widget only carries messages; conversation.py thinks."""

from __future__ import annotations

import asyncio
import re
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython

from ...chat.chat import Chat
from ...chat.pending import PendingReply
from ...config.connection import Connection
from ...errors import ConfigError
from ...markdown.style import CODE, LAYOUT
from ...prompts.images import MAX_BYTES
from ...runtime.loop import call_soon, run_sync, submit
from ...text import count_of
from ..display.output import display_mode
from .actions import Actions
from .conversation import Conversation
from .files import file_at
from .protocol import ViewMessage, ViewRequest
from .transcript import MAX_PAGES, TranscriptPages, markdown_of

if TYPE_CHECKING:
    import pandas as pd

_conversations: weakref.WeakSet[Conversation] = weakref.WeakSet()  # of the panels of this kernel
_STATIC = Path(__file__).parent / "static"
_PARTS = ("dom", "turn", "composer", "sheet", "view")  # each uses those before it


def _module() -> str:
    """Join the parts of the view to one module, without the lines that are comments.

    Notebooks that save their widgets hold it once for each panel.
    """
    parts = [(_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in _PARTS]
    script = "".join([f"const MAX_BYTES = {MAX_BYTES};\n", *parts])
    return re.sub(r"^ *//.*\n", "", script, flags=re.MULTILINE)


class _Busy(traitlets.Bool[bool, bool]):
    """A trait that reads as things stand now; its observers hear of it a moment later."""

    def get(self, obj: Any, cls: Any = None) -> bool:
        conversation = getattr(obj, "_conversation", None)
        return conversation is not None and conversation.busy


class ChatPanel(anywidget.AnyWidget):
    """Show a chat that streams from the current endpoint; every turn is a row of the log.

    Args:
        chat: a `Chat` to show and go on with; default: a new one. A cell that uses the same Chat
            and the panel show the same history.
        endpoint, model, system, **params: as for `hx.Chat`; only without `chat`. The panel's
            settings change them for this conversation.
        height: of the panel, as CSS ("560px", "70vh").

    `panel.chat` is that Chat, `panel.send("...")` asks from Python, `panel.frame()` is its part of
    the log. `panel.busy` is True while an answer is under way; observe it with
    `panel.observe(callback, "busy")`, called on a thread of its own, where `panel.send` works.
    Beside the panel stands a static transcript, which is what a saved notebook shows without a
    kernel. After a page reload, JupyterLab keeps the transcript it had: display the panel again in
    a cell to save what came later. Nothing of the conversation, and no key, is part of the widget's
    saved state.

    Raises:
        ConfigError: both a chat and settings for a new one were given.

    >>> import helix_nb as hx
    >>> panel = hx.ChatPanel(endpoint="demo")
    >>> str(panel.send("What is the capital of France?").result())
    'The capital of France is Paris.'
    >>> panel
    ChatPanel(1 turn)
    """

    _esm = _module()
    _css = (_STATIC / "panel.css").read_text(encoding="utf-8") + LAYOUT + CODE
    busy = _Busy(False, help="Whether an answer is under way.")

    def __init__(
        self,
        chat: Chat | None = None,
        *,
        endpoint: str | Connection | None = None,
        model: str | None = None,
        system: str | None = None,
        height: str = "",
        **params: Any,
    ) -> None:
        if chat is not None and (endpoint or model or system or params):
            raise ConfigError("Give the panel a chat, or settings for a new one, not both.")
        super().__init__()
        self._chat = chat or Chat(model, endpoint=endpoint, system=system, **params)
        self._conversation = Conversation(self._chat, self._emit, self._changed, height)
        self._actions = Actions(self._conversation)
        self._transcript = TranscriptPages()
        self._displayed = self._was_busy = False
        self._writing = self._stale = False  # a transcript is being rendered; it is out of date
        self._notifier: threading.Thread | None = None  # the last one that told observers of `busy`
        self.on_msg(self._receive)
        _reply_on_chosen_subshell(self.comm)
        self._conversation.follow_chat()
        _conversations.add(self._conversation)
        shell = get_ipython()
        if shell is not None:
            shell.events.register("post_run_cell", _refresh_panels)

    @property
    def chat(self) -> Chat:
        """The Chat this panel shows; an ordinary one."""
        return self._chat

    def send(self, text: str, *, files: tuple[str | Path, ...] = ()) -> PendingReply:
        """Ask the next question as if it were typed, and return at once.

        Args:
            text: the message; never interpolated.
            files: paths of images and text files to attach.

        Returns:
            The exchange under way: `.result()` waits for its Reply, `.cancel()` stops it.

        Raises:
            ChatBusy: an answer is still under way.
            ConfigError: nothing to send, or a file that cannot be read.
        """
        return run_sync(self._conversation.send(text, [file_at(path) for path in files]))

    def frame(self) -> pd.DataFrame:
        """Return this conversation's rows of the log, as `hx.log` does."""
        from ...records.reading.frames import frame_of
        from ...records.reading.query import Filter
        from ...records.storage.log import current_log

        return frame_of(current_log(), Filter("e.thread_id = ?", [self._chat.thread_id]))

    def markdown(self) -> str:
        """Return the conversation as Markdown."""
        return markdown_of(self._conversation.items)

    def _emit(self, message: ViewMessage) -> None:
        super().send(message)  # ipywidgets' own `send`: a custom message to every view

    def _receive(self, _widget: Any, content: ViewRequest, buffers: list[Any]) -> None:
        self._actions.receive(content, buffers)

    def _changed(self) -> None:
        busy = self._conversation.busy
        if busy != self._was_busy:
            self._was_busy = busy
            before = self._notifier
            self._notifier = threading.Thread(target=self._notify_busy, args=(before, busy), daemon=True)
            self._notifier.start()
        if self._displayed and not busy:
            self._stale = True
            if not self._writing:
                submit(self._write_transcript())

    def _notify_busy(self, before: threading.Thread | None, busy: bool) -> None:
        """Tell the observers of `busy`, one change after the other, off the loop: they may ask too."""
        if before is not None:
            before.join()
        self.busy = busy

    async def _write_transcript(self) -> None:
        """Bring the transcript up to date, off the loop: a long one takes a while to render."""
        self._writing = True
        try:
            while self._stale:
                self._stale = False
                await asyncio.to_thread(self._transcript.update, list(self._conversation.items))
        finally:
            self._writing = False

    def _ipython_display_(self) -> None:
        from IPython.display import display

        show: Callable[..., Any] = display
        bundle: Any = self._repr_mimebundle_()
        # Where a saved notebook is read without widgets, this is the heading of the transcript.
        data = bundle[0] | {"text/plain": "A conversation in a chat panel:"}
        show(data, metadata=bundle[1], raw=True)
        shell = get_ipython()
        pages = MAX_PAGES if shell is not None and display_mode(shell) == "live" else 1
        self._transcript.show(list(self._conversation.items), pages)
        self._displayed = True
        call_soon(self._changed)  # an answer may have ended meanwhile

    def __repr__(self) -> str:
        count = len(self._conversation.items) if hasattr(self, "_conversation") else 0
        return f"ChatPanel({count_of(count, 'turn')})"


def _refresh_panels(*_: object) -> None:
    """Refresh all panels after a cell: it may have connected an endpoint, or changed a Chat's settings."""
    for conversation in tuple(_conversations):
        call_soon(conversation.refresh)


def _reply_on_chosen_subshell(comm: Any) -> None:
    """Let a view's messages go to the subshell it chose.

    ipykernel 7.4 sends them to the shell that last published on the comm instead, which for a
    stream is the main one: Stop would wait behind a running cell.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default
