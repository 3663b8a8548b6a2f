"""Calls that take several exchanges: results of tools sent back, and one repair of an answer off its schema.

Each exchange is a row of its own, linked to the one before by `parent_id`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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

Send = Callable[[Request], Awaitable[Reply]]
CallTool = Callable[[ToolCall], Awaitable[str]]
OnMismatch = Callable[[Reply], None]
MAX_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class RoundsResult:
    """The outcome of one call."""

    reply: Reply  # of the last exchange
    messages: tuple[Message, ...]  # that the call adds to a conversation after its prompt
    repaired: bool = False  # then the row and its parents also hold the answer that did not fit


async def run_rounds(
    request: Request,
    connection: Connection,
    watcher: Watcher | None = None,
    *,
    schema: Schema | None = None,
    call_tool: CallTool | None = None,
    max_rounds: int = MAX_ROUNDS,
    on_mismatch: OnMismatch | None = None,
) -> RoundsResult:
    """Send a request, answer the model's tool calls with `call_tool`, and validate the last answer.

    `on_mismatch` gets an answer off its schema before its repair is sent.
    """
    if request.timeout_s is not None and request.retry_policy.timeout_scope == "call":
        request = replace(request, ends_at=time.monotonic() + request.timeout_s)
    if schema is not None:
        request = replace(request, schema=redact_strings(schema.json_schema))
    log = current_log()
    endpoint = with_replay(endpoint_for(connection), log)
    send = partial(exchange, endpoint=endpoint, log=log, watcher=watcher)
    result = await _answer_tool_calls(request, send, call_tool, max_rounds)
    return result if schema is None else await _validate_or_repair(result, request, send, schema, on_mismatch)


async def _answer_tool_calls(
    request: Request, send: Send, call_tool: CallTool | None, max_rounds: int
) -> RoundsResult:
    added: tuple[Message, ...] = ()
    for finished_rounds in range(max_rounds + 1):
        reply = await send(request)
        if call_tool is None or not reply.tool_calls:
            answer = Message("assistant", reply.text, tool_calls=reply.tool_calls)
            return RoundsResult(reply, (*added, answer))
        if finished_rounds == max_rounds:
            break
        turn = [Message("assistant", reply.text or None, tool_calls=reply.tool_calls)]
        for call in reply.tool_calls:
            turn.append(Message("tool", await call_tool(call), name=call.name, tool_call_id=call.id))
        request = _follow_up(request, reply, turn)
        added = (*added, *turn)
    raise HelixError(
        f"The model still wants tools called after {count_of(max_rounds, 'round')}; stopped. "
        "Raise max_rounds= to go on.",
        reply=reply,
    )


async def _validate_or_repair(
    result: RoundsResult, request: Request, send: Send, schema: Schema, on_mismatch: OnMismatch | None
) -> RoundsResult:
    try:
        return _validate(result, schema)
    except ValueError as problem:
        mismatch = result.reply
        if on_mismatch is not None:
            on_mismatch(mismatch)
        complaint = f"That answer does not fit: {problem} Answer again with nothing but the corrected JSON."
        turn = [Message("assistant", mismatch.text), Message("user", complaint)]
        reply = await send(_follow_up(request, mismatch, turn))
        answer = Message("assistant", reply.text, tool_calls=reply.tool_calls)
    try:
        return _validate(RoundsResult(reply, (answer,), repaired=True), schema)
    except ValueError as problem:
        raise SchemaMismatch(
            f"The answer does not follow the schema, also not after one repair: {problem}", reply=reply
        ) from None


def _validate(result: RoundsResult, schema: Schema) -> RoundsResult:
    """Return the result with its parsed value; ValueError where the answer is cut, or off its schema."""
    reply = result.reply
    if reply.cut:
        raise ValueError(f"it was cut ({reply.finish_reason}).")
    return replace(result, reply=replace(reply, parsed=schema.validate(reply.text)))


def _follow_up(request: Request, reply: Reply, turn: Sequence[Message]) -> Request:
    """Return the request after a reply; raise TimedOut, so that nothing is sent, where the time is up.

    The first message of the turn is the reply's own, which its row in the log holds already.
    """
    if request.ends_at is not None and time.monotonic() >= request.ends_at:
        error = request.timeout_error()
        error.reply = reply
        raise error
    new_from = len(request.messages) + 1 if reply.exchange_id else 0
    origin = replace(request.origin, parent_id=reply.exchange_id, new_from=new_from)
    return replace(request, messages=(*request.messages, *turn), origin=origin)
