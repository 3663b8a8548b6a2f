"""The columns people see, and the tables behind them.

`exchanges` is narrow, so that sums over a million rows stay fast; `payloads` holds the words;
system prompts and attachments are stored once, by hash; what a parent already holds is not stored
again. A change of the tables is a new step at the end of `STEPS`, and a step only ever adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

# The frame's columns in their order, with their pandas dtypes.
COLUMNS: dict[str, str] = {
    "id": "str",
    "thread_id": "str",
    "parent_id": "str",
    "status": "category",
    "source": "category",
    "endpoint": "category",
    "base_url": "str",
    "model_requested": "category",
    "model": "category",
    "started_at": "datetime64[us, UTC]",
    "first_token_at": "datetime64[us, UTC]",
    "ended_at": "datetime64[us, UTC]",
    "time_to_first_token_ms": "Float64",
    "duration_ms": "Float64",
    "prompt_tokens": "Int64",
    "completion_tokens": "Int64",
    "total_tokens": "Int64",
    "cached_tokens": "Int64",
    "reasoning_tokens": "Int64",
    "usage_source": "category",
    "finish_reason": "category",
    "cost": "Float64",
    "currency": "category",
    "cost_source": "category",
    "stream": "boolean",
    "attempts": "Int64",
    "http_status": "Int64",
    "error_type": "category",
    "error": "str",
    "response_id": "str",
    "batch_id": "str",
    "row_key": "str",
    "notebook": "str",
    "cell_id": "str",
    "kernel_id": "str",
    "tags": "str",
    "params": "str",
    "system": "str",
    "prompt": "str",
    "response": "str",
    "reasoning": "str",
}
TEXT_COLUMNS = ("system", "prompt", "response", "reasoning")
STATUSES = ("pending", "ok", "truncated", "interrupted", "error", "lost")

# What the row of an exchange holds; times are microseconds since 1970 UTC.
EXCHANGE_FIELDS = (
    *("id", "process", "thread_id", "parent_id", "status", "source", "endpoint", "base_url"),
    *("model_requested", "model", "started_at", "first_token_at", "ended_at"),
    *("time_to_first_token_ms", "duration_ms", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("cached_tokens", "reasoning_tokens", "usage_source", "finish_reason", "cost", "currency"),
    *("cost_source", "stream", "attempts", "http_status", "error_type", "error", "response_id"),
    *("batch_id", "row_key", "notebook", "cell_id", "tags", "params"),
)

_CORE = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE processes (
    id INTEGER PRIMARY KEY, host TEXT, pid INTEGER, started_ms INTEGER, kernel_id TEXT, version TEXT,
    UNIQUE (host, pid, started_ms, kernel_id)
);
CREATE TABLE exchanges (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, process INTEGER NOT NULL,
    thread_id TEXT, parent_id TEXT, status TEXT NOT NULL, source TEXT, endpoint TEXT, base_url TEXT,
    model_requested TEXT, model TEXT, started_at INTEGER, first_token_at INTEGER, ended_at INTEGER,
    time_to_first_token_ms REAL, duration_ms REAL, prompt_tokens INTEGER, completion_tokens INTEGER,
    total_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER, usage_source TEXT,
    finish_reason TEXT, cost REAL, currency TEXT, cost_source TEXT, stream INTEGER, attempts INTEGER,
    http_status INTEGER, error_type TEXT, error TEXT, response_id TEXT, batch_id TEXT, row_key TEXT,
    notebook TEXT, cell_id TEXT, tags TEXT, params TEXT
);
CREATE TABLE payloads (
    number INTEGER PRIMARY KEY, identity TEXT, request_hash BLOB, system_hash BLOB,
    prompt_hash BLOB, prompt TEXT, messages TEXT, response_schema TEXT, response TEXT, reasoning TEXT,
    tool_calls TEXT
);
CREATE TABLE texts (hash BLOB PRIMARY KEY, text TEXT) WITHOUT ROWID;
CREATE TABLE attachments (hash BLOB PRIMARY KEY, mime TEXT, data BLOB);
CREATE TABLE attached (number INTEGER, hash BLOB, PRIMARY KEY (number, hash)) WITHOUT ROWID;
CREATE INDEX exchanges_started_at ON exchanges (started_at);
CREATE INDEX exchanges_thread_id ON exchanges (thread_id);
"""
_BATCHES = """
CREATE TABLE links (
    batch_id TEXT, position INTEGER, row_key TEXT, exchange_id TEXT, identity TEXT, problem TEXT,
    PRIMARY KEY (batch_id, position)
) WITHOUT ROWID;
CREATE TABLE claims (
    batch_id TEXT, identity TEXT, process INTEGER, PRIMARY KEY (batch_id, identity)
) WITHOUT ROWID;
CREATE INDEX exchanges_batch_id ON exchanges (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX payloads_identity ON payloads (identity) WHERE identity IS NOT NULL;
CREATE INDEX links_identity ON links (batch_id, identity);
"""
_REPLAY = "CREATE INDEX payloads_request_hash ON payloads (request_hash);"
_NOTES = "ALTER TABLE payloads ADD COLUMN notes TEXT;"

STEPS = (_CORE, _BATCHES, _REPLAY, _NOTES)
VERSION = len(STEPS)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file to this version's tables, inside a transaction: several processes may try at once."""
    for step in STEPS[version_of(connection) :]:
        for statement in filter(str.strip, step.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version_of(connection) + 1}")


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many of the `STEPS` a file has taken."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
