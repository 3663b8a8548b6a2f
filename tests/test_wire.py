"""The wire table: real bytes over a real socket, through `hx.ask`, down to the row in the log."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from wire_server import Answer, WireServer
from wire_transcripts import TRANSCRIPTS, Wire

import helix_nb as hx
from helix_nb.replies import Reply


def _answer(wire: Wire, piece_bytes: int | None) -> Answer:
    return Answer(
        wire.body,
        wire.http,
        wire.content_type,
        wire.headers,
        wire.framing,
        # a long body in pieces of one byte would test the patience only
        piece_bytes if len(wire.body) < 4_000 else None,
        wire.end,
    )


def _asked(wire: Wire) -> tuple[Reply, hx.HelixError | None]:
    try:
        return hx.ask("Where?", **{"model": "m", **wire.ask}), None
    except hx.HelixError as error:
        assert error.reply is not None
        return error.reply, error


def _unknown(value: Any) -> Any:
    return None if pd.isna(value) else value


@pytest.mark.parametrize("wire", TRANSCRIPTS, ids=lambda wire: wire.name)
def test_a_transcript_becomes_the_same_reply_error_and_row_however_it_is_delivered(wire: Wire) -> None:
    """Whole, byte by byte or in threes: text, status, usage, reasoning, error, requests and row agree."""
    errors = set()
    for piece_bytes in (None, 1, 3):
        with WireServer(_answer(wire, piece_bytes)) as server:
            hx.connect(server.url, name=f"wire {piece_bytes}", retries=0)  # a port may come again
            reply, error = _asked(wire)
            assert len(server.got) == wire.requests, (error, server.connections)
        usage = reply.usage
        counts = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
        assert (reply.text, reply.reasoning, reply.status) == (wire.text, wire.reasoning, wire.status)
        assert (reply.finish_reason, counts) == (wire.finish_reason, wire.usage)
        assert usage.source == ("server" if any(wire.usage) else None)
        errors.add("" if error is None else str(error))
        assert (type(error).__name__ if error else None) == wire.error
        if error is not None:
            assert all(words in str(error) for words in wire.says), str(error)
            assert len(str(error)) < 600 and "\n" not in str(error)
            assert error.retry_after_s == wire.retry_after_s
            assert wire.retryable in (None, error.retryable)
        assert wire.model in (None, reply.model) and wire.response_id in (None, reply.response_id)
    rows = hx.log()
    assert len(rows) == 3
    for row in rows.to_dict("records"):
        assert (row["status"], row["response"] or "") == (wire.status, wire.text)
        assert (_unknown(row["reasoning"]) or "") == wire.reasoning
        assert (
            tuple(_unknown(row[f"{kind}_tokens"]) for kind in ("prompt", "completion", "total")) == wire.usage
        )
        assert (_unknown(row["error_type"]), _unknown(row["finish_reason"])) == (
            wire.error,
            wire.finish_reason,
        )
        assert (row["http_status"], row["attempts"]) == (wire.http_status, 1)
        assert (_unknown(row["error"]) or "") in errors
