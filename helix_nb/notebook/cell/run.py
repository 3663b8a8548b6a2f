"""From a cell's request to its Reply: send it, show the answer, keep it in the notebook's variables."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...chat.ask import prepare
from ...chat.request import build_request, preview
from ...errors import HelixError, SchemaMismatch
from ...replies import Reply
from ...text import printable
from ..display.live import LiveAnswer, watch
from ..display.output import output_for
from ..display.render import RenderOptions, code_of
from ..session import turn_line
from .request import CellRequest

if TYPE_CHECKING:
    from ...chat.pending import PendingReply
    from ..session import NotebookSession


def answer(session: NotebookSession, request: CellRequest, *, show: bool) -> Reply:
    """Ask, show the answer if it is to be shown, and keep it in the variable of `-o`.

    Raises:
        HelixError: the exchange failed; the variable holds the Reply so far, if there is one.
    """
    options, chat = request.options, request.chat
    key = session.cell.turn_key("cell" if show else "ask") if chat else None
    about_chat = [turn_line(options.chat, chat, key)] if chat and options.chat else []
    pending = _prepare(session, request, key)
    shown = _live_answer(session, request, about_chat) if show and not request.quiet else None
    try:
        reply = watch(pending, shown, partial(with_parsed_json, request))
    except HelixError as error:
        _assign(session, request, error.reply)
        raise
    except KeyboardInterrupt:
        _assign(session, request, pending.reply)
        raise
    _remember_choices(request)
    _assign(session, request, reply)
    if options.insert:
        session.shell.set_next_input(printable(code_of(reply.text)), replace=False)  # as it was shown
    return reply


def _prepare(session: NotebookSession, request: CellRequest, key: str | None) -> PendingReply:
    """Prepare the exchange; a new chat is kept under its name from here on, whatever comes of it."""
    options, chat = request.options, request.chat
    tags = {"chat": options.chat} if chat else None
    origin = session.cell.origin("cell", log=options.log, tags=tags)
    if chat is None or options.chat is None:
        return prepare(request.prompt, origin, **request.keywords)
    pending = chat.prepare(request.prompt, key, origin, **request.keywords)
    session.chats.add(options.chat, chat)
    return pending


def _live_answer(session: NotebookSession, request: CellRequest, extra: list[str]) -> LiveAnswer:
    output = output_for(session.shell, streaming=request.keywords["stream"])
    lines = (*request.sent_along, *extra)
    return LiveAnswer(output, RenderOptions(request.format, lines, html=output.takes_html))


def dry_run(request: CellRequest) -> None:
    """Print what would be sent: the endpoint, and the request's JSON, without any key."""
    for model in request.options.models or (request.keywords["model"],):
        keywords = {**request.keywords, "model": model}
        if request.chat is None:
            wire = preview(build_request(request.prompt, **keywords))
        else:
            wire = preview(request.chat.build_request(request.prompt, None, None, keywords))
        where = " ".join(part for part in (wire["endpoint"], wire["url"]) if part)
        body = json.dumps(wire["body"], indent=2, ensure_ascii=False)
        print(f"would be sent to {where}:\n{_visible(body)}")


def _visible(text: str) -> str:
    """Spell out the control characters and bidi overrides of a JSON text; it means the same then."""
    if printable(text) == text:
        return text
    return "".join(
        char if char == "\n" or printable(char) == char else json.dumps(char)[1:-1] for char in text
    )


def with_parsed_json(request: CellRequest, reply: Reply) -> Reply:
    """Return the final Reply, its `parsed` read where the cell asked for JSON without a schema."""
    if request.format != "json" or request.options.schema:
        return reply
    from ...schemas.json_text import read_json

    try:
        return replace(reply, parsed=read_json(reply.text, arrays=True))
    except ValueError as problem:
        raise SchemaMismatch(f"The answer is not what -f json needs: {problem}", reply=reply) from None


def _assign(session: NotebookSession, request: CellRequest, reply: Reply | None) -> None:
    if request.options.out and reply is not None:
        session.shell.user_ns[request.options.out] = reply


def _remember_choices(request: CellRequest) -> None:
    """Have a chat keep the model, endpoint and system prompt that its cell named."""
    chat, options = request.chat, request.options
    if chat is None:
        return
    if options.models:
        chat.model = request.keywords["model"]
    if options.endpoint:
        chat.endpoint = options.endpoint
    if options.system is not None:
        chat.system = request.keywords["system"]
