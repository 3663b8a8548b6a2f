"""How the public calls look to a type checker; this file is checked by mypy and never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import pandas as pd

import helix_nb as hx
from helix_nb.chat.chat import Chat
from helix_nb.chat.streams import AsyncStream, Stream
from helix_nb.dataframes.accessor import FrameAccessor, SeriesAccessor
from helix_nb.replies import Reply

# -- asking

assert_type(hx.ask("x"), Reply)
assert_type(hx.ask(prompt="x", model="m", endpoint="demo", timeout=1.5, stream=False, temperature=0.2), Reply)
assert_type(hx.ask([{"role": "user", "content": "x"}], images=["a.png"], tools=[len], max_rounds=2), Reply)
hx.ask(1)  # type: ignore[arg-type]
hx.ask("x", timeout="soon")  # type: ignore[arg-type]
hx.ask("x", "m")  # type: ignore[call-arg]

assert_type(hx.stream("x", system="s"), Stream)
assert_type(hx.astream("x", system="s"), AsyncStream)
with hx.stream("x") as stream:
    for piece in stream:
        assert_type(piece, str)
assert_type(stream.reply, Reply)


async def main() -> None:
    """Awaited calls give what the blocking ones give."""
    assert_type(await hx.aask("x", seed=7), Reply)
    assert_type(await hx.Chat("m").aask("x"), Reply)
    async with hx.astream("x") as pieces:
        async for piece in pieces:
            assert_type(piece, str)


# -- chats

chat = hx.Chat("m", endpoint="demo", system="s", temperature=0.5)
assert_type(chat, Chat)
assert_type(chat.ask("x", model="other", top_p=0.9), Reply)
assert_type(chat.stream("x"), Stream)
assert_type(chat.undo(), str | None)
assert_type(chat.fork(), Chat)
chat.ask("x", images=3)  # type: ignore[arg-type]

# -- rows of frames; mypy knows no accessors, so that `df.helix` is spelled out

frame, series = FrameAccessor(pd.DataFrame()), SeriesAccessor(pd.Series())
assert_type(frame.ask("{{q}}"), pd.DataFrame)
assert_type(frame.ask("{{q}}", "mood", model="m", concurrency=8, max_cost=0.5, temperature=0.2), pd.DataFrame)
assert_type(frame.ask(template=str, into="mood", schema={"n": int}, errors="raise"), pd.DataFrame)
assert_type(frame.estimate("{{q}}", pilot=5, rpm=60), pd.DataFrame)
assert_type(series.ask("{{value}}", system=lambda value: f"be {value}"), pd.Series | pd.DataFrame)
assert_type(hx.ask_parquet("in", Path("out"), "{{q}}", "mood", chunk_rows=5, timeout=1.5), pd.DataFrame)
assert_type(hx.batch("mood"), pd.DataFrame)
frame.ask(1)  # type: ignore[arg-type]
frame.ask("{{q}}", concurrency="all")  # type: ignore[arg-type]
frame.ask("{{q}}", "mood", "m")  # type: ignore[call-arg]
frame.estimate("{{q}}", missing="drop")  # type: ignore[arg-type]
series.ask("{{value}}", max_total_tokens="few")  # type: ignore[arg-type]
hx.ask_parquet(1, "out", "{{q}}")  # type: ignore[arg-type]
hx.ask_parquet("in", "out", "{{q}}", errors="ignore")  # type: ignore[arg-type]


async def rows() -> None:
    """Awaited calls give what the blocking ones give."""
    assert_type(await frame.aask("{{q}}", fresh=True), pd.DataFrame)
    assert_type(await series.aask("{{value}}", dedupe=False), pd.Series | pd.DataFrame)
