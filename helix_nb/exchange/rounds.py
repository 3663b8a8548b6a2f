"""What takes several exchanges: tool calls sent back, and one repair of an answer off its schema.

Each exchange is a row of its own, linked to the one before by `parent_id`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..config.connection import Connection
from ..endpoints.registry import endpoint_for
from ..errors import HelixError, SchemaMismatch
from ..messages import Message, Request
from ..records.replay.player import with_replay
from ..records.storage.log import current_log
from ..redaction import redact_strings
from ..replies import Reply, ToolCall
from ..text import count_of
from .flow import Watcher, exchange

if TYPE_CHECKING:
    from ..schemas import Schema

Call = Callable[[ToolCall], Awaitable[str]]
OnMismatch = Callable[[Reply], None]
MAX_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class RoundsResult:
    """The last Reply, and the messages that the whole thing adds to a conversation after its prompt.

    The row of a `repaired` answer and its parents hold more: the answer that did not fit.
    """

    reply: Reply
    messages: tuple[Message, ...]
    repaired: bool = False


async def rounds(
    request: Request,
    connection: Connection,
    watcher: Watcher | None = None,
    *,
    schema: Schema | None = None,
    call: Call | None = None,
    max_rounds: int = MAX_ROUNDS,
    on_mismatch: OnMismatch | None = None,
) -> RoundsResult:
    """Send a request, answer the model's tool calls with `call`, and validate the last answer.

    `on_mismatch` is shown an answer off its schema before its repair is sent.
    """
    if request.timeout_s is not None and request.retry_policy.timeout_scope == "call":
        request = replace(request, ends_at=time.monotonic() + request.timeout_s)
    if schema is not None:
        request = replace(request, schema=redact_strings(schema.json_schema))
    result = await _with_tools(request, connection, watcher, call, max_rounds)
    if schema is None:
        return result
    return await _validated(result, request, connection, watcher, schema, on_mismatch=on_mismatch)


async def _with_tools(
    request: Request, connection: Connection, watcher: Watcher | None, call: Call | None, max_rounds: int
) -> RoundsResult:
    log = current_log()
    endpoint = with_replay(endpoint_for(connection), log)
    added: tuple[Message, ...] = ()
    for finished_rounds in range(max_rounds + 1):
        reply = await exchange(request, endpoint, log, watcher)
        if call is None or not reply.tool_calls:
            return RoundsResult(
                reply, (*added, Message("assistant", reply.text, tool_calls=reply.tool_calls))
            )
        if finished_rounds == max_rounds:
            break
        results = [Message("tool", await call(c), name=c.name, tool_call_id=c.id) for c in reply.tool_calls]
        asked = Message("assistant", reply.text or None, tool_calls=reply.tool_calls)
        request = _next(request, reply, (asked, *results), held=1)
        added = (*added, asked, *results)
    raise HelixError(
        f"The model still wants tools called after {count_of(max_rounds, 'round')}; stopped. "
        "Raise max_rounds= to go on.",
        reply=reply,
    )


async def _validated(
    result: RoundsResult,
    request: Request,
    connection: Connection,
    watcher: Watcher | None,
    schema: Schema,
    *,
    on_mismatch: OnMismatch | None,
) -> RoundsResult:
    try:
        return _parsed(result, schema)
    except ValueError as problem:
        first = result.reply
        if on_mismatch is not None:
            on_mismatch(first)
        complaint = f"That answer does not fit: {problem} Answer again with nothing but the corrected JSON."
        turn = (Message("assistant", first.text), Message("user", complaint))
        retry = _next(request, first, turn, held=1)
        repaired = replace(await _with_tools(retry, connection, watcher, None, 1), repaired=True)
    try:
        return _parsed(repaired, schema)
    except ValueError as problem:
        raise SchemaMismatch(
            f"The answer does not follow the schema, also not after one repair: {problem}",
            reply=repaired.reply,
        ) from None


def _parsed(result: RoundsResult, schema: Schema) -> RoundsResult:
    reply = result.reply
    if reply.cut:
        raise ValueError(f"it was cut ({reply.finish_reason}).")
    return replace(result, reply=reply.having(parsed=schema.validate(reply.text)))


def _next(request: Request, reply: Reply, turn: tuple[Message, ...], *, held: int) -> Request:
    """The follow-up of an exchange; the first `held` messages of the turn stand in its row already.

    TimedOut when the call may take no longer: nothing more is sent.
    """
    if request.ends_at is not None and time.monotonic() >= request.ends_at:
        error = request.timeout_error()
        error.reply = reply
        raise error
    origin = replace(
        request.origin,
        parent_id=reply.exchange_id,
        new_from=len(request.messages) + held if reply.exchange_id else 0,
    )
    return replace(request, messages=(*request.messages, *turn), origin=origin)
