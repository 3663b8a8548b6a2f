"""`PendingReply`: an answer under way on the background loop, to wait for, to read in pieces, or to stop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

from ..errors import HelixError, show_as_stopped
from ..exchange.reply_builder import ReplyBuilder
from ..exchange.rounds import MAX_ROUNDS, RoundsResult, run_rounds
from ..replies import Delta, Reply, ToolCall
from ..runtime.interrupts import call_on_interrupt, interruptible
from ..runtime.loop import WAKE_S, Task, resolve_soon
from .request import PreparedRequest
from .tools import call_tool, result_text

OnFinish = Callable[[RoundsResult | None, Reply], None]
Throttle = Callable[[], asyncio.Future[None] | None]


class PendingReply:
    """A Reply that is not there yet: `result()` waits for it, `cancel()` stops it, `done` says whether it is.

    Tools that the model calls run on the thread that waits, never on the background loop.

    Args:
        prepared: the request, and its endpoint.
        on_finish: called on the background loop at the end, with the RoundsResult (None where the
            call failed) and the final Reply.
    """

    def __init__(self, prepared: PreparedRequest, on_finish: OnFinish | None = None) -> None:
        self.prepared = prepared
        self.tool_calls: list[tuple[ToolCall, str]] = []  # that ran, with their results
        self._on_finish = on_finish
        self._builder: ReplyBuilder | None = None  # of the exchange under way
        self._reply: Reply | None = None  # the final one
        self._pieces: deque[str] = deque()  # of the answer, not taken yet
        self._pieces_length = 0  # characters of the answer that became pieces
        self._calls: deque[tuple[ToolCall, asyncio.Future[str]]] = deque()  # that wait to be served
        self._changed = threading.Condition()
        self._version = self._seen_version = 0  # changes so far, and those that `wait_for_change` returned
        self._event = threading.Event()  # it is over, or a call waits to be served
        self._callbacks: list[Callable[[], None]] = []
        self._throttle: Throttle | None = None
        self._task = Task(self._run, self._notify)

    def begin(self) -> Self:
        """Send the request, once; not in `__init__`, so that an interrupt in between can still stop it."""
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
        """Wait for the final Reply; Ctrl-C stops the exchange, keeps its row, and is raised again."""
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
        """Await the final Reply on the caller's own loop, which this wakes every 50 ms."""
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

    def serve_tools_in_thread(self) -> None:
        """Call the tools that the model asks for on a thread of their own, async ones too."""
        if self.prepared.tools:
            threading.Thread(target=self._serve_tools, name="helix_nb tools", daemon=True).start()

    def _serve_tools(self) -> None:
        functions = [tool.function for tool in self.prepared.tools.values()]
        try:
            if any(inspect.iscoroutinefunction(function) for function in functions):
                asyncio.run(self.aresult())
            else:
                self.result()
        except Exception:  # noqa: BLE001, S110 - `final_reply` raises it for whoever asks
            pass

    def cancel(self, *, wait: bool = True) -> Reply:
        """Stop the exchange: its socket closes, its row says `interrupted`, the text so far stays."""
        if not self.done:
            self._task.cancel(wait=wait)
        return self.reply

    def final_reply(self) -> Reply:
        """Return the final Reply once `done`, also where it was stopped, or raise the error."""
        error = self._task.error()
        if error is not None and not self._task.future.cancelled():
            raise error
        return self.reply

    def wait_for_change(self, timeout_s: float) -> bool:
        """Wait on any thread until something new arrives or it is done; return whether either happened."""
        with self._changed:
            if self._version == self._seen_version and not self.done and timeout_s > 0:
                with interruptible():
                    self._changed.wait(timeout_s)
            is_new = self._version != self._seen_version or self.done
            self._seen_version = self._version
            return is_new

    async def await_change(self) -> bool:
        """Await a change for up to 50 ms on the caller's loop; return whether there was one."""
        if self.wait_for_change(0):
            return True
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            resolve_soon(changed)

        self._callbacks.append(wake)
        try:
            if not self.wait_for_change(0):
                with call_on_interrupt(lambda: self.cancel(wait=False)):
                    await asyncio.wait({changed}, timeout=WAKE_S)  # wait_for can swallow a cancel (3.11)
        finally:
            self._callbacks.remove(wake)
        return self.wait_for_change(0)

    @interruptible()
    def wait_for_event(self, timeout_s: float) -> None:
        """Wait on any thread until it is done or a call waits to be served; text ends no wait."""
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
        """Call the tools that the model asked for, on this thread; HelixError for an async one."""
        while self._calls:
            call, answer = self._calls.popleft()
            result = call_tool(self.prepared.tools, call)
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                message = f"The tool {call.name} is async; await hx.aask(...) to use it."
                raise HelixError(message, reply=self.reply)
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
        """Run the exchanges, on the background loop."""
        prepared, result = self.prepared, None
        try:
            result = await run_rounds(
                prepared.request,
                prepared.connection,
                self,
                schema=prepared.schema,
                call_tool=self._queue_call if prepared.tools else None,
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
        self._builder, self._pieces_length = builder, 0
        self._notify()

    def delta_arrived(self, delta: Delta) -> asyncio.Future[None] | None:
        """Hand out the text of a delta; the future of the throttle is awaited before the next one."""
        if delta.text and self.prepared.schema is None:
            self._pieces.append(delta.text)
            self._pieces_length += len(delta.text)
        self._notify()
        return None if self._throttle is None else self._throttle()

    def _finish(self, result: RoundsResult | None) -> None:
        reply = self._reply or self.reply
        is_from_elsewhere = reply.replay_of is not None and reply.endpoint != self.prepared.connection.name
        if self.prepared.notes and not is_from_elsewhere:  # because the notes are about this endpoint
            reply = replace(reply, notes=(*self.prepared.notes, *reply.notes))
        self._reply = reply
        if rest := reply.text[self._pieces_length :]:
            self._pieces.append(rest)
        if self._on_finish is not None:
            self._on_finish(result, reply)

    async def _queue_call(self, call: ToolCall) -> str:
        """Have the waiting thread call a tool, and return its result."""
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
