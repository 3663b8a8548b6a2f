"""The embedded endpoint: a real HTTP server on 127.0.0.1 that answers with canned text.

It speaks the protocol of every other endpoint (`/v1/chat/completions`, streamed or not, and
`/v1/models`) and is the default when nothing is configured, so that a first notebook runs without a
key and without a network. It is not a model: `skills` lists what it recognises, everything else is
answered with one sentence that says so. Any model name is answered as `demo`; the names in `faults`
play what goes wrong with real servers. `completion` says how it counts tokens.

Inside, imports run server > handlers > completion > answers > skills, schema_fill > extraction > the rest.
"""

from __future__ import annotations

from .server import Server, start, url

__all__ = ["Server", "start", "url"]
