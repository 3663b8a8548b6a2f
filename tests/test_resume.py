"""A conversation of the log is taken up by the same rule everywhere: its own server, and its parameters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from panel_server import PanelServer
from test_panel import View

import helix_nb as hx
from helix_nb.notebook.commands.table import run_command
from helix_nb.notebook.panel.widget import ChatPanel
from helix_nb.notebook.session import CellDefaults, NotebookSession
from helix_nb.origin import Origin


@pytest.fixture
def lab() -> Iterator[PanelServer]:
    """A server connected as `lab`, which had the conversation `trip` with a temperature of its own."""
    server = PanelServer()
    hx.connect(server.url, name="lab", model="echo")
    chat = hx.Chat(endpoint="lab", system="Be kind.", temperature=0.5, seed=7)
    chat.start("hello", None, Origin(source="chat", tags={"chat": "trip"})).result()
    yield server
    server.close()


@pytest.fixture
def other() -> Iterator[PanelServer]:
    """Another server, which no conversation was held with."""
    server = PanelServer()
    yield server
    server.close()


@pytest.fixture
def session() -> Iterator[NotebookSession]:
    """What `%helix` commands are handed, without a kernel."""
    made = NotebookSession(InteractiveShell(), CellDefaults)
    yield made
    for name in list(made.chats):
        made.chats.forget(name)


def test_a_resumed_chat_sends_its_parameters(
    lab: PanelServer, session: NotebookSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """`%helix chat --resume` goes on at its endpoint, with the system prompt and parameters it had."""
    run_command(session, "chat trip --resume")
    assert capsys.readouterr().out == "chat trip: 1 turn, taken up from the log\n"
    assert session.chats["trip"].ask("and now?").text == "and now?"
    sent = lab.requests[-1]
    assert sent["temperature"] == 0.5 and sent["messages"][0] == {"role": "system", "content": "Be kind."}
    assert [message["content"] for message in sent["messages"][1:]] == ["hello", "hello", "and now?"]


def test_a_resumed_chat_never_goes_to_another_server_of_the_same_name(
    lab: PanelServer, other: PanelServer, session: NotebookSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """After another `connect(name="lab")` the conversation goes on at the session's endpoint, and says so."""
    hx.connect(other.url, name="lab", model="echo")
    hx.use(endpoint="demo")
    run_command(session, "chat trip --resume")
    said = capsys.readouterr().out
    assert f"held with lab at {lab.url}" in said and "goes on with the session's endpoint" in said
    assert session.chats["trip"].ask("What is the capital of France?").endpoint == "demo"
    assert other.requests == []


def test_a_panel_that_opens_a_conversation_says_where_it_goes_on(
    lab: PanelServer, other: PanelServer
) -> None:
    """The panel's history follows the same rule, and shows the same sentence."""
    thread = hx.log(last=1)["thread_id"].iloc[0]
    view = View(ChatPanel(endpoint="lab"))
    view.request("open", thread=thread)
    view.until(lambda: view.turns)
    assert view.state["settings"]["temperature"] == 0.5 and view.said("notice") == []
    hx.connect(other.url, name="lab", model="echo")
    hx.use(endpoint="demo")
    view.request("open", thread=thread)
    notice = view.until(lambda: view.said("notice"))[0]
    assert "goes on with the session's endpoint" in notice["text"] and notice["level"] == "info"
    assert view.panel.chat.endpoint is None and view.panel.chat.params["temperature"] == 0.5


def test_a_conversation_with_the_demo_goes_on_there(
    session: NotebookSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded endpoint is the same after a restart, although its port is not."""
    chat = hx.Chat(endpoint="demo")
    chat.start("my name is Ada", None, Origin(source="chat", tags={"chat": "ada"})).result()
    run_command(session, "chat ada --resume")
    assert "goes on" not in capsys.readouterr().out
    assert session.chats["ada"].ask("what is my name?").text.startswith("Your name is Ada.")
