"""The functions that the model of a panel may have called: they run on a thread that waits for its answer."""

from __future__ import annotations

import asyncio
import inspect
import threading

from ...chat.pending import PendingReply


def serve(running: PendingReply) -> None:
    """Have the tools of an exchange called until it ends, the async ones too."""
    if running.prepared.tools:
        threading.Thread(target=_serve, args=(running,), name="helix_nb tools", daemon=True).start()


def _serve(running: PendingReply) -> None:
    functions = [tool.function for tool in running.prepared.tools.values()]
    try:
        if any(inspect.iscoroutinefunction(function) for function in functions):
            asyncio.run(running.aresult())
        else:
            running.result()
    except Exception:  # noqa: BLE001, S110 - the panel shows it as what became of the answer
        pass
