"""How the public calls look to a type checker; this file is checked by mypy and never run."""

from __future__ import annotations

from typing import assert_type

import helix_nb as hx
from helix_nb.chat.chat import Chat
from helix_nb.chat.streams import AsyncStream, Stream
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
