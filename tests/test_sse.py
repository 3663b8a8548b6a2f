"""Bytes of a stream to events, and inline thoughts apart from answers: any bytes, however cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helix_nb.endpoints.openai.sse import Event, Splitter, Stray
from helix_nb.endpoints.sections import Marks, Sections
from helix_nb.errors import StreamFailed

HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"data:",
                b"data: ",
                b"event: error",
                b"\r",
                b"\n",
                b"\r\n",
                b":",
                b"\xef\xbb\xbf",
                b"id",
                b"retry: 1",
            ]
        ),
        st.sampled_from(["\u2028", "\u0085", "\x0b", "é", "🗼", "{", '"', "agent error: x"]).map(str.encode),
        st.binary(max_size=8),
    ),
    max_size=24,
).map(b"".join)


def split(pieces: Iterable[bytes], most: int = 1000) -> list[Event | Stray | str]:
    """All events of these pieces, and the one error there may be."""
    splitter, events = Splitter(most), []
    try:
        for piece in pieces:
            events += splitter.feed(piece)
        events += splitter.close()
    except StreamFailed as error:
        events.append(str(error))
    return events


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@settings(deadline=None)  # the machine may be busy
@given(HOSTILE, st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from([7, 40, 1000]))
@example(b"data: a\r\n\r\n\r", [7, 8], 1000)
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2], 1000)
@example(b"\xef\xbb\xbfdata:\r", [], 7)
def test_events_do_not_depend_on_how_the_bytes_were_cut(data: bytes, cuts: list[int], most: int) -> None:
    """Any bytes give events or one StreamFailed, the same for any cutting, single bytes included."""
    whole = split([data], most)
    assert split(pieces_of(data, cuts), most) == whole
    assert split([bytes([byte]) for byte in data], most) == whole


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\ndata: b\n\ndata\n\n", [Event("a\nb"), Event("")]),
        (b"event: error\r\ndata:  a\r\n\r\n", [Event(" a", "error")]),
        (b"event: error\n\ndata: a\n\n", [Event("a")]),
        ("data: a\u2028\u0085\x0bb\n\n".encode(), [Event("a\u2028\u0085\x0bb")]),
        (b": ping\n\nid: 1\nretry: 2\n \n", []),
        (b"data: a\nno field\n\n", [Event("a"), Stray("no field")]),
        (b"data: a\nno field", [Event("a"), Stray("no field")]),
        (b"data: a\n", [Event("a", cut=True)]),
        (b"data: a\n\nda", [Event("a")]),
        (b"data: \xff\n\n", [Event("\ufffd")]),
    ],
)
def test_lines_become_events(data: bytes, events: list[Event | Stray]) -> None:
    """Fields, comments, strays, cut ends and foreign line separators are what the format says."""
    assert split([data]) == events


def test_an_event_without_end_is_refused() -> None:
    """A line that outgrows the bound raises one sentence, after the events before it."""
    assert split([b"data: a\n\n" + b"x" * 2000]) == [
        Event("a"),
        "The server sent more than 1,000 bytes without ending an event; it was left.",
    ]


THOUGHTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "</th", "ink>", " ", "\n", "a", "b<c", "\u3000"]),
    max_size=14,
).map("".join)


def think(pieces: Iterable[str]) -> tuple[str, str]:
    sections = Sections(Marks("<think>", "</think>"))
    found = [out for piece in pieces for out in sections.feed(piece)] + sections.flush()
    kinds = ("answer", "reasoning")
    answer, reasoning = ("".join(text for kind, text in found if kind == wanted) for wanted in kinds)
    return answer, reasoning


@settings(deadline=None)  # the machine may be busy
@given(THOUGHTS, st.lists(st.integers(0, 1000), max_size=8))
@example("<think></think><think></think>", [])
def test_thoughts_do_not_depend_on_how_the_text_was_cut(text: str, cuts: list[int]) -> None:
    """Answer and reasoning are the same for any cutting; without tags the text is untouched."""
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    whole = think([text])
    assert think([text[a:b] for a, b in pairwise(edges)]) == whole
    assert think(list(text)) == whole
    if "think>" not in text:
        assert whole == (text, "")
