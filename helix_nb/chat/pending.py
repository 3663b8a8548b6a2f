"""One ask under way on the background loop, and the three ways to watch it.

`PendingReply` is what a cell and a panel poll, `Stream` is `with hx.stream(...)`, `AsyncStream` the
same for `async with`. Model-called tools run on the thread that waits, never on the loop.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from ..errors import HelixError, stopped, told
from ..exchange.reply_builder import ReplyBuilder
from ..exchange.rounds import MAX_ROUNDS, RoundsResult, rounds
from ..redaction import redact
from ..replies import Delta, Reply, ToolCall
from ..runtime.blocking import interruptible
from ..runtime.interrupts import stopping
from ..runtime.loop import WAKE_S, Task
from .request import PreparedRequest

Finished = Callable[[RoundsResult | None, Reply], None]


class PendingReply:
    """An ask under way: its Reply so far, its pieces, and the way to stop it."""

    def __init__(self, asked: PreparedRequest, finished: Finished | None = None) -> None:
        self.lockstep = False  # read on only when somebody asks for more
        self.prepared = asked
        self.tool_calls: list[tuple[ToolCall, str]] = []
        self._finished = finished
        self._changed = threading.Condition()
        self._turn = threading.Event()
        self._version = self._seen = 0
        self._pieces: deque[str] = deque()
        self._sent = 0
        self._wanted: asyncio.Future[None] | None = None
        self._draft: ReplyBuilder | None = None
        self._reply: Reply | None = None
        self._calls: deque[tuple[ToolCall, asyncio.Future[str]]] = deque()
        self._callbacks: list[Callable[[], None]] = []
        self._rest: Callable[[], asyncio.Future[None] | None] | None = None
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
        draft = self._draft
        return draft.reply() if draft is not None else Reply(model_requested=self.prepared.request.model)

    @property
    def done(self) -> bool:
        return self._task.done

    def wait_for_change(self, timeout_s: float) -> bool:
        """Wait, on any thread, until something new arrived or it is done; False when neither did."""
        with self._changed:
            if self._version == self._seen and not self.done and timeout_s > 0:
                with interruptible():
                    self._changed.wait(timeout_s)
            new = self._version != self._seen or self.done
            self._seen = self._version
            return new

    @interruptible()
    def wait_for_event(self, timeout_s: float) -> None:
        """Wait, on any thread, until it is done or wants a tool called; pieces of text wake nobody."""
        self._turn.clear()
        if not (self.done or self._calls):
            self._turn.wait(timeout_s)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have a callback run on the background loop after each change; it must not block."""
        self._callbacks.append(callback)

    def throttle_with(self, rest: Callable[[], asyncio.Future[None] | None]) -> None:
        """Read on only when what this returns, on the background loop after each change, is done."""
        self._rest = rest

    def next_piece(self) -> str:
        """The next piece of the answer that nobody took yet, or an empty string."""
        try:
            return self._pieces.popleft()
        except IndexError:
            return ""

    def request_more(self) -> None:
        """Let a lockstep exchange read on: its pieces are used up."""
        wanted = self._wanted
        if wanted is not None:
            wanted.get_loop().call_soon_threadsafe(_resolve, wanted, None)

    @interruptible()
    def serve_calls(self) -> None:
        """Run the tools the model asked for, on this thread."""
        while self._calls:
            call, answer = self._calls.popleft()
            result = self._called(call)
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise HelixError(
                    f"The tool {call.name} is async; await hx.aask(...) to use it.", reply=self.reply
                )
            self._answered(call, answer, result)

    async def serve_calls_async(self) -> None:
        """Run the tools the model asked for, on the caller's own loop."""
        while self._calls:
            call, answer = self._calls.popleft()
            result = self._called(call)
            self._answered(call, answer, await result if inspect.isawaitable(result) else result)

    def result(self) -> Reply:
        """Wait for the final Reply; Ctrl-C stops the exchange, keeps its row, and goes on as it is."""
        try:
            self.begin()
            while not self.done:
                self.wait_for_event(0.1)
                self.serve_calls()
        except BaseException as error:
            self.cancel()
            stopped(error)
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
            stopped(error)
            raise
        return self.final_reply()

    async def await_change(self) -> bool:
        """Await a change for up to 50 ms; True when there was one."""
        if self.wait_for_change(0):
            return True
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(_resolve, woken, None)

        self._callbacks.append(wake)
        try:
            if not self.wait_for_change(0):
                with stopping(lambda: self.cancel(wait=False)):
                    await asyncio.wait({woken}, timeout=WAKE_S)  # wait_for can swallow a cancel (Python 3.11)
        finally:
            self._callbacks.remove(wake)
        return self.wait_for_change(0)

    def final_reply(self) -> Reply:
        """The final Reply of something done (also when it was stopped), or what it failed with."""
        error = self._task.error()
        if error is not None and not self._task.future.cancelled():
            raise error
        return self.reply

    def cancel(self, *, wait: bool = True) -> Reply:
        """Stop it: the socket closes, the row says `interrupted`, the text so far stays."""
        if not self.done:
            self._task.cancel(wait=wait)
        return self.reply

    async def _run(self) -> None:
        asked, outcome = self.prepared, None
        try:
            outcome = await rounds(
                asked.request,
                asked.connection,
                self._watch,
                schema=asked.schema,
                call=self._call if asked.tools else None,
                max_rounds=asked.max_rounds or MAX_ROUNDS,
            )
            self._reply = outcome.reply
        except HelixError as error:
            self._reply = error.reply
            raise
        finally:
            self._end(outcome)

    def _end(self, outcome: RoundsResult | None) -> None:
        reply = self._reply or self.reply
        replayed = reply.replay_of is not None and reply.endpoint != self.prepared.connection.name
        if self.prepared.notes and not replayed:  # who answered is then not who would have been asked
            reply = reply.having(notes=(*self.prepared.notes, *reply.notes))
        self._reply = reply
        if rest := reply.text[self._sent :]:
            self._pieces.append(rest)
        if self._finished is not None:
            self._finished(outcome, reply)

    def _watch(self, delta: Delta, draft: ReplyBuilder) -> asyncio.Future[None] | None:
        if draft is not self._draft:
            self._draft, self._sent = draft, 0
        if delta.text and self.prepared.schema is None:
            if self.lockstep:
                self._wanted = asyncio.get_running_loop().create_future()
            self._pieces.append(delta.text)
            self._sent += len(delta.text)
        self._notify()
        return self._wanted if self.lockstep or self._rest is None else self._rest()

    def _notify(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()
        if self.done or self._calls:
            self._turn.set()
        for callback in tuple(self._callbacks):
            callback()

    async def _call(self, call: ToolCall) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._calls.append((call, answer))
        self._notify()
        return await answer

    def _called(self, call: ToolCall) -> Any:
        tool = self.prepared.tools.get(call.name)
        if tool is None:
            return f"There is no tool called {call.name}."
        try:
            return tool.function(**tool.validate(call.arguments))
        except ValueError as problem:
            return f"The call did not work: {problem}"
        except Exception as problem:  # noqa: BLE001 - the model is told, and may do better
            return f"The tool failed: {told(problem)}"

    def _answered(self, call: ToolCall, answer: asyncio.Future[str], result: Any) -> None:
        try:
            text = redact(result if isinstance(result, str) else _as_json(result))
        except Exception as problem:  # noqa: BLE001 - the object's own __str__ or __repr__ failed
            text = f"The tool's result cannot be shown: {told(problem)}"
        self.tool_calls.append((call, text))
        answer.get_loop().call_soon_threadsafe(_resolve, answer, text)


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _as_json(value: Any) -> str:
    import json

    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):  # odd keys, or a value that contains itself
        return repr(value)
