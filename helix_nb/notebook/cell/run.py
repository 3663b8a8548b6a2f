"""From a Question to its Reply: start it, show it, keep it in the notebook's variables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ...chat.ask import prepare
from ...chat.request import build_request, preview
from ...errors import HelixError, SchemaMismatch
from ...replies import Reply
from ...text import printable
from ..display.live import View, watch
from ..display.render import RenderOptions, code_of
from ..display.surface import surface
from ..session import turn_line
from .request import CellRequest

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ..session import RunningCell


def answer(shell: InteractiveShell, cells: RunningCell, question: CellRequest, *, shown: bool) -> Reply:
    """Ask, show the answer if it is to be shown, and put it into `-o`; HelixError when it failed."""
    options = question.options
    key = cells.turn_key("cell" if shown else "ask") if question.chat else None
    extra = list(question.sent_along)
    if question.chat is not None and question.chat_name is not None:
        extra.append(turn_line(question.chat_name, question.chat, key))
    origin = cells.origin(
        "cell", log=options.log, tags={"chat": question.chat_name} if question.chat else None
    )
    if question.chat is None:
        running = prepare(question.prompt, origin, **question.keywords)
    else:
        running = question.chat.prepare(question.prompt, key, origin, **question.keywords)
    if question.chat is not None and question.chat_name and question.chats is not None:
        question.chats.add(question.chat_name, question.chat)
    view = None
    if shown and not question.quiet:
        view = View(
            surface(shell, streaming=question.keywords["stream"]),
            RenderOptions(question.format, tuple(extra)),
        )
    try:
        reply = watch(running, view, lambda final: formatted(question, final))
    except HelixError as error:
        _keep(shell, question, error.reply)
        raise
    except KeyboardInterrupt:
        _keep(shell, question, running.reply)
        raise
    _remember(question)
    _keep(shell, question, reply)
    if options.insert:
        shell.set_next_input(printable(code_of(reply.text)), replace=False)  # as it was shown
    return reply


def dry_run(question: CellRequest) -> None:
    """Print what would be sent: the endpoint, and the request's JSON, without any key."""
    for model in question.options.models or (question.keywords["model"],):
        keywords = {**question.keywords, "model": model}
        if question.chat is None:
            sent = preview(build_request(question.prompt, **keywords))
        else:
            sent = preview(question.chat.build_request(question.prompt, None, None, keywords))
        where = " ".join(part for part in (sent["endpoint"], sent["url"]) if part)
        body = json.dumps(sent["body"], indent=2, ensure_ascii=False)
        print(f"would be sent to {where}:\n{_visible(body)}")


def _visible(text: str) -> str:
    """JSON with its control characters and bidi overrides spelt out, which means the same."""
    if printable(text) == text:
        return text
    return "".join(
        char if char == "\n" or printable(char) == char else json.dumps(char)[1:-1] for char in text
    )


def formatted(question: CellRequest, reply: Reply) -> Reply:
    """The final Reply with its `parsed` value where the cell asked for JSON without a schema."""
    if question.format != "json" or question.options.schema:
        return reply
    from ...schemas.json_text import read_json

    try:
        return reply.having(parsed=read_json(reply.text, arrays=True))
    except ValueError as problem:
        raise SchemaMismatch(f"The answer is not what -f json needs: {problem}", reply=reply) from None


def _keep(shell: InteractiveShell, question: CellRequest, reply: Reply | None) -> None:
    if question.options.out and reply is not None:
        shell.user_ns[question.options.out] = reply


def _remember(question: CellRequest) -> None:
    """A chat keeps the model, endpoint and system prompt that its cell named."""
    chat, options = question.chat, question.options
    if chat is None:
        return
    if options.models:
        chat.model = question.keywords["model"]
    if options.endpoint:
        chat.endpoint = options.endpoint
    if options.system is not None:
        chat.system = question.keywords["system"]
