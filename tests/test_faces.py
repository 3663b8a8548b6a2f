"""What help and Tab are told about the faces of an ask."""

from __future__ import annotations

import inspect

import pytest

import helix_nb as hx

OPTIONS = ["prompt", "model", "endpoint", "system", "images", "schema", "timeout", "stream", "params"]


@pytest.mark.parametrize("face", [hx.ask, hx.aask, hx.stream, hx.astream], ids=lambda face: face.__name__)
def test_a_face_shows_its_options(face: object) -> None:
    """The signature names what can be given, in the order of the documentation, defaults included."""
    shown = inspect.signature(face).parameters
    assert [name for name in shown if name in OPTIONS] == OPTIONS
    assert not {"origin", "history"} & set(shown)
    assert shown["stream"].default is True and shown["model"].default is None
    assert shown["model"].kind is inspect.Parameter.KEYWORD_ONLY
