"""An answer under way on the background loop: its Reply so far, its pieces, and the way to stop it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self

from ..errors import HelixError, show_as_stopped
from ..exchange.reply_builder import ReplyBuilder
from ..exchange.rounds import MAX_ROUNDS, RoundsResult, rounds
from ..replies import Delta, Reply, ToolCall
from ..runtime.interrupts import call_on_interrupt, interruptible
from ..runtime.loop import WAKE_S, Task, resolve_soon
from .request import PreparedRequest
from .tools import call_tool, result_text

OnFinish = Callable[[RoundsResult | None, Reply], None]
Throttle = Callable[[], asyncio.Future[None] | None]


class PendingReply:
    """A Reply that is not there yet: `result()` waits for it, `cancel()` stops it, `done` says whether.

    Tools that the model calls run on the thread that waits, never on the background loop.

    Args:
        prepared: what to send, and where.
        on_finish: called on the background loop when it is over, with the messages that the exchange
            adds to a conversation (None where it failed) and the final Reply.
    """

    def __init__(self, prepared: PreparedRequest, on_finish: OnFinish | None = None) -> None:
        self.prepared = prepared
        self.tool_calls: list[tuple[ToolCall, str]] = []  # those that ran, with their results
        self._on_finish = on_finish
        self._builder: ReplyBuilder | None = None  # of the exchange under way
        self._reply: Reply | None = None  # once it is over
        self._pieces: deque[str] = deque()  # of the answer, not taken yet
        self._handed_out = 0  # characters of the answer that became pieces
        self._calls: deque[tuple[ToolCall, asyncio.Future[str]]] = deque()  # tools that wait to be called
        self._changed = threading.Condition()
        self._version = self._seen = 0
        self._event = threading.Event()  # it is over, or a tool waits to be called
        self._callbacks: list[Callable[[], None]] = []
        self._throttle: Throttle | None = None
        self._task = Task(self._run, self._notify)

    def begin(self) -> Self:
        """Send it, once; apart from making it, so that an interrupt in between can still stop it."""
        self._task.begin()
        return self

    @property
    def reply(self) -> Reply:
        """The Reply so far; final once `done`."""
        if self._reply is not None:
            return self._reply
        builder = self._builder
        return builder.reply() if builder else Reply(model_requested=self.prepared.request.model)

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._task.done

    def result(self) -> Reply:
        """Wait for the final Reply; Ctrl-C stops the exchange, keeps its row, and goes on as it is."""
        try:
            self.begin()
            while not self.done:
                self.wait_for_event(0.1)
                self.serve_calls()
        except BaseException as error:
            self.cancel()
            show_as_stopped(error)
            raise
        return self.final_reply()

    async def aresult(self) -> Reply:
        """Await the final Reply from the caller's own loop, which it wakes every 50 ms."""
        try:
            self.begin()
            while not self.done:
                await self.await_change()
                await self.serve_calls_async()
        except BaseException as error:
            self.cancel()
            show_as_stopped(error)
            raise
        return self.final_reply()

    def cancel(self, *, wait: bool = True) -> Reply:
        """Stop it: the socket closes, the row says `interrupted`, the text so far stays."""
        if not self.done:
            self._task.cancel(wait=wait)
        return self.reply

    def final_reply(self) -> Reply:
        """Return the Reply of something done (also when it was stopped), or raise what it failed with."""
        error = self._task.error()
        if error is not None and not self._task.future.cancelled():
            raise error
        return self.reply

    def wait_for_change(self, timeout_s: float) -> bool:
        """Wait, on any thread, until something new arrived or it is done; return whether either did."""
        with self._changed:
            if self._version == self._seen and not self.done and timeout_s > 0:
                with interruptible():
                    self._changed.wait(timeout_s)
            new = self._version != self._seen or self.done
            self._seen = self._version
            return new

    async def await_change(self) -> bool:
        """Await a change for up to 50 ms on the caller's loop; return whether there was one."""
        if self.wait_for_change(0):
            return True
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            resolve_soon(woken)

        self._callbacks.append(wake)
        try:
            if not self.wait_for_change(0):
                with call_on_interrupt(lambda: self.cancel(wait=False)):
                    await asyncio.wait({woken}, timeout=WAKE_S)  # wait_for can swallow a cancel (Python 3.11)
        finally:
            self._callbacks.remove(wake)
        return self.wait_for_change(0)

    @interruptible()
    def wait_for_event(self, timeout_s: float) -> None:
        """Wait, on any thread, until it is done or a tool waits to be called; text wakes nobody."""
        self._event.clear()
        if not (self.done or self._calls):
            self._event.wait(timeout_s)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have a callback run on the background loop after each change; it must not block."""
        self._callbacks.append(callback)

    def throttle_with(self, throttle: Throttle) -> None:
        """Set a back-pressure hook, called on the background loop after each delta.

        The future that it returns is awaited before the next delta is read; None lets it go on.
        """
        self._throttle = throttle

    @property
    def has_pieces(self) -> bool:
        """Whether pieces of the answer have not been taken yet."""
        return bool(self._pieces)

    def take_pieces(self) -> Iterator[str]:
        """Yield the pieces of the answer that have arrived and were not taken yet."""
        while True:
            try:
                piece = self._pieces.popleft()
            except IndexError:
                return
            yield piece

    @interruptible()
    def serve_calls(self) -> None:
        """Call the tools that the model asked for, on this thread."""
        while self._calls:
            call, answer = self._calls.popleft()
            result = call_tool(self.prepared.tools, call)
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise HelixError(
                    f"The tool {call.name} is async; await hx.aask(...) to use it.", reply=self.reply
                )
            self._answer(call, answer, result)

    async def serve_calls_async(self) -> None:
        """Call the tools that the model asked for, on the caller's own loop."""
        while self._calls:
            call, answer = self._calls.popleft()
            result = call_tool(self.prepared.tools, call)
            self._answer(call, answer, await result if inspect.isawaitable(result) else result)

    def _answer(self, call: ToolCall, answer: asyncio.Future[str], result: Any) -> None:
        text = result_text(result)
        self.tool_calls.append((call, text))
        resolve_soon(answer, text)

    async def _run(self) -> None:
        """Run the exchanges on the background loop."""
        prepared, result = self.prepared, None
        try:
            result = await rounds(
                prepared.request,
                prepared.connection,
                self,
                schema=prepared.schema,
                call=self._queue_call if prepared.tools else None,
                max_rounds=prepared.max_rounds or MAX_ROUNDS,
            )
            self._reply = result.reply
        except HelixError as error:
            self._reply = error.reply
            raise
        finally:
            self._finish(result)

    def exchange_started(self, builder: ReplyBuilder) -> None:
        """Watch another exchange: the first, that of a tool round, or a repair."""
        self._builder, self._handed_out = builder, 0
        self._notify()

    def delta_arrived(self, delta: Delta) -> asyncio.Future[None] | None:
        """Hand out the text of a delta; what is returned is awaited before the next one."""
        if delta.text and self.prepared.schema is None:
            self._pieces.append(delta.text)
            self._handed_out += len(delta.text)
        self._notify()
        return None if self._throttle is None else self._throttle()

    def _finish(self, result: RoundsResult | None) -> None:
        reply = self._reply or self.reply
        replayed = reply.replay_of is not None and reply.endpoint != self.prepared.connection.name
        if self.prepared.notes and not replayed:  # they tell of an endpoint that was not asked, then
            reply = reply.having(notes=(*self.prepared.notes, *reply.notes))
        self._reply = reply
        if rest := reply.text[self._handed_out :]:
            self._pieces.append(rest)
        if self._on_finish is not None:
            self._on_finish(result, reply)

    async def _queue_call(self, call: ToolCall) -> str:
        """Have whoever waits call a tool, and return its result."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._calls.append((call, answer))
        self._notify()
        return await answer

    def _notify(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()
        if self.done or self._calls:
            self._event.set()
        for callback in tuple(self._callbacks):
            callback()
