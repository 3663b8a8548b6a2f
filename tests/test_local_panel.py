"""A local model in the panel: its first answer takes a while, and says why."""

# ruff: noqa: F811 - a fixture's name is also a parameter's

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("mlx_lm") is None:
    pytest.skip("local models need the extra: pip install 'helix-nb[local]'", allow_module_level=True)

from test_local_hub import Hub, hub  # noqa: F401 - a fixture
from test_panel import View

from helix_nb.notebook.panel.widget import ChatPanel

pytestmark = pytest.mark.local


def test_the_panel_says_what_a_local_model_waits_for(hub: Hub) -> None:
    """While a model is fetched the turn says how far it is, to late views too; then it answers."""
    view = View(ChatPanel(endpoint="local", model="me/tiny", max_tokens=3))
    view.request("send", id="a", text="Hi")
    view.until(lambda: any("downloading me/tiny" in told["text"] for told in view.said("waits")))
    view.request("hello", view="late")
    late = view.until(lambda: [told for told in view.said("snapshot") if told["to"] == "late"])
    assert "downloading me/tiny" in late[0]["turns"][0]["answer"]["waits"]
    hub.may_send_weights.set()
    answer = view.ended("a", patience_s=60)["answer"]
    assert answer["status"] == "ok" and answer["source"]
