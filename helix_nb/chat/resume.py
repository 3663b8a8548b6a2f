"""A conversation of the log taken up again: the one way, for `%helix chat --resume` and the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.registry import endpoints
from .turns import turns_of

if TYPE_CHECKING:
    from ..records.reading.threads import Thread
    from .chat import Chat

# The parameters of its last exchange that come back. Others (tools, a schema) belong to the Chat's code.
PARAMETERS = ("temperature", "top_p", "max_tokens")


def resume(chat: Chat, thread: Thread) -> str:
    """Make a Chat go on with a conversation of the log, and return what the user should know about it.

    The Chat takes over the turns, the thread, the system prompt, the model and PARAMETERS. It keeps
    to the endpoint of that conversation as long as the name still means the same base URL; else it
    asks the session's endpoint, and the sentence that is returned says so ("" otherwise).

    Raises:
        ChatBusy: an exchange of this Chat is under way; nothing was changed.
    """
    connection = endpoints().get(thread.endpoint or "")
    same_server = connection is not None and connection.base_url == thread.base_url
    chat.replace_turns(turns_of(thread), thread.thread_id)
    chat.endpoint = thread.endpoint if same_server else None
    chat.model, chat.system = thread.model, thread.system
    for name in PARAMETERS:
        chat.params.pop(name, None)
    chat.params.update({name: thread.params[name] for name in PARAMETERS if name in thread.params})
    if same_server:
        return ""
    return (
        f"This conversation was held with {thread.endpoint} at {thread.base_url}, which is not connected"
        " under that name now; it goes on with the session's endpoint."
    )
