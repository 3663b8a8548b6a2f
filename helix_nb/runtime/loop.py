"""The background loop: one daemon thread with a plain asyncio loop, where every exchange runs.

A notebook cell runs while the kernel's own loop runs, so nothing here ever uses the caller's loop:
blocking calls submit and wait interruptibly, awaited calls submit and poll. The loop is made at
first use, made again after a fork, and stopped at interpreter exit.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from ..errors import HelixError, show_as_stopped
from .fork import after_fork_in_child
from .interrupts import call_on_interrupt, interruptible

T = TypeVar("T")

WAKE_S = 0.05  # ipykernel 7.4 sees an interrupt during `await` only when its loop wakes up
LEAVE_S = 2.0  # how long a cancelled exchange may take to close its socket and finish its row

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_exit_callbacks: list[Callable[[], Awaitable[None]]] = []
_tasks: set[asyncio.Task[Any]] = set()  # held here because asyncio holds a task only weakly


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the background loop, starting its thread if there is none in this process."""
    global _loop, _thread
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_run_loop, args=(_loop,), name="helix_nb", daemon=True)
            _thread.start()
        return _loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.set_default_executor(DaemonThreadExecutor())
    try:
        loop.run_forever()
    finally:
        loop.close()


def submit(coro: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start a coroutine on the background loop; cancelling the future cancels its task."""
    return asyncio.run_coroutine_threadsafe(coro, background_loop())


def call_soon(callback: Callable[..., object], *args: Any) -> None:
    """Run a callback on the background loop, from any thread."""
    background_loop().call_soon_threadsafe(callback, *args)


class Task(Generic[T]):
    """A coroutine on the background loop, to begin once and to cancel from any thread.

    Args:
        coroutine: a function that makes the coroutine.
        on_end: called on the background loop when the coroutine has ended, however it did.
    """

    def __init__(
        self, coroutine: Callable[[], Coroutine[Any, Any, T]], on_end: Callable[[], None] | None = None
    ) -> None:
        self.future = concurrent.futures.Future[T]()
        self._coroutine, self._on_end = coroutine, on_end
        self._ended = threading.Event()
        self._begun = False
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """Start the coroutine, once; not in `__init__`, so that an interrupt in between can still cancel."""
        if not self._begun:
            self._loop = background_loop()
            self._begun = True
            self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coroutine())
        _tasks.add(self._task)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        _tasks.discard(task)
        if not self.future.cancelled():
            if task.cancelled():
                self.future.cancel()
            elif (error := task.exception()) is not None:
                if isinstance(error, HelixError):  # its frames hold headers, which `%xmode Verbose` shows
                    error.__traceback__ = None
                self.future.set_exception(error)
            else:
                self.future.set_result(task.result())
        self._ended.set()
        if self._on_end is not None:
            self._on_end()

    @property
    def done(self) -> bool:
        """Whether the coroutine has ended."""
        return self._ended.is_set()

    def error(self) -> BaseException | None:
        """Return the error of a task that is done; None where it returned a result."""
        if self.future.cancelled():
            return concurrent.futures.CancelledError("stopped")
        return self.future.exception()

    def wait(self) -> T:
        """Wait for the result and return it, or raise the error."""
        with interruptible():
            # A bounded wait, because an unbounded one is not interruptible on some platforms.
            while not self._ended.wait(0.1):
                pass
        return self.future.result()

    def cancel(self, *, wait: bool = True) -> None:
        """Cancel the task, and wait up to LEAVE_S until its `finally` blocks have run."""
        if not self._begun:
            self._begun = True
            self._coroutine().close()
            self.future.cancel()
            self._ended.set()
            return
        try:
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        except RuntimeError:  # the loop is closed: this process is leaving, and has stopped everything
            return
        if wait and not on_loop_thread():
            self._ended.wait(LEAVE_S)


class DaemonThreadExecutor(concurrent.futures.ThreadPoolExecutor):
    """Run each blocking call of the loop on a daemon thread, because an executor's own delay the exit.

    Looking up a host may hang for half a minute.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future = concurrent.futures.Future[T]()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the caller handles it
                    future.set_exception(error)

        threading.Thread(target=work, name="helix_nb call", daemon=True).start()
        return future


def resolve_soon(future: asyncio.Future[T], value: T = None) -> None:  # type: ignore[assignment]
    """Set the result of a future of any loop, from any thread; one that is done stays as it is."""

    def resolve() -> None:
        if not future.done():
            future.set_result(value)

    future.get_loop().call_soon_threadsafe(resolve)


def run_sync(coro: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for it, from any other thread.

    Ctrl-C (or a kernel's interrupt) cancels the coroutine, waits until its `finally` blocks have
    run, and goes on as KeyboardInterrupt.
    """
    if on_loop_thread():
        coro.close()
        raise RuntimeError("A blocking call was made on helix_nb's background loop; await its async form.")
    task = Task(lambda: coro)
    try:
        task.begin()
        return task.wait()
    except KeyboardInterrupt as interrupt:
        task.cancel()
        show_as_stopped(interrupt)
        raise


async def run_here(coro: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that runs on the background loop; a cancelled await cancels it there."""
    if on_loop_thread():
        return await coro
    task = Task(lambda: coro)
    waiter = asyncio.wrap_future(task.future)
    try:
        task.begin()
        while not waiter.done():
            with call_on_interrupt(lambda: task.cancel(wait=False)):
                await asyncio.wait({waiter}, timeout=WAKE_S)
        return waiter.result()
    except (asyncio.CancelledError, KeyboardInterrupt) as interrupt:
        if not task.future.done():
            task.cancel()
        show_as_stopped(interrupt)
        raise


def on_loop_thread() -> bool:
    """Return whether this code runs on the background loop itself."""
    try:
        return _loop is not None and asyncio.get_running_loop() is _loop
    except RuntimeError:
        return False


def at_exit(close: Callable[[], Awaitable[None]]) -> None:
    """Have a coroutine function run on the background loop before it stops at interpreter exit."""
    _exit_callbacks.append(close)


async def _end_everything() -> None:
    """Cancel the exchanges, each with its subtasks; then close what is open, and cancel all other tasks."""
    await _cancel_all(_tasks)
    for close in _exit_callbacks:
        try:
            await asyncio.wait_for(close(), timeout=0.3)
        except Exception:  # noqa: BLE001, S112 - nothing may keep the interpreter from leaving
            continue
    await _cancel_all(asyncio.all_tasks())
    await asyncio.get_running_loop().shutdown_asyncgens()


async def _cancel_all(tasks: set[asyncio.Task[Any]]) -> None:
    tasks = tasks - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=0.5)


def stop_loop() -> None:
    """Cancel what still runs, close what is open, and stop the loop; the next use starts another."""
    global _loop
    with _lock:
        loop, thread, _loop = _loop, _thread, None
    if loop is None or loop.is_closed() or not loop.is_running():
        return
    try:
        asyncio.run_coroutine_threadsafe(_end_everything(), loop).result(timeout=1.5)
    except Exception:  # noqa: BLE001, S110 - leaving is best effort; the thread is a daemon
        pass
    loop.call_soon_threadsafe(loop.stop)
    if thread is not None:
        thread.join(timeout=0.5)


def _drop_parents_loop() -> None:
    """Drop the parent's loop in a forked child, untouched, because its thread does not run there."""
    global _loop, _lock
    _lock = threading.Lock()
    if _loop is not None:
        for task in asyncio.all_tasks(_loop):  # the parent ends them
            task._log_destroy_pending = False  # type: ignore[attr-defined]
    _loop = None
    _tasks.clear()


atexit.register(stop_loop)
after_fork_in_child(_drop_parents_loop)
