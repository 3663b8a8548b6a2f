"""Tool calls in pieces: those a schema forces become the answer, those of the caller stay calls."""

from __future__ import annotations

from typing import Any

import pytest
from wire_server import Answer, WireServer
from wire_transcripts import ROLE, chunk, sse

import helix_nb as hx
from helix_nb.replies import ToolCall

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def piece(arguments: Any, index: int = 0, **more: Any) -> dict[str, Any]:
    """A delta with a piece of a call; continuations carry empty strings, as Helix sends them."""
    call = {"index": index, "type": "", "id": "", "function": {"name": "", "arguments": arguments}}
    return chunk({"tool_calls": [call | more]})


def begins(name: str, index: int = 0) -> dict[str, Any]:
    return piece("", index, id=f"call_{index}", type="function", function={"name": name, "arguments": ""})


CALLS = sse(
    ROLE,
    begins("weather"),
    piece('{"city": "Par'),
    begins("weather", 1),
    piece('is"}'),
    piece('{"city": "Rome"}', 1),
    chunk({"tool_calls": None}, finish="tool_calls"),
)


def test_calls_keep_their_ids_and_names_and_join_their_arguments() -> None:
    """Interleaved pieces with empty ids and names come to two whole calls, and the answer is finished."""
    with WireServer(Answer(CALLS)) as server:
        hx.connect(server.url, name="wire", profile="helix")
        reply = hx.ask("Weather?", tools=[WEATHER])
        assert server.got[0].json["tools"] == [WEATHER]
    assert (reply.text, reply.status, reply.finish_reason) == ("", "ok", "tool_calls")
    assert reply.tool_calls == (
        ToolCall("call_0", "weather", '{"city": "Paris"}'),
        ToolCall("call_1", "weather", '{"city": "Rome"}'),
    )


@pytest.mark.parametrize("number", [{}, {"index": 0}])
def test_calls_that_nobody_numbers_are_told_apart_by_their_ids(number: dict[str, int]) -> None:
    """A new id with a name begins another call; what has neither goes on with the last one."""

    def frame(arguments: str, **more: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{**number, **more, "function": {"arguments": arguments}}]})

    def named(call: str) -> dict[str, Any]:
        call_of = {**number, "id": call, "function": {"name": "weather", "arguments": '{"city": '}}
        return chunk({"tool_calls": [call_of]})

    frames = (
        named("a"),
        frame('"Paris"'),
        frame("}", id="a"),
        named("b"),
        frame('"Rome"}'),
        chunk(finish="stop"),
    )
    with WireServer(Answer(sse(*frames))) as server:
        hx.connect(server.url, name="wire")
        reply = hx.ask("Weather?", model="m", tools=[WEATHER])
    assert [(call.id, call.arguments) for call in reply.tool_calls] == [
        ("a", '{"city": "Paris"}'),
        ("b", '{"city": "Rome"}'),
    ]


def test_whole_calls_without_index_and_with_objects_as_arguments() -> None:
    """Some servers send each call whole, unnumbered, its arguments as an object."""
    calls = [
        {"id": f"c{i}", "function": {"name": "weather", "arguments": {"city": c}}} for i, c in enumerate("ab")
    ]
    with WireServer(Answer(sse(chunk({"tool_calls": calls}, finish="tool_calls")))) as server:
        hx.connect(server.url, name="wire")
        reply = hx.ask("Weather?", model="m", tools=[WEATHER])
    assert [(call.id, call.arguments) for call in reply.tool_calls] == [
        ("c0", '{"city": "a"}'),
        ("c1", '{"city": "b"}'),
    ]


def test_a_forced_call_is_the_answer() -> None:
    """On Helix a schema goes out as a forced call; its arguments come back as text, parsed and streamed."""
    answer = sse(ROLE, begins("answer"), piece('{"city": '), piece('"Paris"}'), chunk(finish="stop"))
    with WireServer(Answer(answer)) as server:
        hx.connect(server.url, name="wire", profile="helix")
        reply = hx.ask("Where?", schema={"city": str})
        sent = server.got[0].json
        assert sent["tool_choice"]["function"]["name"] == sent["tools"][0]["function"]["name"] == "answer"
        assert list(sent["tools"][0]["function"]["parameters"]["properties"]) == ["city"]
        with hx.stream("Where?", schema={"city": str}) as stream:
            assert "".join(stream) == '{"city": "Paris"}'
    assert (reply.text, reply.tool_calls, reply.parsed) == ('{"city": "Paris"}', (), {"city": "Paris"})


def test_a_server_that_ignores_the_forced_call_is_read_all_the_same() -> None:
    """Words instead of the call are the answer, and are checked against the schema."""
    fenced = '```json\n{"city": "Paris"}\n```'
    with WireServer(Answer(sse(chunk({"content": fenced}, finish="stop")))) as server:
        hx.connect(server.url, name="wire", profile="helix")
        assert hx.ask("Where?", schema={"city": str}).parsed == {"city": "Paris"}
        assert len(server.got) == 1
