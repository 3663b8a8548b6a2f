"""The demo endpoint as an HTTP client meets it: protocol, skills, schemas, tools."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import jsonschema
import pytest

from helix_nb import demo

Body = dict[str, Any]


def on_demo(work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """Run async work with a client of a demo server of its own."""

    async def main() -> Any:
        server = demo.start()
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=20, trust_env=False) as client:
                return await work(client)
        finally:
            await server.close()

    return asyncio.run(main())


def post(body: Body) -> httpx.Response:
    """One whole answer."""
    return on_demo(lambda client: client.post("/chat/completions", json=body))


def asked(prompt: str, **more: Any) -> Body:
    return {"messages": [{"role": "user", "content": prompt}], **more}


def text(body: Body) -> str:
    return post(body).json()["choices"][0]["message"]["content"]


def frames(body: Body) -> list[str]:
    """The data of every frame of a streamed answer; [DONE] included."""

    async def read(client: httpx.AsyncClient) -> list[str]:
        response = await client.post("/chat/completions", json={**body, "stream": True})
        assert response.headers["content-type"] == "text/event-stream"
        parts = response.text.split("\n\n")
        assert parts.pop() == ""
        return [part.removeprefix("data: ") for part in parts]

    return on_demo(read)


FRANCE = {
    "model": "qwen3:8b",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
}


def test_a_whole_answer_is_the_documented_example() -> None:
    """The documented request gets the documented answer and usage, under the name of the demo."""
    body = post(FRANCE).json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "demo"
    assert "not a model" in body["system_fingerprint"]
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The capital of France is Paris."},
            "finish_reason": "stop",
        }
    ]
    assert body["usage"] == {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32}


def test_a_streamed_answer_has_a_role_pieces_a_finish_usage_and_done() -> None:
    """The frames come in the protocol's order, and the usage frame has no choices."""
    *data, done = frames(FRANCE | {"stream_options": {"include_usage": True}})
    assert done == "[DONE]"
    role, *pieces, finish, usage = map(json.loads, data)
    assert len({chunk["id"] for chunk in (role, *pieces, finish, usage)}) == 1
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["choices"][0]["delta"]["content"] for c in pieces) == "The capital of France is Paris."
    assert [chunk["choices"][0]["finish_reason"] for chunk in (role, *pieces)] == [None] * 8
    assert finish["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 32


def test_usage_is_streamed_only_when_it_is_asked_for() -> None:
    """Without stream_options no frame carries usage."""
    assert not any("usage" in frame for frame in frames(FRANCE))


REVIEWS = [
    ("Classify the sentiment as positive, negative or neutral. Text: I love it, not bad at all", "positive"),
    ("Is this review Positive or Negative? The room was dirty and cold.", "Negative"),
    ("Review: the soup was awful\nSentiment:", "negative"),
    ("What is the sentiment of 'it arrived on Tuesday'?", "neutral"),
    (
        "Summarize in one sentence:\nThe station opened in 1902.  It burned\ndown.",
        "The station opened in 1902.",
    ),
    ("TL;DR: Rain fell all week! Then sun.", "Rain fell all week!"),
    ("Extract the dates from: opened 3 May 1902, again on 2020-01-05", "3 May 1902, 2020-01-05"),
    ("Find all e-mail addresses: ada@lab.org, bob.b@x.co.uk", "ada@lab.org, bob.b@x.co.uk"),
    ("List the numbers as JSON: -3 cats, 1,200.50 dogs on 2020-01-05", '["-3", "1200.50"]'),
    ("List the dates in this text: none here", "none"),
    ("What is 17 * 23?", "17 × 23 = 391."),
    ("Count to 4", "1, 2, 3, 4."),
    ("Repeat after me: the cat\nsat", "the cat\nsat"),
    ("what is the capital of JAPAN", "The capital of Japan is Tokyo."),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet."),
]


@pytest.mark.parametrize(("prompt", "answer"), REVIEWS)
def test_skills_answer_what_can_be_looked_up_or_counted(prompt: str, answer: str) -> None:
    """Each labelled skill recognises its prompt and finds the answer in it."""
    assert text(asked(prompt)) == answer


def test_an_instruction_may_stand_in_the_system_message() -> None:
    """A sentiment asked for by the system message is found in the user's text alone."""
    messages = [
        {"role": "system", "content": "Answer with the sentiment: POSITIVE, NEGATIVE or NEUTRAL."},
        {"role": "user", "content": "We hated every noisy minute."},
    ]
    assert text({"messages": messages}) == "NEGATIVE"


@pytest.mark.parametrize("prompt", ["hello", "Wie spät ist es?", "Translate: love", "x" * 100_000, "\u2028"])
def test_anything_else_says_what_this_is_and_how_to_leave(prompt: str) -> None:
    """An unknown prompt gets one sentence that names the demo, says canned, and how to connect."""
    answer = text(asked(prompt))
    assert "demo endpoint" in answer
    assert "not a model" in answer
    assert "HELIX_API_KEY" in answer


def test_the_markdown_page_has_every_kind_of_block() -> None:
    """The showcase holds a heading, a table, a list, code, a formula and a quotation."""
    page = text(asked("Show me some Markdown"))
    for mark in ("# ", "|---", "```python", "\n1. ", "$$", "> "):
        assert mark in page.replace(":--", "|---")


def test_a_conversation_is_remembered_from_its_messages() -> None:
    """Names, what was said before and a follow-up question come from the messages sent, nothing else."""
    turns = [("user", "My name is Ines."), ("assistant", "Hello"), ("user", "What is the capital of Spain?")]
    said = [{"role": role, "content": content} for role, content in turns]

    def after(prompt: str) -> str:
        return text({"messages": [*said, {"role": "user", "content": prompt}]})

    assert after("What is my name?") == "Your name is Ines."
    assert after("What did I just say?") == "You said: “What is the capital of Spain?”"
    assert after("And Italy?") == "The capital of Italy is Rome."
    assert text(asked("What is my name?")) == "You have not told me your name here."


def test_parts_of_a_message_are_read_and_images_counted() -> None:
    """Text parts are the prompt; an image costs 85 tokens."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    words = {"type": "text", "text": "What is the capital of France?"}
    plain = post(asked("What is the capital of France?")).json()
    parts = post({"messages": [{"role": "user", "content": [words, image]}]}).json()
    assert parts["choices"] == plain["choices"]
    assert parts["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"] + 85


def test_max_tokens_cuts_and_is_counted_exactly() -> None:
    """An answer over the limit ends with `length` and costs the limit; one within it is whole."""
    for limit, wanted, reason in (
        (3, "The capital of", "length"),
        (8, "The capital of France is Paris.", "stop"),
    ):
        for name in ("max_tokens", "max_completion_tokens"):
            body = post(asked("What is the capital of France?", **{name: limit})).json()
            assert body["choices"][0]["message"]["content"] == wanted
            assert body["choices"][0]["finish_reason"] == reason
            assert body["usage"]["completion_tokens"] == limit


def test_stop_strings_end_the_answer_before_them() -> None:
    """The earliest of the stop strings cuts, and is not part of the answer."""
    assert text(asked("Count to 9", stop=["7", "4,"])) == "1, 2, 3, "


def test_reasoning_is_kept_apart_and_counted() -> None:
    """reasoning_effort adds reasoning_content before the answer, and its tokens to the usage."""
    body = asked("What is the capital of France?", reasoning_effort="low")
    whole = post(body).json()
    assert "looks the prompt up" in whole["choices"][0]["message"]["reasoning_content"]
    spent = whole["usage"]
    assert spent["completion_tokens"] == 8 + spent["completion_tokens_details"]["reasoning_tokens"]
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames(body)[:-1]]
    thought = "".join(delta.get("reasoning_content", "") for delta in deltas)
    assert thought == whole["choices"][0]["message"]["reasoning_content"]


REVIEW = (
    "Read this review: Terrible kettle, it leaked on 3 May 2024. I want a refund. Score 2. ann@x.org. Ann"
)
NODE = {
    "$defs": {
        "Line": {"type": "object", "properties": {"tag": {"$ref": "#/$defs/Tag"}}, "required": ["tag"]},
        "Tag": {"anyOf": [{"type": "null"}, {"type": "string", "enum": ["shoe", "kettle"]}]},
    },
    "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 2}},
    "required": ["lines"],
}
GUESTS = {
    "properties": {"score": {"type": "integer"}, "stars": {"type": "integer"}, "name": {"type": "string"}}
}
UNSAID = {"properties": {name: {"type": ["string", "null"]} for name in ("url", "date")}}
FLAGS = {"properties": {"wants_refund": {"type": "boolean"}, "gift": {"type": "boolean"}}}
LABEL = {"properties": {"sentiment": {"enum": ["positive", "negative"]}}}
CODE = {"properties": {"code": {"type": "string", "pattern": "^[A-Z][a-z]{2} \\d{4}$"}}}
SCHEMAS: list[tuple[Body, Any]] = [
    (LABEL, {"sentiment": "negative"}),
    ({"properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}}}, {"score": 2}),
    ({"properties": {"score": {"type": "number", "minimum": 3}}}, {"score": 3}),
    (GUESTS, {"score": 2, "stars": 0, "name": "Ann"}),
    (UNSAID, {"url": None, "date": "3 May 2024"}),
    (FLAGS, {"wants_refund": True, "gift": False}),
    ({"properties": {"email": {"type": "string", "format": "email"}}}, {"email": "ann@x.org"}),
    ({"properties": {"dates": {"type": "array", "items": {"type": "string"}}}}, {"dates": ["3 May 2024"]}),
    ({"properties": {"summary": {"type": ["string", "null"], "maxLength": 8}}}, {"summary": "Terrible"}),
    (CODE, {"code": "May 2024"}),
    ({"properties": {"kind": {"const": "review"}, "n": {"type": "null"}}}, {"kind": "review", "n": None}),
    (NODE, {"lines": [{"tag": "kettle"}, {"tag": "kettle"}]}),
]


@pytest.mark.parametrize(("schema", "value"), SCHEMAS)
def test_json_follows_its_schema_and_is_filled_from_the_prompt(schema: Body, value: Any) -> None:
    """A json_schema answer is valid, and holds what the text of the prompt says."""
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": {"type": "object", **schema}}}
    answer = json.loads(text(asked(REVIEW, response_format=wanted)))
    jsonschema.validate(answer, schema)
    assert answer == value


def test_a_schema_that_contains_itself_ends() -> None:
    """A recursive schema gets a finite answer that is valid."""
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "node", "schema": node}}
    jsonschema.validate(json.loads(text(asked(REVIEW, response_format=wanted))), node)


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


def test_an_offered_tool_is_called_when_the_prompt_speaks_of_it() -> None:
    """Arguments come from the prompt, streamed pieces join to them, and the result becomes the answer."""
    body = asked("What is the weather in Oslo for the next 3 days?", tools=[WEATHER])
    choice = post(body).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    call = choice["message"]["tool_calls"][0]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo", "days": 3}
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames(body)[:-1]]
    pieces = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == call["function"]["arguments"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain, 7 °C"}
    body["messages"] += [choice["message"], result]
    assert text(body) == "get_weather answered: rain, 7 °C"


def test_tools_are_left_alone_or_forced_as_asked() -> None:
    """An unrelated prompt or tool_choice none calls nothing; a named or required choice always calls."""
    forced = {"type": "function", "function": {"name": "get_weather"}}
    for prompt, choice, called in (
        ("What is the capital of France?", "auto", False),
        ("What is the weather in Oslo?", "none", False),
        ("What is the capital of France?", "required", True),
        ("What is the capital of France?", forced, True),
    ):
        body = post(asked(prompt, tools=[WEATHER], tool_choice=choice)).json()
        assert ("tool_calls" in body["choices"][0]["message"]) is called


def test_models_are_listed_as_openai_lists_them() -> None:
    """/v1/models is a list of the demo and its faults."""
    body = on_demo(lambda client: client.get("/models")).json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]][:2] == ["demo", "demo-truncates"]
    assert {model["object"] for model in body["data"]} == {"model"}


USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f"}}
IMPOSSIBLE: list[Body] = [
    {"enum": 5},
    {"properties": [1]},
    {"anyOf": [1]},
    {"type": "object", "required": 5},
    {"type": "integer", "multipleOf": 0},
    {"type": "array", "minItems": 10**9},
    {"type": "string", "minLength": 10**12},
]


def following(schema: Body) -> Body:
    return asked(
        "hi", response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    )


MALFORMED: list[tuple[Any, str | None, str]] = [
    (b"{", None, "not JSON"),
    (b"[]", None, "not array"),
    ({}, "messages", "at least one"),
    ({"messages": "hi"}, "messages", "type array"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0]", "role"),
    ({"messages": [USER, {"role": "user"}]}, "messages[1]", "no content"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0]", "int"),
    ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "messages[0]", "part"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages[0]", "arguments"),
    ({"messages": [USER], "stop": "x"}, "stop", "type array"),
    ({"messages": [USER], "stop": [1]}, "stop", "[]string"),
    ({"messages": [USER], "max_tokens": 10.0}, "max_tokens", "type int"),
    ({"messages": [USER], "max_tokens": True}, "max_tokens", "type int"),
    ({"messages": [USER], "max_tokens": 0}, "max_tokens", "between 1"),
    ({"messages": [USER], "stream": 1}, "stream", "type bool"),
    ({"messages": [USER], "temperature": 3}, "temperature", "between 0 and 2"),
    ({"messages": [USER], "metadata": {"a": 1}}, "metadata", "map[string]string"),
    ({"messages": [USER], "tools": [{"type": "function"}]}, "tools", "list of"),
    ({"messages": [USER], "tool_choice": {"function": {"name": "f"}}}, "tool_choice", "not offered"),
    ({"messages": [USER], "response_format": {"type": "xml"}}, "response_format", "json_schema"),
    (b"[" * 100_000, None, "nested too deeply"),
    ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "messages[0]", "arguments"),
    ({"messages": [USER, {"role": "tool", "content": "x", "tool_call_id": [1]}]}, "messages[1]", "id of a"),
    ({"messages": [USER], "tools": [TOOL], "tool_choice": {"function": "f"}}, "tool_choice", "not offered"),
    ({"messages": [USER], "tools": [{"function": {"name": "f", "description": 5}}]}, "tools", "list of"),
    *((following(schema), None, "cannot follow this schema") for schema in IMPOSSIBLE),
]


def test_a_tool_call_without_an_id_is_answered() -> None:
    """A client that leaves the ids out gets the result back all the same."""
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "rain"}]
    assert text({"messages": messages}) == "f answered: rain"


def test_half_a_character_costs_no_answer() -> None:
    """A lone surrogate of the prompt comes back as a question mark, whole and streamed."""
    body = json.dumps(asked("repeat: a \ud800 b"))  # spelled as \\ud800, as JSON may
    whole = on_demo(lambda client: client.post("/chat/completions", content=body))
    assert whole.json()["choices"][0]["message"]["content"] == "a ? b"
    streamed = on_demo(
        lambda client: client.post("/chat/completions", content=body[:-1] + ', "stream": true}')
    )
    assert '"content":" ?"' in streamed.text and streamed.text.endswith("data: [DONE]\n\n")


def test_a_long_system_message_is_read_quickly() -> None:
    """The search for what it asks takes no time that grows with the square of its length."""
    system = {"role": "system", "content": "positive " * 20_000}
    started = time.perf_counter()
    assert "demo endpoint" in text({"messages": [system, {"role": "user", "content": "hm"}]})
    assert time.perf_counter() - started < 5


def test_models_can_be_asked_for_without_their_list() -> None:
    """HEAD says what GET would, without the body."""
    head = on_demo(lambda client: client.head("/models"))
    assert head.status_code == 200 and head.content == b"" and int(head.headers["content-length"]) > 100


@pytest.mark.parametrize(("body", "param", "said"), MALFORMED)
def test_a_malformed_request_is_told_what_is_wrong(body: Any, param: str | None, said: str) -> None:
    """A 400 in OpenAI's shape names the field and the trouble."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = on_demo(lambda client: client.post("/chat/completions", content=content))
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"


def test_unknown_paths_and_methods_are_refused_in_openais_shape() -> None:
    """A wrong path is a 404 that names the right ones; a wrong method is a 405."""
    missing = on_demo(lambda client: client.post("/responses", json={}))
    assert missing.status_code == 404
    assert "/v1/chat/completions" in missing.json()["error"]["message"]
    assert on_demo(lambda client: client.get("/chat/completions")).status_code == 405
