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
    **dict.fromkeys(("id", "thread_id", "parent_id"), "str"),
    **dict.fromkeys(("status", "source", "endpoint"), "category"),
    "base_url": "str",
    **dict.fromkeys(("model_requested", "model"), "category"),
    **dict.fromkeys(("started_at", "first_token_at", "ended_at"), "datetime64[us, UTC]"),
    **dict.fromkeys(("time_to_first_token_ms", "duration_ms"), "Float64"),
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), "Int64"),
    **dict.fromkeys(("cached_tokens", "reasoning_tokens"), "Int64"),
    **dict.fromkeys(("usage_source", "finish_reason"), "category"),
    "cost": "Float64",
    **dict.fromkeys(("currency", "cost_source"), "category"),
    "stream": "boolean",
    **dict.fromkeys(("attempts", "http_status"), "Int64"),
    "error_type": "category",
    **dict.fromkeys(("error", "response_id", "batch_id", "row_key"), "str"),
    **dict.fromkeys(("notebook", "cell_id", "kernel_id"), "str"),
    **dict.fromkeys(("tags", "params"), "str"),
    **dict.fromkeys(("system", "prompt", "response", "reasoning"), "str"),
}
TEXT_COLUMNS = ("system", "prompt", "response", "reasoning")
STATUSES = ("pending", "ok", "truncated", "interrupted", "error", "lost")

# Times in these tables are microseconds since 1970 UTC.
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
